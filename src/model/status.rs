//! What the kernel keeps about a thread: its time on CPUs, its signals, what it waits for.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::RuntimeAddress;

/// How a thread has fared with the scheduler. What the kernel does not say is None.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Scheduling {
    /// Time on CPUs since the thread began, in nanoseconds (`schedstat`, first field).
    pub cpu_ns: Option<u64>,
    /// Time spent runnable and waiting for a CPU, in nanoseconds (`schedstat`, second field).
    pub run_queue_wait_ns: Option<u64>,
    /// How often it gave up its CPU to wait, and how often the CPU was taken from it (`status` in
    /// proc_pid_status(5)).
    pub voluntary_switches: Option<u64>,
    /// How often the CPU was taken from it (`status`, `nonvoluntary_ctxt_switches`).
    pub involuntary_switches: Option<u64>,
    /// The CPU it was on last.
    pub last_cpu: Option<u32>,
    /// Its scheduling class.
    pub policy: Option<Policy>,
}

impl Scheduling {
    /// How often it has stopped running, if the kernel says: as long as that stays the same, a
    /// thread that waits has not run.
    pub fn switches(&self) -> Option<u64> {
        self.voluntary_switches?.checked_add(self.involuntary_switches?)
    }
}

/// A scheduling class: sched(7).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Policy {
    /// SCHED_OTHER, the usual one.
    Other,
    /// SCHED_FIFO.
    Fifo,
    /// SCHED_RR.
    RoundRobin,
    /// SCHED_BATCH.
    Batch,
    /// SCHED_IDLE.
    Idle,
    /// SCHED_DEADLINE.
    Deadline,
    /// One that sched(7) does not list.
    Unlisted(u32),
}

impl Policy {
    /// The class that `stat` writes as this number (field 41; linux/sched.h).
    pub fn from_number(number: u32) -> Self {
        match number {
            0 => Self::Other,
            1 => Self::Fifo,
            2 => Self::RoundRobin,
            3 => Self::Batch,
            5 => Self::Idle,
            6 => Self::Deadline,
            other => Self::Unlisted(other),
        }
    }

    /// The number that `stat` writes for it.
    pub fn number(self) -> u32 {
        match self {
            Self::Other => 0,
            Self::Fifo => 1,
            Self::RoundRobin => 2,
            Self::Batch => 3,
            Self::Idle => 5,
            Self::Deadline => 6,
            Self::Unlisted(number) => number,
        }
    }

    /// A word for a reader.
    pub fn name(self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::Fifo => "fifo",
            Self::RoundRobin => "rr",
            Self::Batch => "batch",
            Self::Idle => "idle",
            Self::Deadline => "deadline",
            Self::Unlisted(_) => "unlisted",
        }
    }
}

/// A set of signals: bit n - 1 stands for signal n, as the kernel writes it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct SignalSet(pub u64);

impl SignalSet {
    /// The names of its signals, by number.
    pub fn names(self) -> Vec<String> {
        (1..=64).filter(|number| self.0 & 1 << (number - 1) != 0).map(|number| Signal(number).to_string()).collect()
    }
}

/// A signal by its number on x86-64 (signal(7)).
struct Signal(u32);

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [&str; 31] = [
            "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM",
            "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF",
            "WINCH", "IO", "PWR", "SYS",
        ];
        // The kernel counts real-time signals from 32; libc keeps the first two for itself.
        const FIRST_FREE: u32 = 34;
        match self.0 {
            number @ 1..=31 => write!(f, "SIG{}", NAMES[number as usize - 1]),
            FIRST_FREE => f.write_str("SIGRTMIN"),
            number if number > FIRST_FREE => write!(f, "SIGRTMIN+{}", number - FIRST_FREE),
            number => write!(f, "SIG{number}"),
        }
    }
}

/// What a thread does about signals, and which are on their way to it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct SignalSets {
    /// Signals that it blocks.
    pub blocked: SignalSet,
    /// Signals that it ignores.
    pub ignored: SignalSet,
    /// Signals for which it has a handler.
    pub caught: SignalSet,
    /// For this thread alone.
    pub pending: SignalSet,
    /// For whichever thread of the process takes them.
    pub process_pending: SignalSet,
}

/// What a thread waits for inside the kernel.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct KernelWait {
    /// The kernel's function it sleeps in (`wchan`); None when it does not sleep or that may
    /// not be read.
    pub channel: Option<String>,
    /// The kernel's frames, innermost first, as `stack` in proc_pid_stack(5) writes them; None
    /// where that is not permitted.
    pub stack: Option<Vec<String>>,
}

/// Some bytes of the process's memory that were copied along with a thread, and why.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct MemoryPiece {
    /// The run-time address of the first byte.
    pub address: RuntimeAddress,
    /// The bytes from there on.
    pub bytes: Box<[u8]>,
    /// Why it was copied.
    pub what: MemoryOf,
}

/// Why a piece of memory was copied.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum MemoryOf {
    /// The word that a futex wait is about, and what surrounds it: 64 bytes before and after, as
    /// far as they are mapped.
    Futex,
    /// What a system call's argument of this number, counted from 0, points to.
    Argument(u8),
    /// The path that a system call's argument of this number points to, up to its end.
    Path(u8),
    /// What the user asked for, as it was typed.
    Asked(String),
    /// A part of the thread's stack.
    Stack,
}

impl fmt::Display for MemoryOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Futex => f.write_str("futex word and its neighbours"),
            Self::Argument(number) => write!(f, "argument {} of the call", number + 1),
            Self::Path(number) => write!(f, "path in argument {} of the call", number + 1),
            Self::Asked(text) => write!(f, "--memory {text}"),
            Self::Stack => f.write_str("stack"),
        }
    }
}
