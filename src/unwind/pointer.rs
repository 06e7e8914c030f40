//! Whether an indirect call can have led to a function, by the pointer it was called through.
//!
//! A caller that keeps a function's address in its frame, or the address of a structure that has it where the call looks
//! for it, as threads' first functions do, very likely has called it. A word outside the stack that the call reads and
//! that holds another function's address speaks against it. Of a call through a register that the caller has not saved
//! nothing can be said. Bounded: few words of one frame are looked at.

use std::ops::Range;

use super::call::{self, LONGEST};
use super::instruction::{Map, Other, SP, instruction};
use super::{Caller, Walk};
use crate::model::{Register, RuntimeAddress};

/// Words of a caller's frame that are looked at.
const MOST_WORDS: usize = 128;

impl Walk<'_> {
    /// Whether the call before this caller's return address was of `function`. None: nothing says so, or the contrary.
    pub(super) fn has_called(&mut self, caller: &Caller, function: &Range<RuntimeAddress>) -> Option<bool> {
        let target = caller.code.exact();
        let before = self.code_before(target)?;
        if let Some(slot) = call::through_slot(target, &before) {
            let mut word = [0; 8];
            let is_known = self.look(slot, &mut word)? == word.len();
            return is_known.then(|| RuntimeAddress(u64::from_le_bytes(word)) == function.start);
        }
        let sp = caller.registers.get(Register::Rsp)?.checked_next_multiple_of(8)?;
        let outer =
            self.known_caller(caller.code, &caller.registers).ok().and_then(|outer| outer.registers.get(Register::Rsp));
        let end = outer.unwrap_or(u64::MAX).min(sp.saturating_add(8 * MOST_WORDS as u64));
        let words: Vec<u64> = (sp..end).step_by(8).map_while(|at| self.stack.word(at)).collect();
        if words.contains(&function.start.0) {
            return Some(true);
        }
        let distance = distance(&before)?;
        let leads = |word: u64| {
            let place = word.wrapping_add_signed(distance.into());
            self.stack.word(place) == Some(function.start.0)
        };
        words.into_iter().any(leads).then_some(true)
    }
}

/// How far from what a register points to the call looks for its target.
fn distance(before: &[u8; LONGEST]) -> Option<i32> {
    (2..LONGEST).find_map(|length| {
        let found = instruction(&before[LONGEST - length..]).filter(|found| found.length == length)?;
        let operands = found.operands.filter(|operands| operands.register & 7 == 2)?;
        match (found.map, found.opcode, operands.other) {
            (Map::One, 0xff, Other::At(base, distance)) if base != SP => Some(distance),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_call_looks_for_its_target_is_read_from_it() {
        let ending = |code: &[u8]| [&[0x90; LONGEST][code.len()..], code].concat().try_into().expect("as long");
        // call *0x640(%rax); call *8(%r12); call *(%rbx); call *8(%rsp); call *%rax; call *(%rax,%rdx,8)
        let calls: [(&[u8], _); 6] = [
            (&[0xff, 0x90, 0x40, 6, 0, 0], Some(0x640)),
            (&[0x41, 0xff, 0x54, 0x24, 8], Some(8)),
            (&[0xff, 0x13], Some(0)),
            (&[0xff, 0x54, 0x24, 8], None),
            (&[0xff, 0xd0], None),
            (&[0xff, 0x14, 0xd0], None),
        ];
        for (code, wanted) in calls {
            assert_eq!(distance(&ending(code)), wanted, "{code:x?}");
        }
    }
}
