//! What a snapshot could not see, and why. A loss is a fact like any other: it is stored and shown.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Pid, RuntimeAddress, StopMode, SystemCall, Tid};

/// One thing that is missing from a snapshot, or less sure than usual.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Notice {
    /// What it is about.
    pub subject: Subject,
    /// What is missing, or different, and why.
    pub reason: Reason,
}

/// What a notice is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Subject {
    /// The process as a whole.
    Process,
    /// One thread.
    Thread(Tid),
    /// A module, by its path in the target.
    Module(String),
}

/// Why it could not be seen.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the comment on each says what its fields are")]
pub enum Reason {
    /// The thread ended while the snapshot was being taken.
    ThreadGone,
    /// The thread sleeps uninterruptibly: a stop would not arrive, so none was asked for; nor could
    /// it be read in place.
    Uninterruptible,
    /// The thread had not stopped when the time to wait for it was over, and was let go. It may
    /// have stopped for a moment before the kernel had done so.
    DidNotStop { waited_us: u64 },
    /// The thread had not stopped in time to be of the same moment as the others, and was captured
    /// after them.
    StoppedLate,
    /// Another program traces the thread.
    AlreadyTraced { tracer: Pid, tracer_name: String },
    /// The thread has exited and only its entry remains, waiting for its parent or for its sibling
    /// threads.
    Exited,
    /// The kernel refused a request (an errno, see errno(3)).
    Refused { what: String, errno: i32 },
    /// The stack pointer points into no mapped memory.
    StackPointerWild(RuntimeAddress),
    /// Only this many bytes of a deeper stack were copied.
    StackTruncated { copied: u64 },
    /// The file on disk is not the one that is running. What could be read came by way of the
    /// process or from its memory.
    FileReplaced,
    /// The file could not be opened or is not what it should be. The same holds.
    FileUnreadable { why: String },
    /// The file in which the process names code that it made could not be opened or is not what it
    /// should be.
    NamesUnreadable { why: String },
    /// Threads were still being created when the snapshot ended; there may be some that it never
    /// saw.
    ThreadsStillAppearing,
    /// The thread was running, and nothing was to be stopped.
    Running,
    /// The thread sleeps in a call that a stop would disturb, and woke up each time it was looked
    /// at in place.
    Unsteady,
    /// The thread was running when it was asked to stop and had entered this call before it did:
    /// the call returns EINTR, or less than it would have.
    Disturbed(SystemCall),
    /// The thread's entries in /proc that have its system call may not be read, so it was held
    /// whatever it was doing.
    CallUnknown,
    /// The thread was interrupted in a call that the kernel has begun again under the number of
    /// `restart_syscall`, and nothing says which call it is.
    CallRenamed,
    /// Some thread of the process keeps its memory map locked, or a page of it does not arrive: no
    /// memory could be read.
    MemoryBlocked,
    /// The process ended or executed another program before all of its memory that was wanted had
    /// been read.
    MemoryGone,
    /// The process executed another program each time it was looked at. Its threads may be those of
    /// one or of the other.
    Executed,
    /// The process had ended when the snapshot was complete.
    Ended,
    /// A bound on how long threads may be held was reached, or would have been, or none may be held
    /// at all: the snapshot went on in this way.
    Degraded { to: StopMode, cause: Cause },
    /// Holding the thread took longer than may be, and the kernel let go of it by killing the
    /// tracer.
    HeldTooLong { limit_us: u64 },
    /// The tracer died while it worked on the thread.
    TracerDied,
    /// Threads that were to be held were read in place, because threads did not stop in time on
    /// busy CPUs: how many. Of their registers only those with which they entered the kernel are
    /// known.
    NotHeldInTime { threads: u64 },
    /// A newer version wrote down why, in a way that this one does not know.
    Unknown,
}

/// Why less is stopped than was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Cause {
    /// The bound on the longest time for which one thread may be held.
    Hold,
    /// The bound on the share of time for which threads may be held.
    Duty,
    /// A seccomp filter of hangsnap's own host that kills any process that holds a thread.
    Filter,
    /// The process that traces was killed again and again while it was to hold threads, as it is on
    /// a host whose CPUs are all busy.
    TracerKilled,
}

