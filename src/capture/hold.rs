//! Holding one thread: the guard that lets it go, and the wait that ends at a deadline.

use std::mem;
use std::time::Duration;

use nix::errno::Errno;

use super::fault::{self, Point};
use crate::model::Tid;
use crate::sys::alarm::Alarm;
use crate::sys::clock::Instant;
use crate::sys::ptrace::{self, PendingSignal, Wait};

/// How long to poll without a pause. A thread that sleeps on another CPU stops within this time; one that has to have ours
/// does not while we poll.
const EAGER: Duration = Duration::from_micros(15);

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
        fault::at(Point::Release)?;
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

/// Waits for a thread that was asked to stop, until `deadline` after `since`. The alarm is one of the calling thread's.
///
/// It never calls sched_yield: Linux 6.18 takes a whole time slice off the caller's account at each call, so that a few
/// hundred calls in a row keep it from running for seconds, with a thread in its hands.
pub(super) fn wait(tid: Tid, since: Instant, deadline: Duration, alarm: Option<&Alarm>) -> Result<Held, NotHeld> {
    if fault::at(Point::Wait).is_err() || fault::is_late(Point::Wait) {
        return Err(NotHeld::DidNotStop);
    }
    let mut alarm = alarm.map(|alarm| Armed { alarm, is_set: false });
    loop {
        let waited = since.elapsed();
        let seen = match &mut alarm {
            Some(armed) if waited >= EAGER && waited < deadline => armed.sleep(tid, deadline - waited),
            _ => ptrace::poll(tid),
        };
        match seen {
            Wait::Stopped(signal) => return Ok(Held { tid, signal }),
            Wait::Gone => return Err(NotHeld::Gone),
            Wait::NotYet if since.elapsed() >= deadline => return Err(NotHeld::DidNotStop),
            Wait::NotYet => {}
        }
    }
}

/// An alarm that is silent again when the wait is over.
struct Armed<'a> {
    alarm: &'a Alarm,
    is_set: bool,
}

impl Armed<'_> {
    fn sleep(&mut self, tid: Tid, at_most: Duration) -> Wait {
        if !self.is_set {
            self.alarm.set(at_most);
            self.is_set = true;
        }
        ptrace::sleep_until_stopped(tid)
    }
}

impl Drop for Armed<'_> {
    fn drop(&mut self) {
        if self.is_set {
            self.alarm.clear();
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Whoever drops it does not care whether it lives.
        let _: Result<(), Errno> = ptrace::release(self.tid, self.signal);
    }
}
