//! Where an indirect call went, as far as the code before it says.
//!
//! Any function may have been called through a pointer, so that such a call does not say what it
//! called. But compilers load the pointer shortly before the call, from a variable, the stack, or a
//! table, and mostly it is still there. The instructions of the caller are followed from its
//! beginning to the call, in the order in which they lie. Promises: bounded; no answer where the
//! pointer was computed, or came in a register. A variable may have changed since.

use super::instruction::{FP, Instruction, Map, Other, SP, instruction};
use super::recover::MOST_CODE;
use super::{Caller, Walk};
use crate::model::{RuntimeAddress, X86_64Register};
use crate::unwind::code::take;

/// Where a register's value came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Source {
    /// From the memory at this address, outside the stack.
    Slot(u64),
    /// It is this address.
    Address(u64),
    /// From the stack, so far above the stack pointer.
    Stack(i32),
    /// From the stack, so far above the frame pointer.
    Frame(i32),
}

/// What a call goes through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Through {
    Value(Source),
    /// What lies so far from where a value points.
    Table(Source, i32),
}

impl Walk<'_> {
    /// Where the call before this caller's return address went.
    pub(super) fn called_through_pointer(&mut self, caller: &Caller) -> Option<RuntimeAddress> {
        let target = caller.code.exact();
        let start = {
            let rules = self.rules(caller.code.lookup()).ok()?;
            self.function(&rules).start
        };
        take(&mut self.budget.functions)?;
        let length = target.0.checked_sub(start.0).filter(|length| *length <= MOST_CODE)?;
        let mut code = vec![0; usize::try_from(length).ok()?];
        if self.look(start, &mut code)? != code.len() {
            return None;
        }
        let called = match through(start, &code)? {
            Through::Value(source) => self.loaded(source, caller)?,
            Through::Table(source, distance) => {
                let table = self.loaded(source, caller)?;
                self.slot(RuntimeAddress(table).offset(distance.into()))?.0
            }
        };
        Some(RuntimeAddress(called)).filter(|called| self.space.is_executable(*called))
    }

    fn loaded(&mut self, source: Source, caller: &Caller) -> Option<u64> {
        let on_stack = |register, distance: i32| {
            self.stack.word(caller.registers.get(register)?.wrapping_add_signed(distance.into()))
        };
        match source {
            Source::Slot(at) => Some(self.slot(RuntimeAddress(at))?.0),
            Source::Address(address) => Some(address),
            Source::Stack(distance) => on_stack(X86_64Register::Rsp, distance),
            Source::Frame(distance) => on_stack(X86_64Register::Rbp, distance),
        }
    }
}

/// What the call goes through in which this code ends.
fn through(start: RuntimeAddress, code: &[u8]) -> Option<Through> {
    let mut sources = [None; 16];
    let mut at = 0;
    loop {
        let found = code.get(at..).and_then(instruction)?;
        let bytes = code.get(at..at + found.length)?;
        let relative = relative(bytes, start.offset((at + found.length) as i64));
        at += found.length;
        let operands = found.operands;
        if at == code.len() {
            let operands = operands.filter(|_| found.calls())?;
            let of = |register: u8| sources.get(usize::from(register)).copied().flatten();
            return match (operands.other, relative) {
                (_, Some(slot)) => Some(Through::Value(Source::Slot(slot))),
                (Other::Register(register), _) => of(register).map(Through::Value),
                (Other::At(SP, distance), _) => Some(Through::Value(Source::Stack(distance))),
                (Other::At(FP, distance), _) => Some(Through::Value(Source::Frame(distance))),
                (Other::At(register, distance), _) => of(register).map(|source| Through::Table(source, distance)),
                (Other::Memory, _) => None,
            };
        }
        forget_written(&found, &mut sources);
        if (found.map, found.opcode & !7) == (Map::One, 0xb8)
            && let Some(source) = sources.get_mut(usize::from(found.register_in_opcode()))
        {
            // Half a register is extended with zeroes.
            let half = u64::from(found.constant as u32);
            *source = Some(Source::Address(if found.is_wide { found.constant.cast_unsigned() } else { half }));
        }
        if let Some(operands) = operands.filter(|_| found.map == Map::One && found.is_wide)
            && let Some(source) = sources.get_mut(usize::from(operands.register))
        {
            match (found.opcode, operands.other, relative) {
                (0x8b, _, Some(slot)) => *source = Some(Source::Slot(slot)),
                (0x8d, _, Some(address)) => *source = Some(Source::Address(address)),
                (0x8b, Other::At(SP, distance), _) => *source = Some(Source::Stack(distance)),
                (0x8b, Other::At(FP, distance), _) => *source = Some(Source::Frame(distance)),
                _ => {}
            }
        }
    }
}

