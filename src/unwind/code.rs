//! The code that a walk looks at, whatever the machine: read once, within a budget, and what can be
//! said of it without decoding it.
//!
//! Promises: the work of one walk is bounded, however much the stack was made to cause (`Budget`).

use std::collections::HashMap;

use super::machine::Machine;
use super::rules::Effort;
use super::{Rules, Walk};
use crate::model::{CodeAddress, RuntimeAddress};

/// The code from a program's entry to the first call in it, and of a function that only calls
/// another one.
pub(super) const ENTRY: u64 = 64;

/// What may still be spent on recovering registers in one walk.
pub(super) struct Budget {
    /// Words of the stack to suppose.
    pub(super) words: usize,
    /// Looks at code.
    pub(super) looks: usize,
    /// The same where there is no call frame information.
    pub(super) sights: usize,
    /// Functions to follow the instructions of.
    pub(super) functions: usize,
    /// Frames in trials.
    pub(super) frames: usize,
    /// Trials that are being made.
    pub(super) depth: usize,
    /// What rules may cost.
    pub(super) effort: Effort,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            words: 1 << 13,
            looks: 1 << 10,
            sights: 1 << 13,
            functions: 1 << 10,
            frames: 1 << 14,
            depth: 0,
            effort: Effort::default(),
        }
    }
}

pub(super) fn take(left: &mut usize) -> Option<()> {
    *left = left.checked_sub(1)?;
    Some(())
}

/// A few bytes at a time of the code that this walk has looked at, by address and length.
/// Recursions look at the same code again and again.
#[derive(Default)]
pub(super) struct Code(HashMap<(RuntimeAddress, usize), ([u8; CODE], usize)>);

/// As much of code as is kept in one piece, and this many pieces.
pub(super) const CODE: usize = 16;
const MOST_PIECES: usize = 4096;

impl Code {
    /// How much could be read then, if it was.
    fn find(&self, at: RuntimeAddress, buffer: &mut [u8]) -> Option<usize> {
        let (bytes, read) = self.0.get(&(at, buffer.len()))?;
        buffer.copy_from_slice(bytes.get(..buffer.len())?);
        Some(*read)
    }

    fn keep(&mut self, at: RuntimeAddress, buffer: &[u8], read: usize) {
        let mut bytes = [0; CODE];
        if let Some(room) = bytes.get_mut(..buffer.len())
            && self.0.len() < MOST_PIECES
        {
            room.copy_from_slice(buffer);
            self.0.insert((at, buffer.len()), (bytes, read));
        }
    }
}

impl<R: Machine> Walk<'_, R> {
    /// The same as `look`, where there is no call frame information.
    pub(super) fn see(&mut self, at: RuntimeAddress, buffer: &mut [u8]) -> Option<usize> {
        self.read_code(at, buffer, |budget| &mut budget.sights)
    }

    pub(super) fn look(&mut self, at: RuntimeAddress, buffer: &mut [u8]) -> Option<usize> {
        self.read_code(at, buffer, |budget| &mut budget.looks)
    }

    /// Reads a little code, which takes of a budget unless it was read before.
    fn read_code(
        &mut self,
        at: RuntimeAddress,
        buffer: &mut [u8],
        left: impl Fn(&mut Budget) -> &mut usize,
    ) -> Option<usize> {
        if let Some(read) = self.code.find(at, buffer) {
            return Some(read);
        }
        take(left(&mut self.budget))?;
        let read = self.space.read(at, buffer).min(buffer.len());
        self.code.keep(at, buffer, read);
        Some(read)
    }

    /// Whether nothing more can be found out about code without call frame information.
    pub(super) fn is_spent(&self) -> bool {
        self.budget.sights == 0 || self.budget.functions == 0 || self.budget.looks == 0
    }

    pub(super) fn is_entry(&mut self, at: RuntimeAddress) -> bool {
        let Some((module, bias)) = self.space.module(at) else {
            return false;
        };
        let entry = self.space.cfi(module).entry;
        entry.is_some_and(|entry| bias.to_file(at).0.checked_sub(entry.0).is_some_and(|into| into < ENTRY))
    }

    /// What a return address really is, which nothing was called before: the first instruction of a
    /// function that was put there by hand, as a signal's trampoline and the end of a coroutine
    /// are.
    pub(super) fn as_put_there(&mut self, code: CodeAddress<RuntimeAddress>) -> CodeAddress<RuntimeAddress> {
        let CodeAddress::Return(address) = code else {
            return code;
        };
        let begins_here = match self.rules(code.lookup()) {
            Ok(Rules { row, bias, .. }) => bias.to_runtime(row.function.end) == address && self.is_trampoline(address),
            Err(_) => {
                let begins =
                    self.rules(address).is_ok_and(|rules| rules.bias.to_runtime(rules.row.function.start) == address);
                begins || self.is_trampoline(address)
            }
        };
        if begins_here { CodeAddress::Pc(address) } else { code }
    }

    /// Whether a signal's handler returns here, as far as the code shows.
    pub(super) fn is_trampoline(&mut self, at: RuntimeAddress) -> bool {
        let mut code = [0; 16];
        let code = &mut code[..R::SIGNAL_RETURN.len()];
        self.see(at, code) == Some(code.len()) && code == R::SIGNAL_RETURN
    }
}
