//! Across a change of stacks: from Go's function that changed from one stack to another to what called it, on the first.
//!
//! Such a function (runtime.asmcgocall, which calls C, runtime.systemstack, runtime.cgocallback, by which C calls Go) goes on
//! from a stack pointer that Go keeps in its heap. What was copied of a second stack begins there, if `capture` found it. And
//! where C and Go call each other by turns, the frame from which a stack was changed to is where the next change goes on, because
//! each of these functions leaves a stack as it found it, but for some words of its own.
//!
//! Near such a place, behind some words, must be a return address behind a direct call of the very function; nothing else
//! is taken. It is marked as inferred.
//!
//! gcc's split stacks need none of this where the frame pointer is known: libgcc's call frame information tells the way.

use super::{Caller, Rules, Walk, call};
use crate::model::{CodeAddress, FileAddress, FoundBy, Register, RegisterFile, RuntimeAddress, WalkEnd};

/// Words between where a stack was left and the return address: cgocallback's frame has six, and asmcgocall's ten, with
/// what it loses by aligning the stack.
const MOST_WORDS: usize = 16;

impl Walk<'_> {
    /// The caller of a function that begins there and has changed stacks.
    pub(super) fn caller_on_other_stack(
        &mut self,
        at: RuntimeAddress,
        function: FileAddress,
        registers: &RegisterFile,
    ) -> Result<Caller, WalkEnd> {
        let none = WalkEnd::NoUnwindInfo(at);
        let (_, bias) = self.space.module(at).ok_or(none)?;
        let function = bias.to_runtime(function);
        let here = registers.get(Register::Rsp);
        // asmcgocall has not changed stacks where the caller was on the thread's own already.
        let places = [self.left, self.stack.other(), here];
        let found = places.into_iter().flatten().find_map(|place| self.call_near(place, function));
        let (place, target) = found.ok_or(none)?;
        self.left = here;
        let mut outer = RegisterFile::default();
        outer.set(Register::Rsp, place.wrapping_add(8));
        outer.set(Register::Rip, target.0);
        Ok(Caller { registers: outer, found: FoundBy::Inferred, code: CodeAddress::Return(target) })
    }

    /// The caller of libgcc's __morestack, where the frame pointer is unknown by which it finds the stack that it has left: what was
    /// copied of that begins with its frame. Above the saved frame pointer is the return address behind the call of it.
    pub(super) fn caller_on_left_stack(
        &mut self,
        at: RuntimeAddress,
        rules: &Rules,
        registers: &RegisterFile,
        register: Register,
    ) -> Option<Caller> {
        let place = self.stack.left_for(registers.get(Register::Rsp)?).filter(|_| register == Register::Rbp)?;
        let behind_call = RuntimeAddress(self.stack.word(place.checked_add(8)?)?);
        let called = call::direct(behind_call, &self.code_before(behind_call)?)?;
        let begin = self.function(rules).start;
        // __morestack_non_split is called in its place, and goes on with it.
        let goes_on = |walk: &mut Self| walk.rules(called).is_ok_and(|rules| walk.function(&rules).end == begin);
        if called != begin && !goes_on(self) {
            return None;
        }
        let mut supposed = *registers;
        supposed.set(register, place);
        self.supposed_caller(rules, &supposed, at)
    }

    /// The return address behind a call of this function that lies nearest, and where.
    fn call_near(&mut self, place: u64, function: RuntimeAddress) -> Option<(u64, RuntimeAddress)> {
        let words = self.stack.from(place).filter(|words| words.start % 8 == 0)?;
        words.step_by(8).take(MOST_WORDS).find_map(|place| {
            let target = RuntimeAddress(self.stack.word(place)?);
            let called = call::direct(target, &self.code_before(target)?)?;
            (self.behind_stubs(called) == function).then_some((place, target))
        })
    }
}
