//! Going on after a hole: the oldest part of a stack whose middle was not copied.
//!
//! The registers there are unknown. But each word of a stack may be a return address, and a word
//! from which a walk gets to the outermost frame, every step by what is known, most likely is one:
//! a word that only looks like one makes nonsense of the next frame's place. The nearest to the
//! hole is taken. The frame so found is marked as a guess.
//!
//! The work is bounded by the size of that part, which `capture` chose.

use super::call;
use super::{Caller, RegisterFile, Walk};
use crate::model::{CodeAddress, FoundBy, RuntimeAddress, WalkEnd, X86_64Register};

/// Walks that are tried. A stack has a return address in every dozen words.
const MOST_TRIALS: usize = 256;
/// A trial that has found this many frames has proved itself.
const LONG_ENOUGH: usize = 64;
/// One that ends at once in a root, as the first instruction of a thread would, says nothing.
const LEAST: usize = 2;

impl Walk<'_> {
    /// The first frame that can be known after the hole in which this address lies, and the size of
    /// the hole.
    pub(super) fn behind_the_hole(&mut self, missing: RuntimeAddress) -> Option<(Caller, u64)> {
        let (oldest, bytes) = self.stack.oldest_behind(missing.0)?;
        let mut trials = 0;
        for at in oldest.clone().step_by(8) {
            let target = RuntimeAddress(self.stack.word(at)?);
            if !self.is_behind_a_call(target) {
                continue;
            }
            trials += 1;
            if trials > MOST_TRIALS {
                break;
            }
            let mut registers = RegisterFile::default();
            registers.set(X86_64Register::Rsp, at.checked_add(8)?);
            registers.set(X86_64Register::Rip, target.0);
            // A function that keeps a frame pointer has saved its caller's right below its return
            // address.
            let frame_pointer = self.stack.word(at.wrapping_sub(8)).filter(|value| oldest.contains(value));
            if let Some(frame_pointer) = frame_pointer {
                registers.set(X86_64Register::Rbp, frame_pointer);
            }
            let caller = Caller { registers, found: FoundBy::Guess, code: CodeAddress::Return(target) };
            if self.leads_to_the_root(caller) {
                return Some((caller, bytes.saturating_add(at - oldest.start)));
            }
        }
        None
    }

    pub(super) fn is_behind_a_call(&mut self, target: RuntimeAddress) -> bool {
        if self.space.is_uprobe(target) {
            return true;
        }
        let before = self.code_before(target);
        before.is_some_and(|before| call::direct(target, &before).is_some() || call::is_indirect(&before))
    }

    fn leads_to_the_root(&mut self, mut caller: Caller) -> bool {
        let left = self.left;
        let end = (0..LONG_ENOUGH).find_map(|passed| match self.known_caller(caller.code, &caller.registers) {
            Ok(outer) => {
                caller = outer;
                None
            }
            Err(end) => Some(end == WalkEnd::Root && passed >= LEAST),
        });
        self.left = left;
        end.unwrap_or(true)
    }
}
