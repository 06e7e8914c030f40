//! How deep a function's stack is at one of its instructions, and where it has put what it keeps
//! for its caller, by its own instructions.
//!
//! Libraries without call frame information (musl's) are compiled code: what a function does to the
//! stack pointer is pushes and pops, constants added and subtracted, and calls, which leave it
//! alone. They are followed from the function's beginning along its jumps. Where the stack pointer
//! becomes unknown, the frame pointer may still say; else there is no
//! answer. Promises: bounded, whatever the bytes are. Jumps through tables are not followed.

use std::collections::HashMap;

use super::CALLEE_SAVED;
use super::instruction::{FP, Instruction, Map, Operands, Other, SP, instruction};

/// Instructions that are looked at, all passes together.
const MOST_STEPS: usize = 1 << 12;
/// Passes over a function: code that is jumped back to from further on takes another one each time.
const MOST_PASSES: usize = 4;
/// Jumps whose targets are remembered.
const MOST_TARGETS: usize = 256;

/// What a function has done to its stack when it comes to an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Effects {
    /// Bytes from the stack pointer to the return address. None: unknown.
    pub(super) depth: Option<i64>,
    /// The same from the frame pointer, where there is one.
    pub(super) frame: Option<i64>,
    /// Bytes from the stack pointer up to where the frame pointer points, where both are known to
    /// belong together. A realigned frame has it, though its depth is unknown.
    pub(super) above: Option<i64>,
    /// How far below the return address each of `CALLEE_SAVED` lies, if it was put there.
    saved: [Option<i64>; CALLEE_SAVED.len()],
}

/// Where in `CALLEE_SAVED` a register is that instructions number so.
fn place(encoded: u8) -> Option<usize> {
    CALLEE_SAVED.iter().position(|(_, number)| *number == encoded)
}

impl Effects {
    /// What is counted from a stack pointer on, with a frame pointer that lies so far below it.
    pub(super) fn before_return(frame: Option<i64>) -> Self {
        Self { depth: Some(0), frame, ..Self::default() }
    }

    /// How far below the return address a register lies.
    pub(super) fn saved(&self, encoded: u8) -> Option<i64> {
        place(encoded).and_then(|index| self.saved[index])
    }
}

/// What has been done before the instruction in which `wanted` lies, in a function that begins
/// where the code does. None: no way is seen that leads there.
pub(super) fn effects_at(code: &[u8], wanted: usize) -> Option<Effects> {
    let start = Effects { depth: Some(0), ..Effects::default() };
    // What is known where jumps lead to.
    let mut targets: HashMap<usize, Effects> = HashMap::from([(0, start)]);
    // And where instructions begin.
    let mut passed: HashMap<usize, Effects> = HashMap::new();
    let mut steps = 0;
    let mut found_there = None;
    for _ in 0..MOST_PASSES {
        let (mut at, mut is_new) = (0, false);
        let mut here: Option<Effects> = None;
        found_there = None;
        while let Some(found) = code.get(at..).and_then(instruction) {
            // What comes before may be a call that does not return.
            here = match (targets.get(&at), here) {
                (Some(target), Some(before)) => {
                    Some(Effects { above: target.above.filter(|bytes| Some(*bytes) == before.above), ..*target })
                }
                (target, before) => target.copied().or(before),
            };
            let next = at + found.length;
            if let Some(effects) = here {
                passed.insert(at, effects);
                if (at..next).contains(&wanted) {
                    found_there = here;
                }
            }
            steps += 1;
            if steps > MOST_STEPS {
                return None;
            }
            let goes = Goes::by(&found);
            if let (Some(effects), Goes::To | Goes::On(true)) = (here, goes)
                && let Some(target) = next.checked_add_signed(isize::try_from(found.constant).ok()?)
                && target < code.len()
                && targets.len() < MOST_TARGETS
            {
                let known = targets.get(&target).or_else(|| passed.get(&target)).copied();
                let both = known.map_or(effects, |known| known.and(effects));
                // Where both agree it was known before that one gets there.
                is_new |= known != Some(both);
                targets.insert(target, both);
            }
            here = match goes {
                Goes::On(_) => here.map(|effects| effects.after(&found)),
                Goes::To | Goes::Away => None,
            };
            at = next;
        }
        if !is_new {
            return found_there;
        }
    }
    // It was still changing: a loop that takes stack.
    found_there.map(|effects| Effects { depth: None, above: None, ..effects })
}

