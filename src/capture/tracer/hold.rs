//! Holding one thread: the guard that lets it go, and the wait that ends at a deadline.

use std::mem;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;

use super::fault::{self, Point};
use crate::model::Tid;
use crate::proc::runnable_threads;
use crate::sys::alarm::Alarm;
use crate::sys::clock::Instant;
use crate::sys::ptrace::{self, FLOATING_POINT_SIZE, PendingSignal, Wait};

/// A thread that has stopped. It runs on when this is dropped.
pub(super) struct Held {
    tid: Tid,
    signal: PendingSignal,
}

impl Held {
    /// What a wait for any thread has found stopped.
    pub(super) fn found(tid: Tid, signal: PendingSignal) -> Self {
        Self { tid, signal }
    }

    /// Lets the thread run on now. ESRCH says that it was killed in the meantime; there is no other
    /// error for a thread that had stopped.
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
    /// It has not stopped in time. It stays seized, and may yet stop, until the calling thread
    /// ends.
    DidNotStop,
}

/// For how long to poll before sleeping. Hardly a thread that stops on another CPU needs longer.
const POLL: Duration = Duration::from_micros(100);
/// How many waits do without polling after it was in vain for the first time in a row, and at most.
const FIRST_PAUSE: u32 = 8;
const LONGEST_PAUSE: u32 = 1024;

/// Whether polling pays.
///
/// A waiter that sleeps until a thread has stopped has to be woken up, on a CPU that has gone idle
/// meanwhile: some 25 us on a virtual machine, with the thread in hand. One that polls sees at once
/// that it has stopped, if it does so on another CPU; one that needs the poller's own CPU for it
/// does not get that before the polling is over, for nothing preempts a poller in SCHED_FIFO. So
/// polling that was in vain is not tried again for a while, for twice as long each time.
#[derive(Default)]
pub(super) struct Polling {
    /// How many waits are yet to do without, of those that do not find the thread stopped at once.
    skip: u32,
    /// How many did after it was last in vain; zero when it has worked since.
    pause: u32,
}

impl Polling {
    /// Polls for a thread that was asked to stop at `since`, if that is likely to be worth it.
    fn poll(&mut self, tid: Tid, since: Instant, deadline: Duration) -> Wait {
        let mut seen = ptrace::poll(tid);
        if seen != Wait::NotYet || deadline < POLL {
            return seen;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return seen;
        }
        while seen == Wait::NotYet && since.elapsed() < POLL {
            seen = ptrace::poll(tid);
        }
        self.pause = match seen {
            Wait::NotYet => (2 * self.pause).clamp(FIRST_PAUSE, LONGEST_PAUSE),
            _ => 0,
        };
        self.skip = self.pause;
        seen
    }
}

/// Waits for a thread that was asked to stop, until `deadline` after `since`: polls for a little
/// while if that has been worth it, then sleeps while an alarm of the calling thread rings. Without
/// an alarm it polls to the end.
///
/// It never calls sched_yield: Linux 6.18 takes a whole time slice off the caller's account at each
/// call, so that a few hundred calls in a row keep it from running for seconds, with a thread in
/// its hands.
pub(super) fn wait(
    tid: Tid,
    since: Instant,
    deadline: Duration,
    alarm: Option<&Ringing<'_>>,
    polling: &mut Polling,
) -> Result<Held, NotHeld> {
    if fault::at(Point::Wait).is_err() || fault::is_late(Point::Wait) {
        return Err(NotHeld::DidNotStop);
    }
    let mut seen = polling.poll(tid, since, deadline);
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
        // Whether it lives does not matter here.
        let _: Result<(), Errno> = ptrace::release(self.tid, self.signal);
    }
}

/// For how long at least, and at most, a thread is looked at again that waits for a CPU on its way
/// out of a call, while nothing is held.
const SHORTEST_WAIT: Duration = Duration::from_millis(60);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How long one thread may keep a CPU from others that want it, with some room: Linux's base slice
/// is a few milliseconds.
const SLICE: Duration = Duration::from_millis(4);
/// The number of turns to wait for: of the thread, and of this one, which needs a CPU to look at
/// it.
const TURNS: u32 = 8;

/// How long to wait for a thread that only needs a CPU: longer where more threads want one.
pub(super) fn cpu_timeout() -> Duration {
    let runnable = runnable_threads().unwrap_or(0);
    let cpus = thread::available_parallelism().map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(1));
    (SLICE * TURNS * (runnable / cpus)).clamp(SHORTEST_WAIT, LONGEST_WAIT)
}

/// Registers as FXSAVE lays them out, and how many bytes of them there are.
pub(super) type FloatingPoint = ([u8; FLOATING_POINT_SIZE], usize);

/// The x87 and SSE registers of a held thread, where they are wanted. Allocates nothing.
pub(super) fn floating_point(tid: Tid, wanted: bool) -> Option<FloatingPoint> {
    wanted.then(|| {
        let mut buffer = [0; FLOATING_POINT_SIZE];
        let length = ptrace::floating_point(tid, &mut buffer).unwrap_or(0);
        (buffer, length)
    })
}
