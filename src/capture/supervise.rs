//! Watching over the thread that traces.
//!
//! A target that executes another program waits, with a lock in its hands, until its other threads have ended and been
//! collected. Seizing a thread needs that lock. If one of our tracees ends in the meantime, only we can collect it: were
//! we to wait for the lock then, both would wait for ever. So another thread of ours collects what has ended, for as long
//! as the tracing one is not done.

use std::panic::resume_unwind;
use std::thread;
use std::time::Duration;

use crate::model::Tid;
use crate::sys::alarm::KillTimer;
use crate::sys::ptrace;
use crate::sys::scheduling::Urgent;

/// How long the tracing may take before dead tracees are looked for, and how often after that.
const PATIENCE: Duration = Duration::from_millis(20);

/// Does the work, which traces these threads, on a thread of its own, and returns when that has ended: by then the kernel
/// has let go of whatever it still held, and the timer that would have killed this process is disarmed.
pub(super) fn supervise(tids: &[Tid], kill_timer: &KillTimer, work: impl FnOnce() + Send) {
    let supervisor = thread::current();
    let ended = thread::scope(|scope| {
        // Whatever has not stopped in time stays seized until that thread has ended, and the time that is given to this process
        // runs until this thread is given a CPU.
        let mut urgent = Urgent::enter();
        let tracer = scope.spawn(move || {
            Urgent::leave();
            work();
            supervisor.unpark();
        });
        while !tracer.is_finished() {
            thread::park_timeout(PATIENCE);
            if !tracer.is_finished() {
                drop(urgent);
                tids.iter().copied().for_each(ptrace::bury);
                urgent = Urgent::enter();
            }
        }
        let ended = tracer.join();
        kill_timer.disarm();
        drop(urgent);
        ended
    });
    if let Err(panic) = ended {
        resume_unwind(panic);
    }
}