impl Notice {
    /// Whether something is missing because of it. What is not is less sure than usual, or was
    /// taken in another way.
    pub fn is_loss(&self) -> bool {
        !matches!(
            self.reason,
            Reason::StoppedLate
                | Reason::Exited
                | Reason::Degraded { .. }
                | Reason::CallUnknown
                | Reason::Disturbed(_)
                | Reason::NotHeldInTime { .. }
                | Reason::FileReplaced
                | Reason::FileUnreadable { .. }
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ThreadGone => f.write_str("ended during the snapshot"),
            Self::Uninterruptible => {
                f.write_str("in uninterruptible sleep, where it cannot be stopped, and could not be read in place")
            }
            Self::DidNotStop { waited_us } => {
                write!(f, "did not stop within {waited_us} us, and was released")
            }
            Self::StoppedLate => f.write_str("did not stop with the others; captured after them"),
            Self::AlreadyTraced { tracer, tracer_name } => {
                write!(f, "already traced by {tracer_name} (pid {tracer})")
            }
            Self::Exited => f.write_str("has exited and waits to be reaped"),
            Self::Refused { what, errno } => {
                write!(f, "{what} failed: {}", std::io::Error::from_raw_os_error(*errno))
            }
            Self::StackPointerWild(at) => {
                write!(f, "the stack pointer {at} points into no mapped memory")
            }
            Self::StackTruncated { copied } => {
                write!(f, "only the newest {copied} bytes of its stack were copied")
            }
            Self::FileReplaced => {
                f.write_str("the file on disk is not the one that is running; read from the process instead")
            }
            Self::FileUnreadable { why } => write!(f, "its file could not be used ({why}); read from the process instead"),
            Self::NamesUnreadable { why } => write!(f, "code that it made has no names: its file of them {why}"),
            Self::ThreadsStillAppearing => {
                f.write_str("threads were still being created when the snapshot ended; some may be missing")
            }
            Self::Running => f.write_str("was running, and --stop none stops nothing"),
            Self::Unsteady => {
                f.write_str("kept waking up while it was read in place, and a stop would have disturbed its system call")
            }
            Self::Disturbed(call) => {
                match call.name() {
                    Some(name) => write!(f, "entered {name}")?,
                    None => write!(f, "entered system call {}", call.number)?,
                }
                f.write_str(" just as it was stopped, which made the call return early (EINTR)")
            }
            Self::CallUnknown => f.write_str(
                "its system call may not be read (CAP_DAC_READ_SEARCH is missing), so it was held whatever it was doing",
            ),
            Self::CallRenamed => f.write_str(
                "was interrupted in its system call, which the kernel shows as restart_syscall since; neither the code that made \
                 the call nor the kernel says which one it is",
            ),
            Self::MemoryBlocked => f.write_str(
                "its memory could not be read in time: a thread in the kernel has the memory map locked, or a page does \
                 not arrive; stacks and memory are missing",
            ),
            Self::MemoryGone => f.write_str(
                "it ended or executed another program just after it was captured; what was not read by \
                 then comes from its files, or is missing",
            ),
            Self::Executed => f.write_str(
                "executed another program each time it was looked at; stacks and memory are left out, and threads may \
                 be of either program",
            ),
            Self::Ended => f.write_str(
                "had ended when the snapshot was complete; if it executed another program before, threads of both may be here",
            ),
            Self::Degraded { to, cause } => {
                let way = match to {
                    StopMode::All => "all at once",
                    StopMode::OneAtATime => "one thread at a time",
                    StopMode::None => "without stopping any thread",
                };
                let cause = match cause {
                    Cause::Hold => "--max-hold",
                    Cause::Duty => "--max-duty",
                    Cause::Filter => "a seccomp filter that kills any process that stops one",
                    Cause::TracerKilled => "busy CPUs: the tracer was killed each time it had to hold threads",
                };
                write!(f, "taken {way} because of {cause}")
            }
            Self::HeldTooLong { limit_us } => {
                write!(f, "released after {limit_us} us, before it was captured (--max-hold)")
            }
            Self::Unknown => f.write_str("something is missing for a reason that only a newer version of hangsnap knows"),
            Self::NotHeldInTime { threads } => write!(
                f,
                "{threads} of its threads were read in place instead of held, because threads did not stop in time on busy CPUs"
            ),
            Self::TracerDied => f.write_str("not captured: the tracer died while it worked on it (the thread runs on)"),
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            Subject::Process => write!(f, "{}", self.reason),
            Subject::Thread(tid) => write!(f, "thread {tid}: {}", self.reason),
            Subject::Module(path) => write!(f, "{path}: {}", self.reason),
        }
    }
}
