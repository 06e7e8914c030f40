//! Code that the process made at run time, which is in no file.
//!
//! What was called directly is walked by its own instructions, as code without call frame
//! information is (`no_cfi`). So is what Java's HotSpot has compiled and its interpreter has
//! called, or what has moved away from where it was called: it uses the frame pointer for anything,
//! but each function of it has a frame of fixed size, and begins in one of few ways. Everything
//! else (interpreters, what V8 compiles) keeps frame pointers, but for its first and last
//! instructions (`edges`). HotSpot's interpreter has what it needs of its caller's stack made part
//! of its own frame, and notes where that began.

use super::effects::{Effects, effects_at};
use super::frame_pointer;
use super::instruction::{FP, Instruction, Map, Operands, Other, SP, instruction};
use super::{Caller, RegisterFile, Walk};
use crate::model::{CodeAddress, FoundBy, RuntimeAddress, WalkEnd, X86_64Register};
use crate::unwind::code::take;

/// So far before an address the beginning of its function is sought, in pieces.
const FARTHEST: u64 = 64 << 10;
const PIECE: u64 = 4096;
/// As much of a function as its beginning may take.
const BEGINNING: usize = 32;
/// What an interpreted function may have as arguments and variables.
const LARGEST_FRAME: u64 = 64 << 10;

impl Walk<'_> {
    pub(super) fn caller_of_generated_code(
        &mut self,
        code: CodeAddress<RuntimeAddress>,
        registers: &RegisterFile,
    ) -> Result<Caller, WalkEnd> {
        let at = code.lookup();
        if self.space.is_uprobe(at) {
            return self.caller_past_uprobe(at, registers);
        }
        if let CodeAddress::Return(barrier) = code
            && let Some(caller) = self.caller_of_virtual_thread(barrier, registers)
        {
            return Ok(caller);
        }
        if let Some(caller) = self.caller_by_call(at, registers) {
            return Ok(caller);
        }
        if let CodeAddress::Pc(pc) = code
            && let Some(caller) = self.caller_at_edge(pc, registers)
        {
            return Ok(caller);
        }
        match self.java(at) {
            Some(effects) => self.caller_in_java(effects, registers).ok_or(WalkEnd::NoUnwindInfo(at)),
            None => {
                if let Some(caller) = self.caller_by_epilogue(code, registers) {
                    return Ok(caller);
                }
                let caller = frame_pointer::caller(registers, self.stack, at)?;
                Ok(self.with_callers_stack(caller))
            }
        }
    }

    /// The caller of a frame that a frame pointer gave, with the stack pointer that the interpreter
    /// has noted for it, if that is what it needs.
    fn with_callers_stack(&mut self, caller: Caller) -> Caller {
        let Some(own) = caller.registers.get(X86_64Register::Rsp) else {
            return caller;
        };
        // Below the frame pointer, which lies below the return address.
        let noted = self.stack.word(own.wrapping_sub(24)).filter(|noted| {
            noted % 8 == 0 && noted.checked_sub(own).is_some_and(|more| (1..LARGEST_FRAME).contains(&more))
        });
        let at = caller.code.lookup();
        let Some(noted) = noted.filter(|_| self.space.module(at).is_none()) else {
            return caller;
        };
        let mut other = caller;
        other.registers.set(X86_64Register::Rsp, noted);
        let [by_noted, by_own] = [&other, &caller].map(|caller| self.caller_by_call(at, &caller.registers).is_some());
        let is_noted = by_noted || !by_own && self.java(at).is_some();
        if is_noted { other } else { caller }
    }

    fn caller_in_java(&self, effects: Option<Effects>, registers: &RegisterFile) -> Option<Caller> {
        let caller = self.caller_after(&effects?, registers)?;
        let is_code = self.space.is_executable(caller.code.lookup());
        is_code.then_some(Caller { found: FoundBy::Guess, ..caller })
    }

    /// What a function has done to its stack where this address is, if HotSpot has compiled it, as
    /// far as that can be known.
    fn java(&mut self, at: RuntimeAddress) -> Option<Option<Effects>> {
        if let Some(known) = self.followed.java.get(&at) {
            return *known;
        }
        // Where nothing may be looked at any more, a frame pointer is not believed either.
        if take(&mut self.budget.functions).is_none() {
            return Some(None);
        }
        let effects = self.java_function(at).map(|(code, into)| effects_in_java(&code, into));
        self.followed.java.insert(at, effects);
        effects
    }

    /// The function that this address lies in, if HotSpot has compiled it: its code, from its
    /// beginning on, and how far into it the address lies.
    fn java_function(&mut self, at: RuntimeAddress) -> Option<(Vec<u8>, usize)> {
        let mut end = at.0.checked_add(1)?;
        let last = at.0.saturating_sub(FARTHEST);
        while end > last {
            let start = (end - 1) & !(PIECE - 1);
            // What begins in this piece may end in the next.
            let mut code = [0; PIECE as usize + BEGINNING];
            let length = usize::try_from(end - start).ok()?;
            let read = self.see(RuntimeAddress(start), &mut code)?;
            if read < length {
                return None;
            }
            if let Some(offset) = (0..length).rev().find(|at| is_beginning(&code[*at..read])) {
                let function = RuntimeAddress(start + offset as u64);
                let into = usize::try_from(at.0 - function.0).ok()?;
                let mut code = vec![0; into + BEGINNING];
                let read = self.see(function, &mut code)?;
                code.truncate(read);
                restore_entry(&mut code);
                return (!has_end(code.get(..into)?)).then_some((code, into));
            }
            end = start;
        }
        None
    }
}

