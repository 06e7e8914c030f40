//! Watching over the thread that traces.
//!
//! A target that executes another program waits, with a lock in its hands, until its other threads
//! have ended and been collected. Seizing a thread needs that lock. If one of our tracees ends in
//! the meantime, only we can collect it: were we to wait for the lock then, both would wait for
//! ever. So another thread of ours collects what has ended, for as long as the tracing one is not
//! done. It also ends this process when a seccomp filter has killed the tracing thread alone,
//! which would go unnoticed.

use std::io;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;
use std::time::Duration;

use nix::unistd::gettid;

use crate::model::Tid;
use crate::sys::alarm::KillTimer;
use crate::sys::ptrace;
use crate::sys::scheduling::Urgent;
use crate::sys::signals;

/// How long the tracing may take before dead tracees are looked for, and how often after that.
const REAP_INTERVAL: Duration = Duration::from_millis(20);
/// How many are looked at in a row, and the pause after that. This thread keeps its class
/// meanwhile: were it to wait for a CPU when the tracing one ends, the time would run out that this
/// process is given.
const BATCH: usize = 64;
const PAUSE: Duration = Duration::from_millis(1);

/// Does the work on a thread of its own, which traces these threads several at a time, and returns
/// when that has ended: by then the kernel has let go of whatever it still held, and the timer that
/// would have killed this process is disarmed.
///
/// An error says that there can be no such thread; nothing has been done then.
pub(super) fn supervise(tids: &[Tid], kill_timer: &KillTimer, work: impl FnOnce() + Send) -> io::Result<()> {
    let supervisor = thread::current();
    let done = &AtomicBool::new(false);
    let tid = &AtomicI32::new(0);
    let ended = thread::scope(|scope| {
        // Whatever has not stopped in time stays seized until that thread has ended, and the time
        // that is given to this process runs until this thread is given a CPU.
        let urgent = Urgent::enter();
        let tracer = thread::Builder::new().spawn_scoped(scope, move || {
            tid.store(gettid().as_raw(), Ordering::Release);
            Urgent::leave();
            work();
            done.store(true, Ordering::Release);
            supervisor.unpark();
        })?;
        // When this thread is woken up the other one is still on its way out, and nothing wakes
        // this one again.
        let has_ended = || done.load(Ordering::Acquire) || tracer.is_finished();
        let mut batches = tids.chunks(BATCH);
        let mut pause = REAP_INTERVAL;
        while !has_ended() {
            thread::park_timeout(pause);
            if !has_ended() {
                match batches.next() {
                    Some(batch) => batch.iter().copied().for_each(ptrace::reap_if_exited),
                    None => batches = tids.chunks(BATCH),
                }
                pause = if batches.len() > 0 { PAUSE } else { REAP_INTERVAL };
                let tid = tid.load(Ordering::Acquire);
                if tid != 0 && !signals::is_thread_alive(tid) && !has_ended() {
                    // A seccomp filter has killed it without a word, and alone.
                    signals::end_as_filtered();
                }
            }
        }
        let ended = tracer.join();
        kill_timer.disarm();
        drop(urgent);
        Ok::<_, io::Error>(ended)
    })?;
    if let Err(panic) = ended {
        resume_unwind(panic);
    }
    Ok(())
}
