//! Holding one thread: the guard that lets it go, and the wait that ends at a deadline.

use std::mem;
use std::time::Duration;

use nix::errno::Errno;

use super::fault::{self, Point};
use crate::model::Tid;
use crate::sys::alarm::Alarm;
use crate::sys::clock::Instant;
use crate::sys::ptrace::{self, PendingSignal, Wait};

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

/// Waits for a thread that was asked to stop, until `deadline` after `since`. It sleeps while an alarm of the calling thread
/// rings, and without one it polls.
///
/// It never calls sched_yield: Linux 6.18 takes a whole time slice off the caller's account at each call, so that a few
/// hundred calls in a row keep it from running for seconds, with a thread in its hands. Nor does it poll for a while before
/// it sleeps: the thread may need this CPU to stop.
pub(super) fn wait(tid: Tid, since: Instant, deadline: Duration, alarm: Option<&Ringing<'_>>) -> Result<Held, NotHeld> {
    if fault::at(Point::Wait).is_err() || fault::is_late(Point::Wait) {
        return Err(NotHeld::DidNotStop);
    }
    let mut seen = ptrace::poll(tid);
    loop {
        match seen {
            Wait::Stopped(signal) => return Ok(Held { tid, signal }),
            Wait::Gone => return Err(NotHeld::Gone),
            Wait::NotYet if since.elapsed() >= deadline => return Err(NotHeld::DidNotStop),
            Wait::NotYet if alarm.is_some() => seen = ptrace::sleep_until_stopped(tid),
            Wait::NotYet => seen = ptrace::poll(tid),
        }
    }
}

/// An alarm that rings again and again until this is dropped.
pub(super) struct Ringing<'a>(&'a Alarm);

impl<'a> Ringing<'a> {
    pub(super) fn every(alarm: &'a Alarm, time: Duration) -> Self {
        alarm.set(time);
        Self(alarm)
    }
}

impl Drop for Ringing<'_> {
    fn drop(&mut self) {
        self.0.clear();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Whoever drops it does not care whether it lives.
        let _: Result<(), Errno> = ptrace::release(self.tid, self.signal);
    }
}
