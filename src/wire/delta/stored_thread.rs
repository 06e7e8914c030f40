//! A thread of the snapshot before, as the writer remembers it: as a reader knows it, and in the
//! model's words where a message would take a look into the tables. A thread that has not changed
//! is recognized by both, without that look.
//!
//! Counters of a thread, and how long it was held, play no part in that: they are stored for every
//! thread.

use std::sync::Arc;

use super::base_thread::BaseThread;
use crate::model::{KernelWait, Stack, Thread, ThreadState, ThreadStatus};
use crate::wire::pb;

pub(in crate::wire) struct StoredThread {
    pub(in crate::wire) base: BaseThread,
    stack: Arc<Stack>,
    name: String,
    wait: Arc<KernelWait>,
}

impl StoredThread {
    /// The thread that this message describes.
    pub(in crate::wire) fn new(message: pb::Thread, thread: &Thread) -> Self {
        let Thread { status: ThreadStatus { name, wait, .. }, registers, stack, .. } = thread;
        let base = BaseThread { thread: pb::Thread { registers: None, ..message }, registers: registers.into() };
        Self { base, stack: stack.clone(), name: name.clone(), wait: wait.clone() }
    }

    /// Whether this is all that a message could say of the thread as it is now, where the modules
    /// are the same. False also where it takes a message to know.
    pub(in crate::wire) fn is_still(&self, thread: &Thread) -> bool {
        let Thread { status, acquired, system_call, registers, stack, memory, .. } = thread;
        let told = &self.base.thread;
        let is_told = |(piece, told)| pb::Memory::is(told, piece);
        self.base.registers.are(registers)
            && match (&told.system_call, system_call) {
                (Some(told), Some(call)) => told.is(call),
                (told, call) => told.is_none() && call.is_none(),
            }
            && told.state == u32::from(status.state.letter())
            && self.stack == *stack
            && self.name == status.name
            && self.wait == status.wait
            && told.signals == status.signals.map(Into::into)
            && told.memory.len() == memory.len()
            && memory.iter().zip(&told.memory).all(is_told)
            && told.unchanged_since == acquired.unchanged_since().map(Into::into)
    }

    /// Whether it waits and has the same stack in both snapshots, and the kernel has not given it a
    /// CPU in between.
    pub(in crate::wire) fn has_not_run_until(&self, thread: &Thread) -> bool {
        let told = &self.base.thread;
        let switches =
            told.voluntary_switches_plus_one.checked_sub(1).zip(told.involuntary_switches_plus_one.checked_sub(1));
        let waits = |letter: u32| letter != u32::from(ThreadState::Running.letter());
        told.start_ticks == thread.status.start.0
            && switches.is_some_and(|(one, other)| thread.status.scheduling.switches() == one.checked_add(other))
            && waits(told.state)
            && waits(thread.status.state.letter().into())
            && thread.is_captured()
            && self.stack == thread.stack
    }

    /// Takes over what is not `base`'s, into the room that is there already.
    pub(in crate::wire) fn become_like(&mut self, thread: &Thread) {
        let Thread { status, stack, .. } = thread;
        self.name.clone_from(&status.name);
        self.wait.clone_from(&status.wait);
        self.stack.clone_from(stack);
    }
}
