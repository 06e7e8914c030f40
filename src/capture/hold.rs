//! Holding one thread: the guard that lets it go, and the wait that ends at a deadline.

use std::time::Duration;

use nix::errno::Errno;
use nix::sched::sched_yield;

use crate::model::Tid;
use crate::sys::clock::Instant;
use crate::sys::ptrace::{self, PendingSignal, Wait};

/// Polls made back to back before the CPU is offered to others between them: a thread that sleeps on another CPU stops
/// within a few microseconds, one that has to share ours needs the CPU to stop at all.
const EAGER_POLLS: u32 = 4;

/// A thread that has stopped. It runs on when this is dropped.
pub(super) struct Held {
    tid: Tid,
    signal: PendingSignal,
}

impl Held {
    /// Lets the thread run on now.
    pub(super) fn release(self) {}
}

/// Why a thread is not held after all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NotHeld {
    Gone,
    /// It has not stopped in time. It stays seized, and may yet stop, until the calling thread ends.
    DidNotStop,
}

/// Waits for a thread that was asked to stop, until `deadline` after `since`.
pub(super) fn wait(tid: Tid, since: Instant, deadline: Duration) -> Result<Held, NotHeld> {
    for polls in 0u32.. {
        match ptrace::poll(tid) {
            Wait::Stopped(signal) => return Ok(Held { tid, signal }),
            Wait::Gone => return Err(NotHeld::Gone),
            Wait::NotYet if since.elapsed() >= deadline => break,
            Wait::NotYet if polls >= EAGER_POLLS => {
                // It cannot fail (sched_yield(2)).
                let _: Result<(), Errno> = sched_yield();
            }
            Wait::NotYet => {}
        }
    }
    Err(NotHeld::DidNotStop)
}

impl Drop for Held {
    fn drop(&mut self) {
        // ESRCH says that it was killed in the meantime; there is no other error for a thread that had stopped.
        let _: Result<(), Errno> = ptrace::release(self.tid, self.signal);
    }
}