/// Whether a function takes stack of a size that is not in its code (alloca, arrays of variable
/// length), as far as its code was read: the distance from its stack pointer to its frame pointer
/// may then differ from one call to the next.
pub(super) fn takes_any_size(code: &[u8]) -> bool {
    let mut rest = code;
    while let Some(found) = instruction(rest) {
        let aligns = (found.map, found.opcode & !2) == (Map::One, 0x81)
            && found.operands == Some(Operands { register: 4, other: Other::Register(SP) });
        let before = Effects { depth: Some(0), frame: Some(0), ..Effects::default() };
        if before.after(&found).depth.is_none() && !aligns {
            return true;
        }
        rest = &rest[found.length..];
    }
    // What cannot be read may do anything.
    !rest.is_empty()
}

/// Where an instruction leads.
#[derive(Clone, Copy)]
enum Goes {
    /// To the next one; true: or by its constant.
    On(bool),
    /// By its constant.
    To,
    /// In an unknown place.
    Away,
}

impl Goes {
    fn by(found: &Instruction) -> Self {
        match (found.map, found.opcode, found.operands.map(|operands| operands.register & 7)) {
            (Map::One, 0xe9 | 0xeb, _) => Self::To,
            (Map::One, 0x70..=0x7f | 0xe0..=0xe3, _) | (Map::Two, 0x80..=0x8f, _) => Self::On(true),
            // ret, hlt, iret, and jmp through something; ud2.
            (Map::One, 0xc2 | 0xc3 | 0xca | 0xcb | 0xcf | 0xf4, _)
            | (Map::One, 0xff, Some(4 | 5))
            | (Map::Two, 0x0b, _) => Self::Away,
            _ => Self::On(false),
        }
    }
}

impl Effects {
    /// What is known where two ways meet.
    fn and(self, other: Self) -> Self {
        let same = |one: Option<i64>, other| one.filter(|one| Some(*one) == other);
        let mut saved = self.saved;
        saved.iter_mut().zip(other.saved).for_each(|(one, other)| *one = same(*one, other));
        Self {
            depth: same(self.depth, other.depth),
            frame: same(self.frame, other.frame),
            above: same(self.above, other.above),
            saved,
        }
    }

    /// The stack has grown by this many bytes.
    fn moved(self, by: i64) -> Self {
        let more = |bytes: Option<i64>| bytes.and_then(|bytes| bytes.checked_add(by));
        Self { depth: more(self.depth), above: more(self.above), ..self }
    }

    pub(super) fn after(self, found: &Instruction) -> Self {
        match (found.map, found.opcode) {
            (Map::One, 0x50..=0x57) => {
                let pushed = self.moved(8);
                pushed.with_saved(found.register_in_opcode(), pushed.depth)
            }
            (Map::One, 0x58..=0x5f) => self.moved(-8).with_restored(found.register_in_opcode()),
            (Map::One, 0x68 | 0x6a | 0x9c) => self.moved(8),
            (Map::One, 0x9d) => self.moved(-8),
            // leave
            (Map::One, 0xc9) => {
                Self { depth: self.frame.map(|frame| frame.wrapping_sub(8)), above: None, ..self }.with_restored(FP)
            }
            // enter
            (Map::One, 0xc8) => Self::default(),
            // xchg with %rax, and mov of a constant
            (Map::One, 0x90..=0x97 | 0xb8..=0xbf) => self.without(found.register_in_opcode()),
            (Map::One, opcode) => match found.operands {
                Some(operands) if !is_of_bytes(opcode) => self.after_operation(found, operands),
                _ => self,
            },
            // cmov, imul, movzx, movsx, and the counting of bits
            (Map::Two, 0x40..=0x4f | 0xaf | 0xb6..=0xb8 | 0xbc..=0xbf) => {
                found.operands.map_or(self, |operands| self.without(operands.register))
            }
            // Vectors' registers have the same numbers.
            (Map::Two | Map::Other, _) => self,
        }
    }

