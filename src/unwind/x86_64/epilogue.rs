//! Generated code followed from an instruction to the end of its function.
//!
//! Nothing says where a function begins that was called through a pointer, but whatever it has done
//! to its stack it must undo before it returns. Its instructions are followed from its frame's
//! address on (`effects`), along jumps and past conditional ones, to a `ret`: the return address
//! lies where the stack pointer then is, and what was popped on the way are its caller's registers.
//! Where the end takes the stack pointer from a frame pointer that was not captured, each word of
//! the stack is supposed to be it, the nearest first, and believed if a call lies before the return
//! address and the walk gets from there to the outermost frame.
//!
//! Promises: bounded, whatever the bytes are; the return address so found lies after a call.
//! Functions that change stacks, end in a jump, or go round a loop for longer than is followed have
//! no answer here.

use super::CALLEE_SAVED;
use super::effects::Effects;
use super::frame_pointer;
use super::instruction::{FP, Instruction, Map, Operands, Other, SP, instruction};
use super::recover::DEEPEST;
use super::{Caller, RegisterFile, Walk};
use crate::model::{CodeAddress, FoundBy, Register, RegisterSet, RuntimeAddress, X86_64Register};
use crate::unwind::code::take;

/// Instructions that are followed.
const MOST: usize = 256;
/// Code that is read at once.
const PIECE: usize = 64;
/// The longest instruction (Intel SDM volume 2, 2.3.11).
const LONGEST: usize = 15;
/// Words of the stack that are supposed to be a frame pointer.
const MOST_WORDS: usize = 512;

/// How a function ends.
enum Ending {
    /// The return address lies there, and the caller's registers are these.
    Returns(u64, RegisterFile),
    /// The stack pointer is taken from the frame pointer, which is unknown.
    NeedsFramePointer,
}

impl Walk<'_> {
    /// The caller of a function in generated code, as its instructions from there on say.
    pub(super) fn caller_by_epilogue(
        &mut self,
        code: CodeAddress<RuntimeAddress>,
        registers: &RegisterFile,
    ) -> Option<Caller> {
        match self.ending(code.exact(), registers)? {
            Ending::Returns(place, outer) => {
                let target = RuntimeAddress(self.stack.word(place)?);
                self.is_behind_a_call(target).then(|| returned(target, place, outer, FoundBy::Inferred))
            }
            Ending::NeedsFramePointer => self.caller_by_supposed_frame_pointer(code.lookup(), registers),
        }
    }

    /// The nearest caller that a frame pointer into this stack leads to and from which the walk
    /// gets to the outermost frame.
    fn caller_by_supposed_frame_pointer(&mut self, at: RuntimeAddress, registers: &RegisterFile) -> Option<Caller> {
        if self.budget.depth == DEEPEST {
            return None;
        }
        let sp = registers.get(X86_64Register::Rsp)?.checked_next_multiple_of(8)?;
        for value in self.stack.from(sp)?.step_by(8).take(MOST_WORDS) {
            take(&mut self.budget.words)?;
            let mut supposed = *registers;
            supposed.set(X86_64Register::Rbp, value);
            let Ok(caller) = frame_pointer::caller(&supposed, self.stack, at) else {
                continue;
            };
            if self.is_behind_a_call(caller.code.exact()) && self.way_to_the_root(&caller).is_some() {
                return Some(Caller { found: FoundBy::Guess, ..caller });
            }
        }
        None
    }

    fn ending(&mut self, start: RuntimeAddress, registers: &RegisterFile) -> Option<Ending> {
        let sp = registers.get(X86_64Register::Rsp)?;
        let mut outer = *registers;
        outer.forget_all_but(RegisterSet::of(X86_64Register::CALLEE_SAVED));
        // Distances are counted from the stack pointer as it is now, which takes the place of the
        // return address.
        let frame = registers.get(X86_64Register::Rbp).map(|fp| sp.wrapping_sub(fp).cast_signed());
        let mut effects = Effects::before_return(frame);
        let mut has_grown = false;
        let mut at = start;
        let mut piece = Piece { start, code: Vec::new() };
        for _ in 0..MOST {
            let found = piece.instruction(self, at)?;
            let depth = effects.depth?;
            match ends(&found) {
                // All that this takes it gives back: it is another function, after a call that does
                // not return.
                End::Returns if has_grown && depth == 0 => return None,
                End::Returns => {
                    outer.forget(X86_64Register::Rsp);
                    return Some(Ending::Returns(sp.wrapping_add_signed(depth.wrapping_neg()), outer));
                }
                End::TakesFramePointer if effects.frame.is_none() => return Some(Ending::NeedsFramePointer),
                End::No | End::TakesFramePointer => {}
                End::Elsewhere => return None,
            }
            if let Some((register, from)) = restored(&found, &effects) {
                // What was pushed since is not on the stack yet.
                let value = (from <= 0).then(|| self.stack.word(sp.wrapping_add_signed(from.wrapping_neg()))).flatten();
                match value {
                    Some(value) => outer.set(register, value),
                    None => outer.forget(register),
                }
            }
            at = match found.jumps() {
                true => at.offset(found.length as i64).offset(found.constant),
                false => at.offset(found.length as i64),
            };
            effects = effects.after(&found);
            has_grown |= effects.depth.is_some_and(|depth| depth > 0);
        }
        None
    }
}

