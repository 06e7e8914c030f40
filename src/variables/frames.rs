//! The frames of a thread, as far as their variables depend on them.

use std::cell::Cell;

use super::debug::{Debug, Die};
use super::memory::Memory;
use super::value::Absent;
use crate::model::{Bias, CodeAddress, FileAddress, FloatingPoint, RegisterFile, X86_64Register};

/// A frame, as far as its variables depend on it.
pub(super) struct Context<'c, 'a> {
    pub(super) debug: &'c Debug<'a>,
    /// Whose code it is.
    pub(super) function: Die<'a>,
    pub(super) code: CodeAddress<FileAddress>,
    pub(super) bias: Bias,
    pub(super) registers: RegisterFile<X86_64Register>,
    pub(super) cfa: Option<u64>,
    /// Whether it has made no call: it is the innermost, or was interrupted by a signal.
    pub(super) has_all_registers: bool,
    /// Of the innermost, if they were copied.
    pub(super) floating: Option<&'c FloatingPoint>,
}

/// The frames of a thread, innermost first; None where there is no debug information, or no
/// registers are known.
pub(super) struct Stack<'c, 'a> {
    pub(super) frames: Vec<Option<Context<'c, 'a>>>,
    pub(super) memory: Memory<'c>,
    /// What may still be done for the thread: bytes of expressions, entries of lists and of calls.
    pub(super) steps: Cell<u64>,
}

impl<'c, 'a> Stack<'c, 'a> {
    /// Takes something off what may still be done for the thread.
    pub(super) fn spend(&self, steps: u64) -> Result<(), Absent> {
        self.steps.set(self.steps.get().checked_sub(steps).ok_or(Absent::Unreadable)?);
        Ok(())
    }

    /// The frame of this number.
    pub(super) fn frame(&self, number: usize) -> Result<&Context<'c, 'a>, Absent> {
        self.frames.get(number).and_then(Option::as_ref).ok_or(Absent::NotCaptured)
    }
}
