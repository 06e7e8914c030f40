//! Code without call frame information: all of musl, assembly, functions compiled without unwind
//! tables.
//!
//! The place of such a frame's return address is unknown, but each word of the stack is either one
//! or not. A return address after a direct call says where the called function begins, and from
//! there the function's own instructions say how deep its stack is (`effects`). Where that depth
//! leads to the very word, the caller and its registers are found as if by call frame information,
//! and marked as inferred.
//!
//! Where that does not find it, because the function was called through a pointer or changes its
//! stack in ways that cannot be followed, the nearest return address after a call that may have led
//! here is taken, and the nearest after any other call if the walk gets from there to the outermost
//! frame. Either is a guess, and marked as one. Callee-saved registers are taken to be untouched if
//! the walk gets to the outermost frame with them, and else to be unknown; a caller that needs one
//! then has it recovered.
//!
//! Two kinds of frame have no caller: the program's entry, and code that goes straight on to
//! exit(2).

use super::CALLEE_SAVED;
use super::effects::{Effects, effects_at};
use super::instruction::instruction;
use super::recover::DEEPEST;
use super::{Caller, RegisterFile, Walk};
use super::{call, frame_pointer, jit};
use crate::model::{CodeAddress, FoundBy, Register, RegisterSet, RuntimeAddress, WalkEnd, X86_64Register};
use crate::unwind::code::{ENTRY, take};

/// Words of stack that such a frame may have: where a call is sought that is known to have led
/// here, and where one is guessed.
const MOST_WORDS_BY_CALL: usize = 1 << 13;
const MOST_WORDS: usize = 512;
/// How far after its beginning a function may be left.
const LONGEST_FUNCTION: u64 = 4096;
/// This much is looked at of it after the place in question: what jumps back to that comes later.
const AHEAD: usize = 512;

/// Where the call before a return address has led.
#[derive(Clone, Copy)]
enum Link {
    /// To a function that begins here, shortly before the code in question.
    To(RuntimeAddress),
    /// Elsewhere, or in an unknown place.
    Elsewhere,
}

