//! Access to a live process after it was released: its memory, and its files.
//!
//! Either may hang for any length of time: memory while another thread has the memory map locked, a
//! file on a file system whose server does not answer. So a worker thread does it, and its caller
//! goes on without an answer after a timeout.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use nix::errno::Errno;

use crate::model::RuntimeAddress;
use crate::sys::memory::ProcessMemory;

/// Memory comes in microseconds or does not come, but a reader of it may have to wait for a CPU;
/// a file may have to come from a slow disk.
const MEMORY_TIMEOUT: Duration = Duration::from_secs(1);
const FILE_TIMEOUT: Duration = Duration::from_secs(5);
/// Whether memory is still there is asked while a sample is taken.
const GONE_TIMEOUT: Duration = Duration::from_millis(200);

type Work = Box<dyn FnOnce() + Send>;

/// A thread that does work which may hang. When it does not come back in time another thread takes
/// its place.
#[derive(Clone, Default)]
pub struct TimeoutWorker {
    runner: Arc<Mutex<Option<Sender<Work>>>>,
}

impl TimeoutWorker {
    /// What comes of looking at a file. None when it does not come.
    pub fn file<T: Send + 'static>(&self, look: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        self.run(FILE_TIMEOUT, look)
    }

    /// What the work returns; None when it takes too long.
    fn run<T: Send + 'static>(&self, timeout: Duration, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (answer, answered) = bounded(1);
        let work: Work = Box::new(move || {
            // Fails only when the caller waits no longer.
            let _ = answer.send(work());
        });
        let mut runner = self.runner.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = runner.get_or_insert_with(start).send(work);
        let result = sent.ok().and_then(|()| answered.recv_timeout(timeout).ok());
        if result.is_none() {
            // It ends by itself when it comes back, for its channel has no sender any more.
            *runner = None;
        }
        result
    }
}

fn start() -> Sender<Work> {
    let (sender, queue): (_, Receiver<Work>) = bounded(1);
    thread::spawn(move || {
        for work in queue {
            // Work that panics sends nothing, which the caller sees.
            let _ = catch_unwind(AssertUnwindSafe(work));
        }
    });
    sender
}

/// Access to one process, as far as there is any.
pub struct ProcessAccess {
    memory: Arc<ProcessMemory>,
    /// Whether its memory comes, and whether it has gone, as far as is known.
    readable: AtomicBool,
    gone: AtomicBool,
    worker: TimeoutWorker,
}

impl ProcessAccess {
    /// `readable` says whether its memory could be read a moment ago.
    pub fn new(memory: ProcessMemory, readable: bool, worker: TimeoutWorker) -> Self {
        Self { memory: Arc::new(memory), readable: AtomicBool::new(readable), gone: AtomicBool::new(false), worker }
    }

    /// Copies what lies at `address` into the buffer and returns how many bytes there were.
    /// ETIMEDOUT says that memory does not come, ESRCH that the process has none any more.
    pub fn read(&self, address: RuntimeAddress, buffer: &mut [u8]) -> Result<usize, Errno> {
        self.read_within(MEMORY_TIMEOUT, address, buffer)
    }

    fn read_within(&self, timeout: Duration, address: RuntimeAddress, buffer: &mut [u8]) -> Result<usize, Errno> {
        if !self.readable.load(Ordering::Relaxed) {
            return Err(Errno::ETIMEDOUT);
        }
        if self.is_gone() {
            return Err(Errno::ESRCH);
        }
        let (memory, length) = (self.memory.clone(), buffer.len());
        let read = self.worker.run(timeout, move || {
            let mut bytes = vec![0; length];
            memory.read(address, &mut bytes).map(|read| {
                bytes.truncate(read);
                bytes
            })
        });
        let Some(read) = read else {
            self.readable.store(false, Ordering::Relaxed);
            return Err(Errno::ETIMEDOUT);
        };
        let bytes = read?;
        if bytes.is_empty() && length > 0 {
            // So /proc/PID/mem answers, that was opened before, when no process has this memory any
            // more; where it was never mapped, the answer is EIO.
            self.gone.store(true, Ordering::Relaxed);
            return Err(Errno::ESRCH);
        }
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    /// Whether the memory has come so far.
    pub fn is_readable(&self) -> bool {
        self.readable.load(Ordering::Relaxed) && !self.is_gone()
    }

    /// The same, by asking now. That there is no answer is no sign; then it is not asked again.
    pub fn has_gone(&self) -> bool {
        // There is hardly ever anything at address 0, and what there is does not matter.
        let _ = self.read_within(GONE_TIMEOUT, RuntimeAddress(0), &mut [0]);
        self.is_gone()
    }

    /// Whether it was found out that the process has ended, or executed another program, since its
    /// memory was opened.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// The same, all of it or nothing.
    pub fn read_all(&self, address: RuntimeAddress, buffer: &mut [u8]) -> bool {
        self.read(address, buffer) == Ok(buffer.len())
    }

    /// What comes of looking at a file. None when it does not come.
    pub fn file<T: Send + 'static>(&self, look: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        self.worker.file(look)
    }

    /// The same for work that may take longer than a file does to come.
    pub(super) fn file_within<T: Send + 'static>(
        &self,
        timeout: Duration,
        look: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        self.worker.run(timeout, look)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_does_not_come_back_is_not_waited_for_and_the_next_is_done() {
        let worker = TimeoutWorker::default();
        let (never, waits) = bounded::<()>(0);
        let stuck = worker.run(Duration::from_millis(20), move || waits.recv().is_ok());
        assert_eq!(stuck, None);
        assert_eq!(worker.run(Duration::from_secs(10), || 42), Some(42));
        drop(never);
    }

    #[test]
    fn work_that_panics_returns_nothing() {
        let worker = TimeoutWorker::default();
        assert_eq!(worker.run(Duration::from_secs(10), || -> u32 { panic!("on purpose") }), None);
        assert_eq!(worker.run(Duration::from_secs(10), || 42), Some(42));
    }
}