    fn after_operation(self, found: &Instruction, operands: Operands) -> Self {
        let Operands { register, other } = operands;
        match (found.opcode, register, other) {
            // push and pop of what lies in memory
            (0xff, 6 | 14, _) => self.moved(8),
            (0x8f, ..) => self.moved(-8),
            // add and sub of a constant
            (0x81 | 0x83, 0, Other::Register(SP)) => self.moved(-found.constant),
            (0x81 | 0x83, 5, Other::Register(SP)) => self.moved(found.constant),
            // cmp and test of one
            (0x81 | 0x83, 7, _) | (0xf7, 0 | 1, _) => self,
            // mov %rsp,%rbp and back
            (0x89, SP, Other::Register(FP)) | (0x8b, FP, Other::Register(SP)) => {
                Self { frame: self.depth, above: Some(0), ..self }
            }
            (0x89, FP, Other::Register(SP)) | (0x8b, SP, Other::Register(FP)) => {
                Self { depth: self.frame, above: Some(0), ..self }
            }
            (0x8d, SP, Other::At(SP, distance)) => self.moved(-i64::from(distance)),
            (0x8d, SP, Other::At(FP, distance)) => {
                let distance = i64::from(distance);
                Self { depth: self.frame.map(|frame| frame.wrapping_sub(distance)), above: Some(-distance), ..self }
            }
            (0x8d, FP, Other::At(SP, distance)) => {
                let distance = i64::from(distance);
                Self { frame: self.depth.map(|depth| depth.wrapping_sub(distance)), above: Some(distance), ..self }
            }
            // A register that is kept may be put on the stack without a push.
            (0x89, register, Other::At(SP, distance)) if found.is_wide => {
                self.with_saved(register, self.depth.map(|depth| depth.wrapping_sub(distance.into())))
            }
            (0x89, register, Other::At(FP, distance)) if found.is_wide => {
                self.with_saved(register, self.frame.map(|frame| frame.wrapping_sub(distance.into())))
            }
            // cmp, test, calls, which come back with everything as it was, and x87's
            (0x39 | 0x3b | 0x85 | 0xd8..=0xdf, ..) | (0xff, 2, _) => self,
            (0x87, register, Other::Register(other)) => self.without(register).without(other),
            // The second operand is the one that is changed: of arithmetic, mov, shifts, and where
            // the first is part of the opcode.
            (0x00..=0x3f, _, other) if found.opcode & 2 == 0 => self.without_other(other),
            (0x81 | 0x83 | 0x89 | 0xc1 | 0xc7 | 0xd1 | 0xd3 | 0xf7 | 0xff, _, other) => self.without_other(other),
            (_, register, _) => self.without(register),
        }
    }

    /// A register that is kept for the caller was put so far below the return address, if that is
    /// known.
    fn with_saved(mut self, register: u8, below: Option<i64>) -> Self {
        if let Some(index) = place(register)
            && self.saved[index].is_none()
        {
            self.saved[index] = below;
        }
        self
    }

    fn without_other(self, other: Other) -> Self {
        match other {
            Other::Register(written) => self.without(written),
            Other::At(..) | Other::Memory => self,
        }
    }

    /// It has its caller's value again.
    fn with_restored(mut self, register: u8) -> Self {
        if let Some(index) = place(register) {
            self.saved[index] = None;
        }
        self.without(register)
    }

    /// A register has another value, which matters if it gave the place of the frame.
    fn without(mut self, register: u8) -> Self {
        match register {
            SP => (self.depth, self.above) = (None, None),
            FP => (self.frame, self.above) = (None, None),
            _ => {}
        }
        self
    }
}

