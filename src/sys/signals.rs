//! Asking hangsnap itself to end: SIGINT and SIGTERM, received by a thread that does nothing else.

use std::io;

use nix::sys::signal::{SigSet, Signal};

/// The signals that ask for an orderly end, blocked in the calling thread and in every thread it starts from now on.
pub struct Termination(SigSet);

impl Termination {
    /// Call it before any other thread exists: a thread that does not block the signals would die of them.
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
