//! The first and the last instructions of a function, where the frame pointer is still its
//! caller's, or is it again.
//!
//! In generated code a walk by the frame pointer alone would leave out the caller of such a
//! function without a mark. In a file's code the last instructions are what call frame information
//! forgets, above all that of hand-written functions and of compilers that describe no epilogues.
//! Only where a thread is, or was interrupted, can that be: calls are made with a frame. Promises:
//! the return address so found lies after a call. What a function does to its stack between its
//! ends is not followed here (`effects`, `epilogue`).

use super::CALLEE_SAVED;
use super::instruction::{FP, Map, Operands, Other, SP, instruction};
use super::{Caller, RegisterFile, Walk};
use crate::model::{CodeAddress, FoundBy, Register, RegisterSet, RuntimeAddress, X86_64Register};
use crate::unwind::code::CODE;

/// As much code as is looked at.
const LENGTH: usize = 64;
/// Instructions to the end of a function.
const MOST: usize = 12;
const PUSH_FP: u8 = 0x55;

/// Where a function's return address lies, and what is to be popped before it.
#[derive(PartialEq, Eq, Debug)]
struct Edge {
    /// Bytes from the stack pointer to the return address.
    depth: u64,
    /// Registers as they are encoded, and how far from the stack pointer their callers' values lie.
    popped: Vec<(u8, u64)>,
}

impl Walk<'_> {
    /// The caller of a function that has no frame yet at this instruction, or is about to give it
    /// up.
    pub(super) fn caller_at_edge(&mut self, pc: RuntimeAddress, registers: &RegisterFile) -> Option<Caller> {
        let mut before = [0];
        let before = (self.see(pc.offset(-1), &mut before) == Some(1)).then_some(before[0]);
        let mut code = [0; LENGTH];
        let length = self.see(pc, &mut code)?;
        let edge = edge(before, code.get(..length)?)?;
        self.caller_of_edge(&edge, registers)
    }

    /// The caller of a function that has nothing but pops and `ret` left at this instruction.
    pub(super) fn caller_at_end(&mut self, pc: RuntimeAddress, registers: &RegisterFile) -> Option<Caller> {
        let mut code = [0; CODE];
        let length = self.see(pc, &mut code)?;
        let edge = to_return(code.get(..length)?, Between::Nothing)?;
        self.caller_of_edge(&edge, registers)
    }

    /// Whether nothing but pops and `ret` is left of a function at this instruction.
    pub(super) fn is_end(&mut self, pc: RuntimeAddress) -> bool {
        let mut code = [0; CODE];
        let length = self.see(pc, &mut code).unwrap_or(0);
        to_return(&code[..length.min(CODE)], Between::Nothing).is_some()
    }

    fn caller_of_edge(&mut self, edge: &Edge, registers: &RegisterFile) -> Option<Caller> {
        let sp = registers.get(X86_64Register::Rsp)?;
        let place = sp.checked_add(edge.depth)?;
        let target = RuntimeAddress(self.stack.word(place)?);
        if !self.is_behind_a_call(target) {
            return None;
        }
        let mut outer = *registers;
        outer.forget_all_but(RegisterSet::of(X86_64Register::CALLEE_SAVED));
        for (encoded, offset) in &edge.popped {
            if let Some((register, _)) = CALLEE_SAVED.into_iter().find(|(_, known)| known == encoded) {
                outer.set(register, self.stack.word(sp.checked_add(*offset)?)?);
            }
        }
        outer.set(X86_64Register::Rsp, place.checked_add(8)?);
        outer.set(X86_64Register::Rip, target.0);
        Some(Caller { registers: outer, found: FoundBy::Inferred, code: CodeAddress::Return(target) })
    }
}

fn edge(before: Option<u8>, code: &[u8]) -> Option<Edge> {
    let first = instruction(code)?;
    if first.sets_frame_pointer() {
        return (before == Some(PUSH_FP)).then(|| Edge { depth: 8, popped: vec![(FP, 0)] });
    }
    if first.map == Map::One && first.opcode == PUSH_FP && instruction(code.get(first.length..)?)?.sets_frame_pointer()
    {
        return Some(Edge { depth: 0, popped: Vec::new() });
    }
    to_return(code, Between::Tests)
}