fn returned(target: RuntimeAddress, place: u64, mut outer: RegisterFile, found: FoundBy) -> Caller {
    outer.set(X86_64Register::Rsp, place.wrapping_add(8));
    outer.set(X86_64Register::Rip, target.0);
    Caller { registers: outer, found, code: CodeAddress::Return(target) }
}

/// The code that was read last.
struct Piece {
    start: RuntimeAddress,
    code: Vec<u8>,
}

impl Piece {
    /// The instruction at an address.
    fn instruction(&mut self, walk: &mut Walk<'_>, at: RuntimeAddress) -> Option<Instruction> {
        let rest = |piece: &Self| {
            let into = usize::try_from(at.0.checked_sub(piece.start.0)?).ok()?;
            piece.code.get(into..).map(<[u8]>::len)
        };
        if rest(self).is_none_or(|length| length < LONGEST) {
            let mut code = vec![0; PIECE];
            let length = walk.see(at, &mut code)?;
            code.truncate(length);
            *self = Self { start: at, code };
        }
        instruction(self.code.get(usize::try_from(at.0.checked_sub(self.start.0)?).ok()?..)?)
    }
}

enum End {
    No,
    Returns,
    /// leave, and mov %rbp,%rsp.
    TakesFramePointer,
    /// It goes on where nothing here says.
    Elsewhere,
}

fn ends(found: &Instruction) -> End {
    match (found.map, found.opcode, found.operands) {
        _ if found.returns() => End::Returns,
        (Map::One, 0xc9, _)
        | (Map::One, 0x89, Some(Operands { register: FP, other: Other::Register(SP) }))
        | (Map::One, 0x8b, Some(Operands { register: SP, other: Other::Register(FP) }))
        | (Map::One, 0x8d, Some(Operands { register: SP, other: Other::At(FP, _) })) => End::TakesFramePointer,
        // Traps, far returns, hlt; jumps through something; ud2.
        (Map::One, 0xca..=0xcd | 0xcf | 0xf4, _) | (Map::Two, 0x0b, _) => End::Elsewhere,
        (Map::One, 0xff, Some(Operands { register, .. })) if matches!(register & 7, 4 | 5) => End::Elsewhere,
        _ => End::No,
    }
}

/// The register that has its caller's value after this instruction, and where that lies.
fn restored(found: &Instruction, effects: &Effects) -> Option<(X86_64Register, i64)> {
    let (encoded, from) = match (found.map, found.opcode, found.operands) {
        (Map::One, 0x58..=0x5f, _) => (found.register_in_opcode(), effects.depth?),
        (Map::One, 0xc9, _) => (FP, effects.frame?),
        (Map::One, 0x8b, Some(Operands { register, other: Other::At(SP, distance) })) if found.is_wide => {
            (register, effects.depth?.wrapping_sub(distance.into()))
        }
        (Map::One, 0x8b, Some(Operands { register, other: Other::At(FP, distance) })) if found.is_wide => {
            (register, effects.frame?.wrapping_sub(distance.into()))
        }
        _ => return None,
    };
    CALLEE_SAVED.into_iter().find(|(_, known)| *known == encoded).map(|(register, _)| (register, from))
}
