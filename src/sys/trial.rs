//! Tries what the kernel lets this process do, in a child process that does it instead.
//!
//! A seccomp filter may answer a system call by killing its caller, and a read of a process whose
//! memory map is locked may never return: only another process can try and report. Promises: a try
//! leaves nothing on the system, and traces only processes that hangsnap itself started.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::ptr;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::unistd;

use super::clock::Instant;
use super::scheduling::Urgent;
use crate::model::{Pid, Tid};

/// How long a try may take; each is a few system calls.
const TRIAL_TIMEOUT: Duration = Duration::from_secs(1);
const BETWEEN_LOOKS: Duration = Duration::from_micros(200);
/// Larger than any pid that Linux gives (PID_MAX_LIMIT is 4,194,304).
const NOBODY: libc::pid_t = libc::pid_t::MAX;

/// How a try ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The call succeeded.
    Worked,
    /// The call failed with this error.
    Failed(Errno),
    /// Who tried it was killed, as a seccomp filter does.
    Killed,
    /// It did not come back in time.
    Hung,
    /// There could be no child process to try it.
    NoChild(Errno),
    /// It would not have been safe or would have shown nothing.
    NotTried,
}

impl Outcome {
    /// Whether the call succeeded.
    pub fn worked(self) -> bool {
        self == Self::Worked
    }
}

impl From<std::io::Error> for Outcome {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(errno(error))
    }
}

/// Whether system calls for tracing get as far as the kernel at all. Asked about a process that
/// cannot exist the kernel says so, while a seccomp filter that forbids the call says something
/// else.
pub fn ptrace_passes_filters() -> Outcome {
    // SAFETY: the work allocates nothing and takes no lock: it is system calls on what was made
    // before.
    unsafe { attempt(|| expect_nobody(ptrace::seize(unistd::Pid::from_raw(NOBODY), Options::empty()))) }
}

/// The same for process_vm_readv(2).
pub fn process_vm_readv_passes_filters() -> Outcome {
    // SAFETY: the work allocates nothing and takes no lock: it is system calls on what was made
    // before.
    unsafe { attempt(|| expect_nobody(read_byte(NOBODY, 0))) }
}

/// Whether a child of our own can be traced and its memory read: both must work where anything
/// does.
pub fn trace_own_child() -> Outcome {
    // SAFETY: the work allocates nothing and takes no lock: it is system calls on what was made
    // before.
    unsafe {
        attempt(|| {
            let (tracer, byte) = (unistd::getpid(), 0u8);
            with_child(tracer, |child| {
                ptrace::seize(child, Options::empty())?;
                // After a fork the same things lie at the same addresses.
                read_byte(child.as_raw(), (&raw const byte).addr())
            })
        })
    }
}

/// Whether a process of ours may run at the real-time policy SCHED_FIFO. The child that tries it
/// ends at once.
pub fn real_time() -> Outcome {
    // SAFETY: the work allocates nothing and takes no lock: it is system calls on what was made
    // before.
    unsafe { attempt(|| Urgent::enter().map(drop).ok_or_else(Errno::last)) }
}

/// Whether the kernel would let us trace this process and read its memory, which need the same
/// right (ptrace(2), PTRACE_MODE_ATTACH_REALCREDS), without doing either: a read at address 0 fails
/// for want of memory there, not of rights.
///
/// It takes the lock of the process's memory map, so it is not for a process with a thread in
/// uninterruptible sleep.
pub fn read_memory(owner: Tid) -> Outcome {
    // SAFETY: the work allocates nothing and takes no lock: it is system calls on what was made
    // before.
    unsafe {
        attempt(|| match read_byte(owner.0, 0) {
            Err(Errno::EFAULT) => Ok(()),
            other => other,
        })
    }
}

/// Whether memory of this process can be read at this moment, by way of its file: while the lock of
/// its memory map is kept from everybody the read does not come back, but the process that waits
/// for it can be killed.
pub fn read_memory_file(owner: Tid) -> Outcome {
    let path = format!("/proc/{owner}/mem");
    // SAFETY: the work allocates nothing and takes no lock: it is system calls on what was made
    // before.
    unsafe {
        attempt(|| {
            let file = File::open(&path).map_err(errno)?;
            match file.read_at(&mut [0], 0).map_err(errno) {
                // There is nothing at address 0, which was found out under the lock.
                Err(Errno::EIO) => Ok(()),
                other => other.map(drop),
            }
        })
    }
}

/// The same as `read_memory` without any lock of the memory map: pidfd_getfd(2) asks for the same
/// right before it looks for the descriptor, and there is none with this number. Needs Linux 5.6
/// and a seccomp filter that lets it through.
pub fn take_no_descriptor(process: Pid) -> Outcome {
    let work = || {
        // SAFETY: pidfd_open takes two numbers and touches no memory of ours.
        let descriptor = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, process.0, 0) })?;
        // SAFETY: pidfd_getfd takes three numbers and touches no memory of ours.
        match Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_getfd, descriptor, libc::c_int::MAX, 0) }) {
            Err(Errno::EBADF) => Ok(()),
            other => other.map(drop),
        }
    };
    // SAFETY: the work allocates nothing and takes no lock: it is two system calls.
    unsafe { attempt(work) }
}

