//! Copying the stacks of threads that are held together, on two CPUs at once.
//!
//! Copying takes half of the time for which all threads are held, and it is the one part of it that
//! another thread than the tracing one can do. So a helper sleeps until all have stopped, and
//! then copies from the last stack on, right after the tracing thread, which reads registers in
//! that order, too, and then copies from the first stack on, until they meet.
//!
//! Neither ever waits for a lock: a stack that is locked is in the other's hands. The tracing
//! thread polls for the one that the helper has, until it is out of time. The helper helps only if
//! nothing can preempt it with a stack in its hands.

use std::hint;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, Scope, Thread};

use super::fault;
use super::stack::{StackCopy, StackPlan};
use crate::proc::MemoryMap;
use crate::sys::clock::Instant;
use crate::sys::memory::ProcessMemory;
use crate::sys::scheduling::Urgent;

/// With fewer stacks than this, waking up the helper takes longer than it saves.
const WORTH_HELP: usize = 32;

/// A moment that passed long ago.
const NEVER: u64 = 1;

/// A stack to copy, where to, and what has been copied.
#[derive(Default)]
struct CopyTask<'room> {
    planned: Option<(StackPlan, &'room mut [u8])>,
    copy: Option<StackCopy>,
}

/// One task for each thread, in the order in which the threads are let go.
pub(super) struct CopyQueue<'room> {
    tasks: Vec<Mutex<CopyTask<'room>>>,
    pub(super) memory: &'room ProcessMemory,
    map: &'room MemoryMap,
    /// Until when copying may go on, in nanoseconds of the clock. Zero before everybody has
    /// stopped.
    until: AtomicU64,
    /// From this task on all are planned that will be.
    planned_from: AtomicUsize,
}

impl<'room> CopyQueue<'room> {
    pub(super) fn new(count: usize, memory: &'room ProcessMemory, map: &'room MemoryMap) -> Self {
        Self {
            tasks: (0..count).map(|_| Mutex::default()).collect(),
            memory,
            map,
            until: AtomicU64::new(0),
            planned_from: AtomicUsize::new(count),
        }
    }

    /// Starts the helper, which sleeps until what this returns is dropped. None if there is none;
    /// then the work is done without.
    pub(super) fn helper<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) -> Option<CopyHelper<'scope>> {
        let cpus = thread::available_parallelism().map_or(1, usize::from);
        if cpus == 1 || self.tasks.len() < WORTH_HELP {
            return None;
        }
        let thread = thread::Builder::new().spawn_scoped(scope, || self.help()).ok()?;
        Some(CopyHelper { thread: thread.thread().clone(), until: &self.until })
    }

    fn help(&self) {
        let Some(urgent) = Urgent::enter() else {
            return;
        };
        while self.until.load(Ordering::Acquire) == 0 {
            thread::park();
        }
        let watched = fault::no_allocation();
        for (index, task) in self.tasks.iter().enumerate().rev() {
            while self.planned_from.load(Ordering::Acquire) > index && self.in_time() {
                hint::spin_loop();
            }
            match task.try_lock() {
                Ok(mut task) if task.copy.is_none() && self.in_time() => self.run(&mut task),
                _ => break,
            }
        }
        watched.end();
        urgent.for_good();
    }

    /// Plans one that the helper has not come to.
    pub(super) fn plan(&self, index: usize, plan: StackPlan, room: &'room mut [u8]) {
        // The helper does not have it yet.
        if let Ok(mut task) = self.tasks[index].try_lock() {
            task.planned = Some((plan, room));
        }
    }

    /// This one and those after it are planned, as far as they will be.
    pub(super) fn planned_from(&self, index: usize) {
        self.planned_from.store(index, Ordering::Release);
    }

    /// Everybody has stopped: what is planned may be copied, until then.
    pub(super) fn begin(&self, until: Instant) {
        self.until.store(until.nanoseconds(), Ordering::Release);
    }

    fn in_time(&self) -> bool {
        Instant::now().nanoseconds() < self.until.load(Ordering::Relaxed)
    }

    /// Copies one, or waits until the helper has. False if it has not been copied in time.
    pub(super) fn copy(&self, index: usize) -> bool {
        loop {
            match self.tasks[index].try_lock() {
                Ok(task) if task.copy.is_some() => return true,
                Ok(mut task) if self.in_time() => {
                    self.run(&mut task);
                    return true;
                }
                Err(_) if self.in_time() => hint::spin_loop(),
                _ => return false,
            }
        }
    }

    /// Everybody has been let go of: the helper is to copy nothing more.
    pub(super) fn end(&self) {
        self.until.store(NEVER, Ordering::Release);
    }

    fn run(&self, task: &mut CopyTask<'room>) {
        if let Some((plan, room)) = &mut task.planned {
            task.copy = Some(plan.copy(self.map, self.memory, room, || self.in_time()));
        }
    }

    /// What has been copied, once the helper has ended.
    pub(super) fn copies(self) -> impl Iterator<Item = Option<StackCopy>> {
        self.tasks.into_iter().map(|task| task.into_inner().ok().and_then(|task| task.copy))
    }
}

/// Wakes the helper up when it is dropped, whatever happens until then.
pub(super) struct CopyHelper<'a> {
    thread: Thread,
    until: &'a AtomicU64,
}

impl Drop for CopyHelper<'_> {
    fn drop(&mut self) {
        // Where copying has not begun, it never will.
        self.until.fetch_max(NEVER, Ordering::Release);
        self.thread.unpark();
    }
}