/// What a function that HotSpot has compiled has done to its stack so far into it.
fn effects_in_java(code: &[u8], into: usize) -> Option<Effects> {
    let followed = effects_at(code, into).filter(|effects| effects.depth.or(effects.frame).is_some());
    // Nearly all of a function runs with the frame that its beginning has made.
    followed.or_else(|| {
        let end = beginning(code)?.min(into);
        effects_at(code.get(..end + BEGINNING)?, end)
    })
}

/// Whether a function ends in this code: after it there are a few halts. (Instructions cannot be
/// followed that far: there may be data between them.)
fn has_end(code: &[u8]) -> bool {
    const HALTS: [u8; 3] = [0xf4; 3];
    code.windows(HALTS.len()).any(|bytes| bytes == HALTS)
}

fn is_beginning(code: &[u8]) -> bool {
    let mut copy = [0; BEGINNING];
    let length = code.len().min(BEGINNING);
    copy[..length].copy_from_slice(&code[..length]);
    restore_entry(&mut copy);
    beginning(&copy[..length]).is_some()
}

/// How long the beginning of a function is that HotSpot has compiled, if this is one. It touches
/// the stack a few pages further down, saves the frame pointer and takes a frame; a function that
/// calls nothing takes one, and puts the frame pointer at its end.
fn beginning(code: &[u8]) -> Option<usize> {
    let mut at = 0;
    if let [0x89, 0x84, 0x24, 0, low, _, 0xff, ..] = code
        && low & 0xf == 0
    {
        // mov %eax,-N*4096(%rsp)
        at = 7;
    } else if code.first() != Some(&WIDE) {
        return None;
    }
    let is_touched = at > 0;
    let mut next = || {
        let found = instruction(code.get(at..)?)?;
        at += found.length;
        Some((found, at))
    };
    let (mut found, mut end) = next()?;
    if is_touched && (found.map, found.opcode) == (Map::One, 0x55) {
        (found, end) = next()?;
        // Where it was asked to keep frame pointers.
        if found.sets_frame_pointer() {
            (found, end) = next()?;
        }
        return takes_frame(&found).map(|_| end);
    }
    let size = takes_frame(&found)?;
    let (found, _) = next()?;
    let saves = Some(Operands { register: FP, other: Other::At(SP, i32::try_from(size - 8).ok()?) });
    ((found.map, found.opcode) == (Map::One, 0x89) && found.is_wide && found.operands == saves).then_some(end)
}

/// Undoes what HotSpot does to a function that is not to be entered any more: while some frames of
/// it are still there, a jump takes the place of the first instruction, which is long enough for
/// that. Whether there was one.
pub(super) fn restore_entry(code: &mut [u8]) -> bool {
    const JUMP: u8 = 0xe9;
    match code {
        [JUMP, _, _, _, _, _, 0xff, 0x55, ..] => {
            [code[0], code[1], code[2], code[3], code[4]] = [0x89, 0x84, 0x24, 0, 0];
            true
        }
        // Its frame is as large as the place where it puts the frame pointer says.
        [JUMP, _, _, _, _, 0, 0, WIDE, 0x89, 0x6c, 0x24, distance @ ..0x78, ..] => {
            let size = *distance + 8;
            [code[0], code[1], code[2], code[3], code[4]] = [WIDE, 0x81, 0xec, size, 0];
            true
        }
        _ => false,
    }
}

