//! Code that no call frame information covers: all of musl, assembly, what a compiler thought nobody would unwind.
//!
//! Nothing tells where such a frame's return address is, but each word of the stack is either one or not: the nearest that
//! lies behind a call to a function that begins shortly before the address in question is taken at once, and the nearest
//! behind any other call if the walk gets from there to the outermost frame. Either is a guess, and marked as one. Registers
//! that are kept for the caller are taken to be untouched if the walk gets to the outermost frame with them, and else to be
//! unknown; a caller that needs one then has it recovered.
//!
//! What has no caller is told by what it is: the program's entry, or code that goes straight on to exit(2).

use super::machine::Machine;
use super::recover::DEEPEST;
use super::x86_64::KEPT;
use super::{Caller, Rules, Walk, call};
use crate::model::{CodeAddress, FoundBy, Register, RegisterFile, RegisterSet, RuntimeAddress, WalkEnd};

/// Words of stack that such a frame may have.
const MOST_WORDS: usize = 512;
/// How far behind its beginning a function may be left.
const LONGEST_FUNCTION: u64 = 4096;
/// The code from a program's entry to the first call in it.
const ENTRY: u64 = 64;

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
        let sp = registers.get(Register::Rsp).and_then(|sp| sp.checked_next_multiple_of(8)).ok_or(none)?;
        let words = self.stack.from(sp).ok_or(none)?;
        for address in words.step_by(8).take(MOST_WORDS) {
            let Some(target) = self.stack.word(address).map(RuntimeAddress) else {
                break;
            };
            if !self.space.is_executable(target.offset(-1)) {
                continue;
            }
            let Some(is_of_this) = self.calls(target, at) else {
                continue;
            };
            let caller = |mut outer: RegisterFile| {
                outer.set(Register::Rsp, address.wrapping_add(8));
                outer.set(Register::Rip, target.0);
                Caller { registers: outer, found: FoundBy::Guess, code: CodeAddress::Return(target) }
            };
            // Such code seldom touches what it would have to keep for its caller.
            let mut untouched = *registers;
            untouched.forget_all_but(RegisterSet::of(&KEPT));
            let untouched = caller(untouched);
            if self.way_to_the_root(&untouched).is_some() {
                return Ok(untouched);
            }
            let unknown = caller(RegisterFile::default());
            if is_of_this || self.way_to_the_root(&unknown).is_some() {
                return Ok(unknown);
            }
        }
        Err(none)
    }

    /// Whether there is a call before this return address: of the function that this code is in, or of another.
    fn calls(&mut self, return_address: RuntimeAddress, code: RuntimeAddress) -> Option<bool> {
        let mut before = [0; call::LONGEST];
        let from = return_address.offset(-(call::LONGEST as i64));
        if self.look(from, &mut before)? != call::LONGEST {
            return None;
        }
        match call::direct(return_address, &before) {
            Some(target) => {
                let target = self.behind_stubs(target);
                Some(code.0.checked_sub(target.0).is_some_and(|into| into < LONGEST_FUNCTION))
            }
            None => call::is_indirect(&before).then_some(false),
        }
    }

    /// Whether nothing lies between this instruction and exit(2) or exit_group(2): threads of musl begin in such code.
    fn goes_on_to_exit(&mut self, at: RuntimeAddress) -> bool {
        let mut code = [0; 16];
        let length = self.look(at, &mut code).unwrap_or(0);
        let mut rest = &code[..length];
        loop {
            rest = match rest {
                // mov %eax,%edi; mov %rax,%rdi; xor %eax,%eax; xor %edi,%edi.
                [0x89, 0xc7, rest @ ..]
                | [0x48, 0x89, 0xc7, rest @ ..]
                | [0x31, 0xc0, rest @ ..]
                | [0x31, 0xff, rest @ ..] => rest,
                // mov $60,%al; mov $60,%eax; mov $231,%eax; and syscall.
                [0xb0, 0x3c, 0x0f, 0x05, ..]
                | [0xb8, 0x3c, 0, 0, 0, 0x0f, 0x05, ..]
                | [0xb8, 0xe7, 0, 0, 0, 0x0f, 0x05, ..] => return true,
                _ => return false,
            };
        }
    }
}

impl<R: Machine> Walk<'_, R> {
    pub(super) fn is_entry(&mut self, at: RuntimeAddress) -> bool {
        let Some((module, bias)) = self.space.module(at) else {
            return false;
        };
        let entry = self.space.cfi(module).entry;
        entry.is_some_and(|entry| bias.to_file(at).0.checked_sub(entry.0).is_some_and(|into| into < ENTRY))
    }

    /// What a return address really is, which nothing was called before: the first instruction of a function that was put
    /// there by hand, as a signal's trampoline and the end of a coroutine are.
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

    /// Whether a signal's handler returns here, as far as the code tells.
    pub(super) fn is_trampoline(&mut self, at: RuntimeAddress) -> bool {
        let mut code = [0; 16];
        let code = &mut code[..R::SIGNAL_RETURN.len()];
        self.look(at, code) == Some(code.len()) && code == R::SIGNAL_RETURN
    }
}
