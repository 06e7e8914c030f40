//! Holding one thread: the guard that lets it go, and the wait that ends at a deadline.

use std::mem;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::prctl::set_timerslack;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_nanosleep};

use crate::model::Tid;
use crate::sys::clock::Instant;
use crate::sys::ptrace::{self, PendingSignal, Wait};

/// How long to poll without a pause: a thread that sleeps or runs on another CPU stops within this time.
const EAGER: Duration = Duration::from_micros(25);
/// How long to sleep between polls after that, when the thread is waiting for a CPU, perhaps for ours.
const NAP: TimeSpec = TimeSpec::new(0, 10_000);

/// A thread that has stopped. It runs on when this is dropped.
pub(super) struct Held {
    tid: Tid,
    signal: PendingSignal,
}

impl Held {
    /// Lets the thread run on now. ESRCH says that it was killed in the meantime; there is no other error for a thread that
    /// had stopped.
    pub(super) fn release(self) -> Result<(), Errno> {
        let (tid, signal) = (self.tid, self.signal);
        mem::forget(self);
        ptrace::release(tid, signal)
    }
}

/// Why a thread is not held after all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NotHeld {
    Gone,
    /// It has not stopped in time. It stays seized, and may yet stop, until the calling thread ends.
    DidNotStop,
}

/// Waits for a thread that was asked to stop, until `deadline` after `since`.
///
/// It never calls sched_yield: Linux 6.18 takes a whole time slice off the caller's account at each call, so that a few
/// hundred calls in a row keep it from running for seconds, with a thread in its hands.
pub(super) fn wait(tid: Tid, since: Instant, deadline: Duration) -> Result<Held, NotHeld> {
    loop {
        match ptrace::poll(tid) {
            Wait::Stopped(signal) => return Ok(Held { tid, signal }),
            Wait::Gone => return Err(NotHeld::Gone),
            Wait::NotYet => {}
        }
        let waited = since.elapsed();
        if waited >= deadline {
            return Err(NotHeld::DidNotStop);
        }
        if waited >= EAGER {
            // It fails only if a signal ends it early, which does no harm.
            let _ = clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::empty(), &NAP);
        }
    }
}

/// Makes naps of the calling thread as short as they say: by default the kernel adds 50 us to gather timers
/// (PR_SET_TIMERSLACK). Called by threads that hold others, before they do.
pub(super) fn nap_precisely() {
    // It cannot fail for a positive number of nanoseconds; and naps that were longer would be naps still.
    let _: Result<(), Errno> = set_timerslack(1);
}

impl Drop for Held {
    fn drop(&mut self) {
        // Whoever drops it does not care whether it lives.
        let _: Result<(), Errno> = ptrace::release(self.tid, self.signal);
    }
}