/// What may stand between the pops of an end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Between {
    Nothing,
    /// What generated code tests before it returns.
    Tests,
}

/// Follows pops, and what leaves the stack alone and may stand between them, to the end of the
/// function.
fn to_return(code: &[u8], between: Between) -> Option<Edge> {
    let mut rest = code;
    let mut edge = Edge { depth: 0, popped: Vec::new() };
    for _ in 0..MOST {
        let found = instruction(rest)?;
        rest = rest.get(found.length..)?;
        match (found.map, found.opcode, found.operands) {
            (Map::One, 0xc2 | 0xc3, _) => return Some(edge),
            (Map::One, 0x58..=0x5f, _) if found.register_in_opcode() != SP => {
                edge.popped.push((found.register_in_opcode(), edge.depth));
                edge.depth += 8;
            }
            // add of a constant
            (Map::One, 0x81 | 0x83, Some(Operands { register: 0, other: Other::Register(SP) })) => {
                edge.depth = edge.depth.checked_add(u64::try_from(found.constant).ok()?)?;
            }
            // cmp and test, jumps that are not taken, nops, vzeroupper
            (Map::One, 0x38..=0x3d | 0x84 | 0x85 | 0x90 | 0xa8 | 0xa9 | 0x70..=0x7f, _)
            | (Map::One, 0x80 | 0x81 | 0x83, Some(Operands { register: 7, .. }))
            | (Map::One, 0xf6 | 0xf7, Some(Operands { register: 0, .. }))
            | (Map::Two, 0x1f | 0x80..=0x8f, _)
            | (Map::Other, 0x77, None)
                if between == Between::Tests => {}
            _ => return None,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_not_there_before_it_is_made() {
        let at_entry = Some(Edge { depth: 0, popped: Vec::new() });
        let after_push = Some(Edge { depth: 8, popped: vec![(FP, 0)] });
        // push %rbp; mov %rsp,%rbp in both encodings; and mov %rsp,%rbp without a push.
        assert_eq!(edge(None, &[0x55, 0x48, 0x89, 0xe5, 0x90]), at_entry);
        assert_eq!(edge(None, &[0x55, 0x48, 0x8b, 0xec, 0x90]), at_entry);
        assert_eq!(edge(Some(0x55), &[0x48, 0x89, 0xe5, 0x90]), after_push);
        assert_eq!(edge(Some(0x90), &[0x48, 0x89, 0xe5, 0x90]), None);
        // push %rbp; mov %rbp,%rsp
        assert_eq!(edge(None, &[0x55, 0x48, 0x89, 0xec, 0x90]), None);
    }

    #[test]
    fn a_frame_is_there_until_it_is_given_up() {
        // add $8,%rsp; pop %rbx; pop %rbp; cmp %rax,%rcx; ja 1f; ret $16
        let end = [0x48, 0x83, 0xc4, 8, 0x5b, 0x5d, 0x48, 0x39, 0xc1, 0x77, 9, 0xc2, 16, 0];
        assert_eq!(edge(None, &end), Some(Edge { depth: 24, popped: vec![(3, 8), (FP, 16)] }));
        assert_eq!(edge(None, &end[5..]), Some(Edge { depth: 8, popped: vec![(FP, 0)] }));
        assert_eq!(edge(None, &end[6..]), Some(Edge { depth: 0, popped: Vec::new() }));
        // leave, pop %rsp, a push or a call say nothing, nor does where the function goes on.
        for other in [&[0xc9, 0xc3][..], &[0x5c, 0xc3], &[0x53, 0xc3], &[0xff, 0xd0, 0xc3], &[0x90; 40], &[0x5d]] {
            assert_eq!(edge(None, other), None, "{other:x?}");
        }
    }
}