impl Walk<'_> {
    /// The caller of a frame in such code.
    pub(super) fn caller_without_cfi(
        &mut self,
        code: CodeAddress<RuntimeAddress>,
        registers: &RegisterFile,
    ) -> Result<Caller, WalkEnd> {
        let at = code.lookup();
        if self.is_entry(at) || self.goes_on_to_exit(code.exact()) {
            return Err(WalkEnd::Root);
        }
        let none = WalkEnd::NoUnwindInfo(at);
        if self.budget.depth == DEEPEST {
            return Err(none);
        }
        let sp = registers.get(X86_64Register::Rsp).ok_or(none)?;
        let words = self.stack.from(sp.checked_next_multiple_of(8).ok_or(none)?).ok_or(none)?;
        if let Some(caller) = self.caller_by_call(at, registers) {
            return Ok(caller);
        }
        for address in words.step_by(8).take(MOST_WORDS) {
            let Some((target, link)) = self.link_to(address, at) else {
                continue;
            };
            // This one is of a call that has long returned.
            if matches!(link, Link::To(function) if self.returns_elsewhere(function, at, registers)) {
                continue;
            }
            let caller = |mut outer: RegisterFile| {
                outer.set(X86_64Register::Rsp, address.wrapping_add(8));
                outer.set(X86_64Register::Rip, target.0);
                Caller { registers: outer, found: FoundBy::Guess, code: CodeAddress::Return(target) }
            };
            if let Some(framed) = self.caller_in_frame(address, at, registers)
                && self.way_to_the_root(&framed).is_some()
            {
                return Ok(framed);
            }
            // Such code seldom touches what it would have to keep for its caller.
            let mut untouched = *registers;
            untouched.forget_all_but(RegisterSet::of(X86_64Register::CALLEE_SAVED));
            let untouched = caller(untouched);
            if self.way_to_the_root(&untouched).is_some() {
                return Ok(untouched);
            }
            let unknown = caller(RegisterFile::default());
            if matches!(link, Link::To(_)) || self.way_to_the_root(&unknown).is_some() {
                return Ok(unknown);
            }
        }
        Err(if self.is_spent() { WalkEnd::TooManyFrames } else { none })
    }

    /// The caller by the frame pointer, if that has this return address: such code (V8's, where
    /// a part lies in its file) may keep frame pointers, and then its caller's is not untouched.
    fn caller_in_frame(&self, address: u64, at: RuntimeAddress, registers: &RegisterFile) -> Option<Caller> {
        let fp = registers.get(X86_64Register::Rbp)?;
        (fp.checked_add(8) == Some(address)).then(|| frame_pointer::caller(registers, self.stack, at).ok())?
    }

    /// The caller, if a direct call has led here and the function that it called has done nothing
    /// to its stack that cannot be followed.
    pub(super) fn caller_by_call(&mut self, at: RuntimeAddress, registers: &RegisterFile) -> Option<Caller> {
        let sp = registers.get(X86_64Register::Rsp)?.checked_next_multiple_of(8)?;
        self.stack.from(sp)?.step_by(8).take(MOST_WORDS_BY_CALL).find_map(|address| {
            let (target, link) = self.link_to(address, at)?;
            let Link::To(function) = link else {
                return None;
            };
            let caller = self.caller_by_effects(function, at, registers)?;
            let is_here = caller.registers.get(X86_64Register::Rsp) == address.checked_add(8);
            (is_here && caller.code.exact() == target).then_some(caller)
        })
    }

    /// Whether the instructions of the function that begins there say where its return address
    /// lies, and there is one.
    fn returns_elsewhere(&mut self, function: RuntimeAddress, at: RuntimeAddress, registers: &RegisterFile) -> bool {
        let effects = self.followed.functions.get(&(function, at)).copied().flatten();
        let depth = effects.and_then(|effects| effects.depth);
        let place = registers.get(X86_64Register::Rsp).zip(depth).map(|(sp, depth)| sp.wrapping_add_signed(depth));
        place.is_some_and(|place| self.link_to(place, at).is_some())
    }

    /// The return address at this place of the stack, if it is one, and how the call before it may
    /// have led to this code.
    fn link_to(&mut self, address: u64, code: RuntimeAddress) -> Option<(RuntimeAddress, Link)> {
        let target = self.stack.word(address).map(RuntimeAddress)?;
        if self.space.is_executable(target) && self.is_trampoline(target) {
            // A function that ended in a jump: the handler's return address is its own.
            return Some((target, Link::Elsewhere));
        }
        let before = self.code_before(target)?;
        let link = match call::direct(target, &before) {
            Some(called) => {
                let called = if self.is_left(called, code) { called } else { self.behind_stubs(called) };
                let is_near =
                    |called: &RuntimeAddress| code.0.checked_sub(called.0).is_some_and(|into| into < LONGEST_FUNCTION);
                let nearest = if is_near(&called) { Some(called) } else { self.tail_called(called).filter(is_near) };
                nearest.map_or(Link::Elsewhere, Link::To)
            }
            None => call::is_indirect(&before).then_some(Link::Elsewhere)?,
        };
        Some((target, link))
    }

    /// Where a function goes on that does little else than to call another one last, which then is
    /// a jump.
    fn tail_called(&mut self, function: RuntimeAddress) -> Option<RuntimeAddress> {
        let mut code = [0; ENTRY as usize];
        let length = self.see(function, &mut code)?;
        let mut at = 0;
        while let Some(found) = code[..length].get(at..).and_then(instruction) {
            at += found.length;
            if found.jumps() {
                return Some(function.offset(at as i64).offset(found.constant));
            }
            if found.calls() || found.returns() {
                return None;
            }
        }
        None
    }

    /// The code before what may be a return address, in which a call may end.
    pub(super) fn code_before(&mut self, target: RuntimeAddress) -> Option<[u8; call::LONGEST]> {
        if !self.space.is_executable(target.offset(-1)) {
            return None;
        }
        let mut before = [0; call::LONGEST];
        let length = self.see(target.offset(-(call::LONGEST as i64)), &mut before)?;
        (length == before.len()).then_some(before)
    }

    /// Whether code that the process made begins there, of a function that it enters no more.
    fn is_left(&mut self, function: RuntimeAddress, code: RuntimeAddress) -> bool {
        let mut beginning = [0; call::STUB];
        self.space.module(code).is_none()
            && self.see(function, &mut beginning) == Some(beginning.len())
            && jit::restore_entry(&mut beginning)
    }

    /// The caller as the instructions of the function say that begins here.
    pub(super) fn caller_by_effects(
        &mut self,
        function: RuntimeAddress,
        at: RuntimeAddress,
        registers: &RegisterFile,
    ) -> Option<Caller> {
        let effects = self.effects(function, at)?;
        self.caller_after(&effects, registers)
    }

    /// What the function that begins there has done to its stack when it comes to an address in it.
    pub(super) fn effects(&mut self, function: RuntimeAddress, at: RuntimeAddress) -> Option<Effects> {
        if let Some(known) = self.followed.functions.get(&(function, at)) {
            return *known;
        }
        let effects = self.follow(function, at);
        self.followed.functions.insert((function, at), effects);
        effects
    }

    fn follow(&mut self, function: RuntimeAddress, at: RuntimeAddress) -> Option<Effects> {
        let into = usize::try_from(at.0.checked_sub(function.0)?).ok()?;
        let mut code = [0; LONGEST_FUNCTION as usize + AHEAD];
        let room = code.get_mut(..into + AHEAD)?;
        take(&mut self.budget.functions)?;
        let length = self.see(function, room)?;
        if self.space.module(function).is_none() {
            jit::restore_entry(&mut code[..length]);
        }
        effects_at(&code[..length], into)
    }

    /// The caller of a frame that has done this to its stack.
    pub(super) fn caller_after(&self, effects: &Effects, registers: &RegisterFile) -> Option<Caller> {
        let by = |register, distance: Option<i64>| Some(registers.get(register)?.wrapping_add_signed(distance?));
        let place = by(X86_64Register::Rsp, effects.depth).or_else(|| by(X86_64Register::Rbp, effects.frame))?;
        let target = self.stack.word(place)?;
        let mut outer = *registers;
        outer.forget_all_but(RegisterSet::of(X86_64Register::CALLEE_SAVED));
        for (register, encoded) in CALLEE_SAVED {
            match effects.saved(encoded).map(|below| self.stack.word(place.wrapping_add_signed(-below))) {
                Some(Some(value)) => outer.set(register, value),
                Some(None) => outer.forget(register),
                None => {}
            }
        }
        outer.set(X86_64Register::Rsp, place.wrapping_add(8));
        outer.set(X86_64Register::Rip, target);
        let code = CodeAddress::Return(RuntimeAddress(target));
        Some(Caller { registers: outer, found: FoundBy::Inferred, code })
    }

    /// Whether nothing lies between this instruction and exit(2) or exit_group(2): threads of musl
    /// begin in such code.
    fn goes_on_to_exit(&mut self, at: RuntimeAddress) -> bool {
        let mut code = [0; 16];
        let length = self.see(at, &mut code).unwrap_or(0);
        let mut rest = &code[..length];
        loop {
            rest = match rest {
                // mov %eax,%edi; mov %rax,%rdi; xor %eax,%eax; xor %edi,%edi.
                [0x89, 0xc7, rest @ ..] | [0x48, 0x89, 0xc7, rest @ ..] | [0x31, 0xc0 | 0xff, rest @ ..] => rest,
                // mov $60,%al; mov $60,%eax; mov $231,%eax; and syscall.
                [0xb0, 0x3c, 0x0f, 0x05, ..] | [0xb8, 0x3c | 0xe7, 0, 0, 0, 0x0f, 0x05, ..] => return true,
                _ => return false,
            };
        }
    }
}