/// Registers that an instruction may have written to have no source any more.
fn forget_written(found: &Instruction, sources: &mut [Option<Source>; 16]) {
    let mut forget = |register: u8| {
        if let Some(source) = sources.get_mut(usize::from(register)) {
            *source = None;
        }
    };
    match (found.map, found.opcode) {
        // Calls keep what a function keeps for its caller.
        _ if found.calls() => [0, 1, 2, 6, 7, 8, 9, 10, 11].into_iter().for_each(forget),
        (Map::One, 0x58..=0x5f | 0x91..=0x97 | 0xb8..=0xbf) => forget(found.register_in_opcode()),
        // cmp and test, pushes, jumps, nop
        (
            Map::One,
            0x38..=0x3d | 0x84 | 0x85 | 0xa8 | 0xa9 | 0x50..=0x57 | 0x68 | 0x6a | 0x70..=0x7f | 0x90 | 0xe9 | 0xeb,
        ) => {}
        (Map::One, opcode) => {
            if let Some(operands) = found.operands {
                // The first operand of mov and arithmetic to memory is only read.
                if !(matches!(opcode, 0x88 | 0x89) || opcode < 0x40 && opcode & 2 == 0) {
                    forget(operands.register);
                }
                if let Other::Register(register) = operands.other {
                    forget(register);
                }
            } else {
                // Constants and accumulators: %rax, and %rdx.
                [0, 2].into_iter().for_each(forget);
            }
        }
        _ => {
            if let Some(operands) = found.operands {
                forget(operands.register);
                if let Other::Register(register) = operands.other {
                    forget(register);
                }
            }
        }
    }
}

/// The address that an instruction which ends at `next` names by its distance from there.
fn relative(bytes: &[u8], next: RuntimeAddress) -> Option<u64> {
    let rest = match bytes {
        [0x40..=0x4f, rest @ ..] | rest => rest,
    };
    match *rest {
        [0x8b | 0x8d | 0xff, operand, a, b, c, d] if operand & 0xc7 == 5 => {
            Some(next.offset(i32::from_le_bytes([a, b, c, d]).into()).0)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_call_went_is_read_from_what_comes_before_it() {
        let start = RuntimeAddress(0x1000);
        let of = |code: &[u8]| through(start, code);
        // call *0x10(%rip)
        assert_eq!(of(&[0xff, 0x15, 0x10, 0, 0, 0]), Some(Through::Value(Source::Slot(0x1016))));
        // mov 0x10(%rip),%rdx; mov %eax,%edi; call *%rdx
        let variable = [0x48, 0x8b, 0x15, 0x10, 0, 0, 0, 0x89, 0xc7, 0xff, 0xd2];
        assert_eq!(of(&variable), Some(Through::Value(Source::Slot(0x1017))));
        // The same, with test %rdx,%rdx; je and with mov %rax,%rdx before the call.
        let tested = [0x48, 0x8b, 0x15, 0x10, 0, 0, 0, 0x48, 0x85, 0xd2, 0x74, 2, 0xff, 0xd2];
        assert_eq!(of(&tested), Some(Through::Value(Source::Slot(0x1017))));
        assert_eq!(of(&[0x48, 0x8b, 0x15, 0x10, 0, 0, 0, 0x48, 0x89, 0xc2, 0xff, 0xd2]), None);
        // mov 0x18(%rsp),%rax; call *%rax, as glibc calls main
        assert_eq!(of(&[0x48, 0x8b, 0x44, 0x24, 0x18, 0xff, 0xd0]), Some(Through::Value(Source::Stack(0x18))));
        // mov $0x401136,%eax; call *%rax
        assert_eq!(of(&[0xb8, 0x36, 0x11, 0x40, 0, 0xff, 0xd0]), Some(Through::Value(Source::Address(0x40_1136))));
        // lea 0x10(%rip),%r12; call; call *8(%r12)
        let table = [0x4c, 0x8d, 0x25, 0x10, 0, 0, 0, 0xe8, 0, 0, 0, 0, 0x41, 0xff, 0x54, 0x24, 8];
        assert_eq!(of(&table), Some(Through::Table(Source::Address(0x1017), 8)));
        // Through %rax the call between them has returned.
        assert_eq!(of(&[0x48, 0x8d, 0x05, 0x10, 0, 0, 0, 0xe8, 0, 0, 0, 0, 0xff, 0x50, 8]), None);
        // A direct call, and code that ends within an instruction.
        assert_eq!(of(&[0xe8, 0, 0, 0, 0]), None);
        assert_eq!(of(&[0x48, 0x8b]), None);
    }
}
