//! A thread of the snapshot before: as a reader knows it, and in the model's words, by which one that has not changed is
//! recognized without being put into a message.
//!
//! What is counted of a thread, and how long it was held, plays no part in that: it is told of every thread.

use std::sync::Arc;

use super::known::Known;
use super::pb;
use crate::model::{KernelWait, Registers, Stack, SystemCall, Thread, ThreadState, ThreadStatus};

pub(super) struct Remembered {
    pub(super) known: Known,
    pub(super) stack: Arc<Stack>,
    name: String,
    state: ThreadState,
    wait: KernelWait,
    system_call: Option<SystemCall>,
    registers: Registers,
}

impl Remembered {
    /// The thread that this message tells of.
    pub(super) fn new(message: pb::Thread, thread: &Thread) -> Self {
        let Thread { status: ThreadStatus { name, state, wait, .. }, system_call, registers, stack, .. } = thread;
        Self {
            known: Known::new(message),
            stack: stack.clone(),
            name: name.clone(),
            state: *state,
            wait: wait.clone(),
            system_call: *system_call,
            registers: registers.clone(),
        }
    }

    /// Whether this is all that a message could tell of the thread as it is now, where the modules are the same. False also where it
    /// takes a message to know.
    pub(super) fn is_still(&self, thread: &Thread) -> bool {
        let Thread { status, system_call, registers, stack, memory, .. } = thread;
        let told = &self.known.thread;
        let is_told = |(piece, told)| pb::Memory::is(told, piece);
        self.registers == *registers
            && self.system_call == *system_call
            && self.state == status.state
            && self.stack == *stack
            && self.name == status.name
            && self.wait == status.wait
            && told.signals == status.signals.map(Into::into)
            && told.memory.len() == memory.len()
            && memory.iter().zip(&told.memory).all(is_told)
    }

    /// Takes over what is not `known`'s, into the room that is there already.
    pub(super) fn become_like(&mut self, thread: &Thread) {
        let Thread { status, system_call, registers, stack, .. } = thread;
        self.name.clone_from(&status.name);
        self.state = status.state;
        if self.wait != status.wait {
            self.wait.clone_from(&status.wait);
        }
        self.system_call = *system_call;
        self.registers.clone_from(registers);
        self.stack.clone_from(stack);
    }
}
