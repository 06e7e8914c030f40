//! Signals to hangsnap itself: SIGINT and SIGTERM, received by a thread that does nothing else;
//! and, for the process that traces, none at all.

use std::io;

use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::unistd::setsid;

/// The signals that ask for an orderly end, blocked in the calling thread and in every thread it
/// starts from now on.
pub struct Termination(SigSet);

impl Termination {
    /// Call it before any other thread exists: a thread that does not block the signals would die
    /// of them.
    pub fn block() -> io::Result<Self> {
        let mut set = SigSet::empty();
        set.add(Signal::SIGINT);
        set.add(Signal::SIGTERM);
        set.thread_block()?;
        Ok(Self(set))
    }

    /// Sleeps until one of them arrives.
    pub fn wait(&self) -> io::Result<()> {
        self.0.wait()?;
        Ok(())
    }
}

/// A signal that a service answers to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServiceSignal {
    /// SIGINT or SIGTERM: it is to end.
    End,
    /// SIGHUP: its settings are to be read again.
    Reload,
    /// SIGUSR1: an incident is to be taken.
    Trigger,
}

/// The signals that a service answers to, blocked in the calling thread and in every thread it
/// starts from now on.
pub struct ServiceSignals(SigSet);

impl ServiceSignals {
    /// Call it before any other thread exists.
    pub fn block() -> io::Result<Self> {
        let mut set = SigSet::empty();
        [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGUSR1].into_iter().for_each(|one| set.add(one));
        set.thread_block()?;
        Ok(Self(set))
    }

    /// Sleeps until one of them arrives.
    pub fn wait(&self) -> io::Result<ServiceSignal> {
        Ok(match self.0.wait()? {
            Signal::SIGHUP => ServiceSignal::Reload,
            Signal::SIGUSR1 => ServiceSignal::Trigger,
            _ => ServiceSignal::End,
        })
    }
}

/// A file that may not grow any further is an error like any other, and not the end of the process.
pub fn survive_file_size_limit() {
    // SAFETY: to ignore a signal runs no code of ours when it arrives.
    let _ = unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) };
}

/// Makes the calling process deaf to what a terminal or a service manager sends to all processes of
/// a program: it must not be stopped, nor end, while it holds a thread of somebody else's. It ends
/// when no process is left to ask it for anything.
pub fn ignore_requests_to_end() {
    // Fails only for the leader of a process group, which is out of the terminal's reach already if
    // it is one of its own.
    let _ = setsid();
    for which in [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGQUIT,
        Signal::SIGTSTP,
        Signal::SIGTTIN,
        Signal::SIGTTOU,
        Signal::SIGUSR1,
        Signal::SIGUSR2,
        Signal::SIGPIPE,
    ] {
        // SAFETY: to ignore a signal runs no code of ours when it arrives.
        let _ = unsafe { signal(which, SigHandler::SigIgn) };
    }
}

/// Whether the calling process has a thread of this id.
pub fn is_thread_alive(tid: i32) -> bool {
    // SAFETY: signal 0 is not sent; the call only looks whether it could be.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), tid, 0) == 0 }
}

/// Ends the calling process as a seccomp filter does that kills processes and not threads only: by
/// SIGSYS.
pub fn end_as_filtered() -> ! {
    // SAFETY: the default action ends the process; nothing of it is used after that.
    unsafe {
        libc::signal(libc::SIGSYS, libc::SIG_DFL);
        libc::raise(libc::SIGSYS);
    }
    // The signal was blocked.
    std::process::abort()
}
