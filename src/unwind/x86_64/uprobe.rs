//! Return addresses that a tracer has replaced: while a probe waits for a function's return
//! (uprobes), the kernel puts the address of its own trampoline, in the mapping `[uprobes]`, in the
//! place of the return address, and keeps that to itself.
//!
//! The function that will be returned to is known nevertheless: it is the one that was called from
//! where the next return address lies. Of its call instructions that one is taken whose call frame
//! information puts its caller's return address at that very place, and which calls the probed
//! function, if one does. Promises: bounded; a frame so found is marked as inferred. Where the
//! function was called through a pointer the walk goes on with the next return address that leads
//! to the outermost frame, as in code without call frame information (`no_cfi`), and where its own
//! return address was replaced, too, with the trampoline: that function is left out, and a gap says
//! so.

use std::ops::Range;

use super::call;
use super::instruction::instruction;
use super::recover::MOST_CODE;
use super::{Caller, RegisterFile, Walk};
use crate::model::{CodeAddress, FoundBy, RuntimeAddress, WalkEnd, X86_64Register};
use crate::unwind::code::take;
use crate::unwind::evaluate;

/// Words of the stack that the function's frame may have.
const MOST_WORDS: usize = 1 << 13;

impl Walk<'_> {
    /// The frame of the function that will be returned to in place of the trampoline at `at`.
    pub(super) fn caller_past_uprobe(
        &mut self,
        at: RuntimeAddress,
        registers: &RegisterFile,
    ) -> Result<Caller, WalkEnd> {
        let none = WalkEnd::NoUnwindInfo(at);
        let sp = registers.get(X86_64Register::Rsp).and_then(|sp| sp.checked_next_multiple_of(8)).ok_or(none)?;
        let words = self.stack.from(sp).ok_or(none)?;
        for place in words.step_by(8).take(MOST_WORDS) {
            if let Some(word) = self.stack.word(place).map(RuntimeAddress)
                && self.space.is_uprobe(word)
            {
                // The function's own return address was replaced, too: nothing says which function
                // it is.
                self.lacks_function(at);
                let mut registers = RegisterFile::default();
                registers.set(X86_64Register::Rsp, place.wrapping_add(8));
                registers.set(X86_64Register::Rip, word.0);
                return Ok(Caller { registers, found: FoundBy::Guess, code: CodeAddress::Return(word) });
            }
            if let Some(site) = self.site_called_from(place, registers) {
                let mut registers = *registers;
                registers.set(X86_64Register::Rip, site.0);
                return Ok(Caller { registers, found: FoundBy::Inferred, code: CodeAddress::Return(site) });
            }
        }
        // It was called through a pointer.
        self.lacks_function(at);
        self.caller_without_cfi(CodeAddress::Pc(at), registers)
    }

    /// Notes that a function is missing after the trampoline at `at`. Of several in a row the first
    /// is noted.
    fn lacks_function(&mut self, at: RuntimeAddress) {
        if !self.probed.is_some_and(|probed| self.space.is_uprobe(probed)) {
            self.beyond_heap = Some(at);
        }
    }

    /// Where the function goes on that a direct call before the return address at this place of the
    /// stack has called.
    fn site_called_from(&mut self, place: u64, registers: &RegisterFile) -> Option<RuntimeAddress> {
        let target = RuntimeAddress(self.stack.word(place)?);
        let before = self.code_before(target)?;
        let called = call::direct(target, &before)?;
        let called = self.behind_stubs(called);
        let function = self.rules(called).ok().map(|rules| self.function(&rules))?;
        if function.start != called {
            return None;
        }
        take(&mut self.budget.functions)?;
        let length = function.end.0.checked_sub(function.start.0)?.min(MOST_CODE);
        let mut code = vec![0; usize::try_from(length).ok()?];
        let length = self.look(function.start, &mut code)?;
        self.site_in(&function, code.get(..length)?, place, registers)
    }

    /// The address after the call in a function with which its return address lies at `place`.
    fn site_in(
        &mut self,
        function: &Range<RuntimeAddress>,
        code: &[u8],
        place: u64,
        registers: &RegisterFile,
    ) -> Option<RuntimeAddress> {
        let probed = self.probed.and_then(|probed| self.rules(probed).ok().map(|rules| self.function(&rules)));
        let mut likely = None;
        let mut at = 0;
        while let Some(found) = code.get(at..).and_then(instruction) {
            at += found.length;
            let site = function.start.offset(at as i64);
            if !found.calls() || !self.returns_from(site, place, registers) {
                continue;
            }
            if found.operands.is_none()
                && let Some(probed) = &probed
            {
                if self.reaches(site.offset(found.constant), probed).is_some() {
                    return Some(site);
                }
            } else {
                likely = likely.or(Some(site));
            }
        }
        likely
    }

    /// Whether a frame that goes on there has its return address at `place`.
    fn returns_from(&mut self, site: RuntimeAddress, place: u64, registers: &RegisterFile) -> bool {
        let Ok(rules) = self.rules(site.offset(-1)) else {
            return false;
        };
        let mut supposed = *registers;
        if registers.get(X86_64Register::Rbp).is_none() {
            // Below the return address, if the function keeps a frame pointer.
            supposed.set(X86_64Register::Rbp, place.wrapping_sub(8));
        }
        if self.budget.effort.spend(rules.row.steps()).is_none() {
            return false;
        }
        let outer = evaluate::caller(&rules.row, &rules.sections, &supposed, self.stack, (), site.offset(-1));
        outer.is_ok_and(|outer| outer.registers.get(X86_64Register::Rsp) == place.checked_add(8))
    }
}