/// The prefix of operations on 64 bits.
const WIDE: u8 = 0x48;

/// How large a frame it takes, if it is sub $N,%rsp.
fn takes_frame(found: &Instruction) -> Option<i64> {
    let operands = Operands { register: 5, other: Other::Register(SP) };
    let is_sub = found.map == Map::One && matches!(found.opcode, 0x81 | 0x83) && found.operands == Some(operands);
    (is_sub && found.constant > 0).then_some(found.constant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_instructions_cannot_be_followed_a_function_has_the_frame_of_its_beginning() {
        // mov %eax,-0x14000(%rsp); push %rbp; sub $0x20,%rsp
        let beginning = [0x89, 0x84, 0x24, 0, 0xc0, 0xfe, 0xff, 0x55, 0x48, 0x83, 0xec, 0x20];
        let depth = |more: &[u8], into| {
            let code = [&beginning[..], more, &[0x90; BEGINNING]].concat();
            effects_in_java(&code, beginning.len() + into).and_then(|effects| effects.depth)
        };
        // and $-16,%rsp; and more instructions than are followed.
        assert_eq!(depth(&[0x48, 0x83, 0xe4, 0xf0], 4), Some(0x28));
        assert_eq!(depth(&[0x90; 1 << 15], 1 << 15), Some(0x28));
        // Where they can be followed, they are: push %rbx.
        assert_eq!(depth(&[0x53], 1), Some(0x30));
    }

    #[test]
    fn the_beginnings_of_compiled_functions_of_java_are_known() {
        const TOUCH: [u8; 7] = [0x89, 0x84, 0x24, 0, 0xc0, 0xfe, 0xff];
        let with = |rest: &[u8]| [&TOUCH[..], rest].concat();
        // push %rbp; sub $0x20,%rsp
        assert_eq!(beginning(&with(&[0x55, 0x48, 0x83, 0xec, 0x20, 0xc3])), Some(12));
        // push %rbp; mov %rsp,%rbp; sub $0x100,%rsp
        assert_eq!(beginning(&with(&[0x55, 0x48, 0x8b, 0xec, 0x48, 0x81, 0xec, 0, 1, 0, 0])), Some(18));
        // sub $0x18,%rsp; mov %rbp,0x10(%rsp), touched or not
        let leaf = [0x48, 0x83, 0xec, 0x18, 0x48, 0x89, 0x6c, 0x24, 0x10, 0xc3];
        assert_eq!((beginning(&leaf), beginning(&with(&leaf))), (Some(4), Some(11)));
        // A jump instead of the first instruction, in either.
        let mut left = with(&[0x55, 0x48, 0x83, 0xec, 0x20, 0xc3]);
        left[..5].copy_from_slice(&[0xe9, 1, 2, 3, 4]);
        assert!(restore_entry(&mut left) && beginning(&left) == Some(12));
        let mut left = [0xe9, 1, 2, 3, 4, 0, 0, 0x48, 0x89, 0x6c, 0x24, 0x10, 0xc3];
        assert!(restore_entry(&mut left) && left.starts_with(&[0x48, 0x81, 0xec, 0x18, 0]));
        assert!(!restore_entry(&mut [0xe9, 1, 2, 3, 4, 0, 0, 0x55]));
        // Others write upwards, put the frame pointer elsewhere, or take no frame.
        assert_eq!(beginning(&[0x48, 0x83, 0xec, 0x18, 0x48, 0x89, 0x6c, 0x24, 8]), None);
        assert_eq!(beginning(&[0x89, 0x84, 0x24, 0, 0x10, 0, 0, 0x55, 0x48, 0x83, 0xec, 0x20]), None);
        assert_eq!(beginning(&with(&[0x55, 0x90, 0xc3])), None);
        (0..12).for_each(|length| assert_eq!(beginning(&with(&[0x55, 0x48, 0x83, 0xec, 0x20])[..length]), None));
    }
}