/// Whether an operation of the first table works on bytes. Their registers have other numbers, and
/// the stack is not moved by bytes.
fn is_of_bytes(opcode: u8) -> bool {
    match opcode {
        0x00..=0x3f => opcode & 1 == 0,
        0x80 | 0x84 | 0x86 | 0x88 | 0x8a | 0xc0 | 0xc6 | 0xd0 | 0xd2 | 0xf6 | 0xfe => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(code: &[u8], wanted: usize) -> Option<(Option<i64>, Option<i64>)> {
        effects_at(code, wanted).map(|effects| (effects.depth, effects.frame))
    }

    #[test]
    fn what_is_pushed_and_reserved_is_counted() {
        // push %r12; push %rbx; sub $0x28,%rsp; call; add $0x28,%rsp; pop %rbx; pop %r12; ret
        let code = [
            0x41, 0x54, 0x53, 0x48, 0x83, 0xec, 0x28, 0xe8, 0, 0, 0, 0, 0x48, 0x83, 0xc4, 0x28, 0x5b, 0x41, 0x5c, 0xc3,
        ];
        let depths = [(0, 0), (2, 8), (3, 16), (7, 0x38), (11, 0x38), (12, 0x38), (16, 16), (17, 8), (19, 0)];
        for (wanted, depth) in depths {
            assert_eq!(at(&code, wanted), Some((Some(depth), None)), "at {wanted}");
        }
        let inside = effects_at(&code, 7).expect("a way");
        // r12 and rbx; rbp was not saved.
        assert_eq!((inside.saved(12), inside.saved(3), inside.saved(FP)), (Some(8), Some(16), None));
        assert_eq!(effects_at(&code, 19).and_then(|effects| effects.saved(12)), None);
        // After ret nothing leads.
        assert_eq!(effects_at(&[&code[..], &[0x90]].concat(), 20), None);
    }

    #[test]
    fn a_test_of_the_stack_pointer_leaves_it_alone() {
        // push %rbx; test $0xf,%esp; jne 1f; push %rbp; 1:
        let code = [0x53, 0xf7, 0xc4, 0x0f, 0, 0, 0, 0x75, 1, 0x55, 0x90];
        assert_eq!((at(&code, 7), at(&code, 9)), (Some((Some(8), None)), Some((Some(8), None))));
        // neg %rsp does not.
        assert_eq!(at(&[0x48, 0xf7, 0xdc, 0x90], 3), Some((None, None)));
    }

    #[test]
    fn a_frame_pointer_tells_where_the_stack_pointer_cannot() {
        // push %rbp; mov %rsp,%rbp; mov %rbx,-8(%rbp); sub %rax,%rsp; call; leave; ret
        let code = [0x55, 0x48, 0x89, 0xe5, 0x48, 0x89, 0x5d, 0xf8, 0x48, 0x29, 0xc4, 0xe8, 0, 0, 0, 0, 0xc9, 0xc3];
        assert_eq!(at(&code, 8), Some((Some(8), Some(8))));
        assert_eq!(at(&code, 11), Some((None, Some(8))));
        assert_eq!(effects_at(&code, 11).and_then(|effects| effects.saved(3)), Some(16));
        assert_eq!(at(&code, 17), Some((Some(0), None)));
    }

    #[test]
    fn the_distance_to_a_frame_pointer_is_known_where_the_depth_is_not() {
        let above = |code: &[u8], wanted| effects_at(code, wanted).and_then(|effects| effects.above);
        // lea 8(%rsp),%r10; and $-32,%rsp; push -8(%r10); push %rbp; mov %rsp,%rbp; push %r10; sub
        // $0x28,%rsp; nop
        let realigned = [
            0x4c, 0x8d, 0x54, 0x24, 8, 0x48, 0x83, 0xe4, 0xe0, 0x41, 0xff, 0x72, 0xf8, 0x55, 0x48, 0x89, 0xe5, 0x41,
            0x52, 0x48, 0x83, 0xec, 0x28, 0x90,
        ];
        assert_eq!((at(&realigned, 23), above(&realigned, 23)), (Some((None, None)), Some(0x30)));
        // push %rbp; mov %rsp,%rbp; sub $0x20,%rsp; nop; sub %rax,%rsp; nop; lea -8(%rbp),%rsp;
        // nop; leave; nop
        let alloca = [
            0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x20, 0x90, 0x48, 0x29, 0xc4, 0x90, 0x48, 0x8d, 0x65, 0xf8, 0x90,
            0xc9, 0x90,
        ];
        let known = [(8, Some(0x20)), (12, None), (17, Some(8)), (19, None)];
        known.into_iter().for_each(|(wanted, bytes)| assert_eq!(above(&alloca, wanted), bytes, "at {wanted}"));
        // Before a frame pointer is set up nothing is known of it.
        assert_eq!((above(&alloca, 1), above(&alloca, 4)), (None, Some(0)));
    }

    /// `if (n > sizeof buffer) buffer = alloca(n)` counted as if nothing had been taken, since a
    /// jump leads past it.
    #[test]
    fn a_function_that_takes_stack_of_any_size_is_seen_as_one() {
        // push %rbp; mov %rsp,%rbp; sub $0x40,%rsp; cmp %rax,%rbx; jbe 1f; sub %rax,%rsp; 1: call;
        // leave; ret
        let sometimes = [
            0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xec, 0x40, 0x48, 0x39, 0xc3, 0x76, 3, 0x48, 0x29, 0xc4, 0xe8, 0, 0, 0,
            0, 0xc9, 0xc3,
        ];
        assert_eq!(effects_at(&sometimes, 16).and_then(|effects| effects.above), None);
        assert!(takes_any_size(&sometimes));
        // push %rbp; mov %rsp,%rbp; and $-32,%rsp; sub $0x40,%rsp; call; leave; ret
        let aligned =
            [0x55, 0x48, 0x89, 0xe5, 0x48, 0x83, 0xe4, 0xe0, 0x48, 0x83, 0xec, 0x40, 0xe8, 0, 0, 0, 0, 0xc9, 0xc3];
        assert!(!takes_any_size(&aligned));
        // mov %rax,%rsp, and what cannot be read
        assert!(takes_any_size(&[0x48, 0x89, 0xc4]) && takes_any_size(&[0x90, 0x06]));
    }

    #[test]
    fn jumps_are_followed_forwards_and_backwards() {
        // push %rbx; test %eax,%eax; je 1f; pop %rbx; ret; 1: call; pop %rbx; ret
        let over = [0x53, 0x85, 0xc0, 0x74, 2, 0x5b, 0xc3, 0xe8, 0, 0, 0, 0, 0x5b, 0xc3];
        assert_eq!(at(&over, 6), Some((Some(0), None)));
        assert_eq!(at(&over, 7), Some((Some(8), None)));
        // push %rbx; jmp 2f; 1: call; 2: test %eax,%eax; jne 1b; pop %rbx; ret
        let back = [0x53, 0xeb, 5, 0xe8, 0, 0, 0, 0, 0x85, 0xc0, 0x75, 0xf7, 0x5b, 0xc3];
        assert_eq!(at(&back, 3), Some((Some(8), None)));
        // push %rbx; je 1f; push %rbp; call (of what does not return); 1: pop %rbx
        let never = [0x53, 0x74, 6, 0x55, 0xe8, 0, 0, 0, 0, 0x5b];
        assert_eq!(at(&never, 9), Some((Some(8), None)));
        // push %rbp; mov %rsp,%rbp; 1: push %rax; dec %ecx; jne 1b; call: an unknown
        // number of pushes.
        let pushes = [0x55, 0x48, 0x89, 0xe5, 0x50, 0xff, 0xc9, 0x75, 0xfb, 0xe8, 0, 0, 0, 0];
        assert_eq!(at(&pushes, 9), Some((None, Some(8))));
    }

    #[test]
    fn whatever_the_bytes_are_there_is_an_end() {
        for first in 0..=u8::MAX {
            for second in 0..=u8::MAX {
                let code: Vec<u8> = [first, second, 0xeb, 0xfa].repeat(64);
                let _: Option<Effects> = effects_at(&code, 250);
            }
        }
    }
}