fn errno(error: std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

fn expect_nobody(result: Result<(), Errno>) -> Result<(), Errno> {
    match result {
        Err(Errno::ESRCH) => Ok(()),
        other => other,
    }
}

fn read_byte(owner: libc::pid_t, address: usize) -> Result<(), Errno> {
    let mut byte = 0u8;
    let local = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let remote = libc::iovec { iov_base: ptr::without_provenance_mut(address), iov_len: 1 };
    // SAFETY: the local vector describes `byte`, which outlives the call; the remote one is only a
    // number to us.
    Errno::result(unsafe { libc::process_vm_readv(owner, &raw const local, 1, &raw const remote, 1, 0) }).map(drop)
}

/// Does `work` in a child process and says how it ended.
///
/// # Safety
///
/// The work must allocate nothing and take no lock: other threads may have held the allocator's
/// when the child was made, and are not there to let go of it.
unsafe fn attempt(work: impl FnOnce() -> Result<(), Errno>) -> Outcome {
    // SAFETY: the child does system calls only, and ends with _exit, which runs nothing of ours.
    let child = match unsafe { libc::fork() } {
        -1 => return Outcome::NoChild(Errno::last()),
        0 => {
            let code = work().map_or_else(|errno| errno as i32, |()| 0);
            // SAFETY: it ends the child and does not return. Error numbers fit into an exit code.
            unsafe { libc::_exit(code) }
        }
        child => child,
    };
    let begun = Instant::now();
    loop {
        let mut status = 0;
        // SAFETY: the child is ours, and `status` is a valid place for its status.
        match unsafe { libc::waitpid(child, &raw mut status, libc::WNOHANG) } {
            0 if begun.elapsed() < TRIAL_TIMEOUT => thread::sleep(BETWEEN_LOOKS),
            0 => {
                // SAFETY: the child is ours and not yet collected, so that the pid is still its
                // own.
                unsafe { libc::kill(child, libc::SIGKILL) };
                return Outcome::Hung;
            }
            -1 => return Outcome::NoChild(Errno::last()),
            _ if !libc::WIFEXITED(status) => return Outcome::Killed,
            _ => {
                return match libc::WEXITSTATUS(status) {
                    0 => Outcome::Worked,
                    errno => Outcome::Failed(Errno::from_raw(errno)),
                };
            }
        }
    }
}

/// Does `work` to a child that only waits, and ends it. Should `parent` be killed, the kernel ends
/// the child.
fn with_child(parent: unistd::Pid, work: impl FnOnce(unistd::Pid) -> Result<(), Errno>) -> Result<(), Errno> {
    // SAFETY: the child does system calls only and never returns from here.
    let child = match unsafe { libc::fork() } {
        -1 => return Err(Errno::last()),
        0 => {
            // SAFETY: both take plain numbers.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            // A parent that was killed before the line above has left us to another.
            while unistd::getppid() == parent {
                // SAFETY: it has no arguments.
                unsafe { libc::pause() };
            }
            // SAFETY: it ends the child and does not return.
            unsafe { libc::_exit(0) }
        }
        child => child,
    };
    let result = work(unistd::Pid::from_raw(child));
    // SAFETY: the child is ours and not yet collected, so that the pid is still its own; no status
    // is asked for.
    unsafe {
        libc::kill(child, libc::SIGKILL);
        libc::waitpid(child, ptr::null_mut(), 0);
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_tried_ends_as_it_would_here() {
        fn tried(work: impl FnOnce() -> Result<(), Errno>) -> Outcome {
            // SAFETY: what these tests try allocates nothing and takes no lock.
            unsafe { attempt(work) }
        }
        assert_eq!(tried(|| Ok(())), Outcome::Worked);
        assert_eq!(tried(|| Err(Errno::EPERM)), Outcome::Failed(Errno::EPERM));
        assert_eq!(tried(|| Err(Errno::from_raw(libc::EHWPOISON))), Outcome::Failed(Errno::EHWPOISON));
        let kill_itself = || {
            nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL)?;
            Ok(())
        };
        assert_eq!(tried(kill_itself), Outcome::Killed);
        let sleep_for_ever = || loop {
            thread::sleep(Duration::from_secs(60));
        };
        assert_eq!(tried(sleep_for_ever), Outcome::Hung);
    }

    #[test]
    fn nobody_is_not_there_and_we_are() {
        assert_eq!(ptrace_passes_filters(), Outcome::Worked);
        assert_eq!(process_vm_readv_passes_filters(), Outcome::Worked);
        let own = Pid(unistd::getpid().as_raw());
        assert_eq!(read_memory(own.main_thread()), Outcome::Worked);
        assert_eq!(read_memory_file(own.main_thread()), Outcome::Worked);
        assert_eq!(take_no_descriptor(own), Outcome::Worked);
        assert_eq!(read_memory(Tid(NOBODY)), Outcome::Failed(Errno::ESRCH));
    }
}
