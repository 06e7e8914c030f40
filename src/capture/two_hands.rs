//! Copying the stacks of threads that are held together, on two CPUs at once.
//!
//! Copying takes half of the time for which everybody is held, and it is the one part of it that another thread than the
//! tracing one can do. So a helper sleeps until it is known what is to be copied, and then copies from the last stack on,
//! while the tracing thread copies from the first one on, until they meet.
//!
//! Neither ever waits for a lock: a stack that is locked is in the other's hands. The tracing thread polls for the one that
//! the helper has, until it is out of time. The helper helps only if nothing can preempt it with a stack in its hands.

use std::hint;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread::{self, Scope, Thread};

use super::copy::{StackCopy, StackPlan};
use crate::sys::memory::ProcessMemory;
use crate::sys::scheduling::Urgent;

/// With fewer stacks than this, waking up the helper takes longer than it saves.
const WORTH_HELP: usize = 32;

/// A stack to copy, where to, and what has been copied.
#[derive(Default)]
struct Task<'room> {
    planned: Option<(StackPlan, &'room mut [u8])>,
    copy: Option<StackCopy>,
}

/// One task for each thread, in the order in which the threads are let go.
pub(super) struct Tasks<'room> {
    tasks: Vec<Mutex<Task<'room>>>,
    memory: &'room ProcessMemory,
    /// All is planned that will be.
    ready: AtomicBool,
}

impl<'room> Tasks<'room> {
    pub(super) fn new(count: usize, memory: &'room ProcessMemory) -> Self {
        Self { tasks: (0..count).map(|_| Mutex::default()).collect(), memory, ready: AtomicBool::new(false) }
    }

    /// Starts the helper, which sleeps until what this returns is dropped. None if there is none; then the work is done
    /// without.
    pub(super) fn helper<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>) -> Option<Helper<'scope>> {
        let cpus = thread::available_parallelism().map_or(1, usize::from);
        if cpus == 1 || self.tasks.len() < WORTH_HELP {
            return None;
        }
        let thread = thread::Builder::new().spawn_scoped(scope, || self.help()).ok()?;
        Some(Helper { thread: thread.thread().clone(), ready: &self.ready })
    }

    fn help(&self) {
        let Some(urgent) = Urgent::enter() else {
            return;
        };
        while !self.ready.load(Ordering::Acquire) {
            thread::park();
        }
        for task in self.tasks.iter().rev() {
            match task.try_lock() {
                Ok(task) if task.copy.is_some() => break,
                Ok(mut task) => task.run(self.memory),
                Err(_) => break,
            }
        }
        urgent.for_good();
    }

    /// Plans one, before the helper is woken up.
    pub(super) fn plan(&self, index: usize, plan: StackPlan, room: &'room mut [u8]) {
        if let Some(mut task) = self.lock(index, || true) {
            task.planned = Some((plan, room));
        }
    }

    /// Copies one, or waits until the helper has. False if it has not been copied in time.
    pub(super) fn copy(&self, index: usize, in_time: impl Fn() -> bool) -> bool {
        let Some(mut task) = self.lock(index, in_time) else {
            return false;
        };
        if task.copy.is_none() {
            task.run(self.memory);
        }
        true
    }

    fn lock(&self, index: usize, in_time: impl Fn() -> bool) -> Option<MutexGuard<'_, Task<'room>>> {
        while in_time() {
            if let Ok(task) = self.tasks[index].try_lock() {
                return Some(task);
            }
            hint::spin_loop();
        }
        None
    }

    /// What has been copied, once the helper has ended.
    pub(super) fn copies(self) -> impl Iterator<Item = Option<StackCopy>> {
        self.tasks.into_iter().map(|task| task.into_inner().ok().and_then(|task| task.copy))
    }
}

impl Task<'_> {
    fn run(&mut self, memory: &ProcessMemory) {
        if let Some((plan, room)) = &mut self.planned {
            self.copy = Some(plan.copy(memory, room));
        }
    }
}

/// Wakes the helper up when it is dropped, whatever happens until then.
pub(super) struct Helper<'a> {
    thread: Thread,
    ready: &'a AtomicBool,
}

impl Drop for Helper<'_> {
    fn drop(&mut self) {
        self.ready.store(true, Ordering::Release);
        self.thread.unpark();
    }
}
