//! Deadlines that the kernel keeps: one for a blocking system call of the calling thread (a timer
//! whose signal does nothing but end the call with EINTR), and one for the calling process (a timer
//! whose signal is SIGKILL).

use std::mem;
use std::ptr;
use std::sync::Once;
use std::time::Duration;

use nix::unistd::gettid;

/// A timer of the thread that made it. Disarmed and removed when it is dropped.
pub struct Alarm(Timer);

/// A timer that kills the process that made it, at a moment when nothing else may be able to: while
/// it waits in the kernel for memory of another process, or is not given a CPU. Disarmed and
/// removed when it is dropped.
pub struct KillTimer(Timer);

struct Timer(libc::timer_t);

// SAFETY: a timer's id is a number that belongs to the process; every thread may use it.
unsafe impl Send for Timer {}
// SAFETY: the calls that use it are atomic in the kernel.
unsafe impl Sync for Timer {}

/// A real-time signal that nothing else of this program uses, so that no other meaning of it is
/// changed.
fn signal() -> libc::c_int {
    libc::SIGRTMIN() + 3
}

extern "C" fn nothing(_: libc::c_int) {}

impl Alarm {
    /// None where the kernel has no timer to spare.
    pub fn new() -> Option<Self> {
        static HANDLER: Once = Once::new();
        HANDLER.call_once(|| {
            // SAFETY: zeroes are a valid sigaction: no flags (no SA_RESTART above all) and an empty
            // mask.
            let mut action: libc::sigaction = unsafe { mem::zeroed() };
            action.sa_sigaction = nothing as *const () as usize;
            // SAFETY: the handler does nothing at all, which is safe at any moment.
            unsafe { libc::sigaction(signal(), &raw const action, ptr::null_mut()) };
        });
        Timer::new(libc::SIGEV_THREAD_ID, signal(), gettid().as_raw()).map(Self)
    }

    /// Rings after this time, and then every half of a millisecond: a ring that comes just before
    /// the call begins would be missed.
    pub fn set(&self, after: Duration) {
        self.0.set(after, Duration::from_micros(500));
    }

    /// Rings no more.
    pub fn clear(&self) {
        self.0.clear();
    }
}

impl KillTimer {
    /// None where the kernel has no timer to spare.
    pub fn new() -> Option<Self> {
        Timer::new(libc::SIGEV_SIGNAL, libc::SIGKILL, 0).map(Self)
    }

    /// Kills this process after this time, unless it is disarmed or armed again before.
    pub fn arm(&self, after: Duration) {
        self.0.set(after, Duration::ZERO);
    }

    /// Takes the alarm back.
    pub fn disarm(&self) {
        self.0.clear();
    }
}

impl Timer {
    fn new(notify: libc::c_int, signal: libc::c_int, thread: libc::pid_t) -> Option<Self> {
        // SAFETY: zeroes are a valid sigevent; the fields that matter are set below.
        let mut event: libc::sigevent = unsafe { mem::zeroed() };
        event.sigev_notify = notify;
        event.sigev_signo = signal;
        event.sigev_notify_thread_id = thread;
        let mut timer = ptr::null_mut();
        // SAFETY: both places are valid; the kernel copies the event and writes the timer's id.
        let result = unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) };
        (result == 0).then_some(Self(timer))
    }

    fn set(&self, after: Duration, again: Duration) {
        let spec = |time: Duration| libc::timespec {
            tv_sec: libc::time_t::try_from(time.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: time.subsec_nanos().into(),
        };
        // A time of zero would disarm it.
        let after = after.max(Duration::from_nanos(1));
        self.program(libc::itimerspec { it_value: spec(after), it_interval: spec(again) });
    }

    fn clear(&self) {
        let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        self.program(libc::itimerspec { it_value: zero, it_interval: zero });
    }

    fn program(&self, spec: libc::itimerspec) {
        // SAFETY: the timer is ours, the specification is valid, and the old one is not asked for.
        unsafe { libc::timer_settime(self.0, 0, &raw const spec, ptr::null_mut()) };
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: the timer is ours and is not used again.
        unsafe { libc::timer_delete(self.0) };
    }
}
