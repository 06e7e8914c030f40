//! Recovering a register that was never read and that call frame information needs.
//!
//! A thread that is read in place yields its stack and instruction pointers, but none of
//! the registers that functions keep for their callers. Most code never asks for them; code with a
//! frame pointer (-O0, alloca, arrays of variable length, realigned stacks) finds its caller by
//! %rbp or another of them. The value points into the stack, so each word of the stack is supposed
//! to be it, the nearest first, and it is believed if what follows from it is a call of this very
//! function. Where the function's own instructions say how far above the stack pointer it points
//! (`effects`), nothing is searched:
//!
//! * A word that is believed makes the return address lie in executable memory, after a call. A
//!   direct call must lead to the function that the frame is in: to its start, by way of stubs, or
//!   to one that jumps into it. An indirect call may have led anywhere, unless the code before it
//!   says where (`pointer`). A signal's handler returns to a trampoline, which has called nothing.
//! * The walk must then go on to the outermost frame, by direct calls that lead to the frames that
//!   they are said to lead to. Where no word does that, the nearest with a direct call is taken:
//!   the walk may have other reasons to end early. An indirect call is never taken for that, nor
//!   past a nearer direct one.
//! * Return addresses of calls long gone lie about in the stack, in the locals of later frames
//!   above all. The first word to be supposed is therefore the one that the function's own prologue
//!   speaks for, and words closer than that are the last: such remains have a chance only where the
//!   function takes stack as it goes.
//! * Where the prologue did not decide, a direct call further out goes before an indirect one,
//!   unless the walk from the indirect one passes the other on its way: then the function calls
//!   itself, by way of something else.
//!
//! The caller so found is marked as inferred, because nothing proves it. Callers further out are
//! marked as what finds them from there, mostly call frame information: each mark is about one
//! step, and every stack is as sure as its least sure step.
//!
//! The work is bounded for each walk, however much the stack was made to cause: see `Budget`.
//! Caller-saved registers are not looked for, since nothing a thread can block in leaves a frame
//! depending on one.

use std::ops::Range;

use super::call::{self, Stub};
use super::effects::takes_any_size;
use super::prologue;
use super::{Caller, RegisterFile, Rules, Walk};
use crate::model::{CodeAddress, FoundBy, Register, RuntimeAddress, WalkEnd, X86_64Register};
use crate::unwind::code::take;
use crate::unwind::evaluate;

/// A trial that has found this many frames has proved itself: a deep recursion need not be walked
/// to its end.
const LONG_ENOUGH: usize = 256;
/// Trials within trials: frames further out may need another register.
pub(super) const DEEPEST: usize = 2;
/// Stubs that lead to stubs.
const MOST_STUBS: usize = 3;
/// As much of a function as is searched for a jump.
pub(super) const MOST_CODE: u64 = 4096;

/// The longest function that is looked through for stack of any size.
const LARGEST: u64 = 1 << 16;

/// What the code before a return address says of the call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Link {
    /// It calls this function.
    Direct,
    /// It calls something.
    Indirect,
}

impl Caller {
    /// Whether a way passes this very frame.
    fn is_on(&self, passed: &[u64]) -> bool {
        self.registers.get(X86_64Register::Rsp).is_some_and(|sp| passed.contains(&sp))
    }
}

impl Walk<'_> {
    /// The caller of a frame whose rules need a register that is unknown, or why there is none.
    pub(super) fn recovered_caller(
        &mut self,
        code: CodeAddress<RuntimeAddress>,
        registers: &RegisterFile,
        register: X86_64Register,
    ) -> Result<Caller, WalkEnd> {
        let unknown = WalkEnd::UnknownRegister(register.into());
        if !register.is_callee_saved() {
            return Err(unknown);
        }
        let at = code.lookup();
        let rules = self.rules(at).map_err(|_| unknown)?;
        let function = self.function(&rules);
        if let Some(caller) = self.caller_on_left_stack(at, &rules, registers, register) {
            return Ok(caller);
        }
        if let Some(value) = self.frame_pointer_by_effects(registers, register, &function, at) {
            let mut supposed = *registers;
            supposed.set(register, value);
            self.budget.effort.spend(rules.row.steps()).ok_or(WalkEnd::TooManyFrames)?;
            let caller = evaluate::caller(&rules.row, &rules.sections, &supposed, self.stack, (), at)?;
            let caller = self.check(caller, CodeAddress::Return(at), &supposed)?;
            return Ok(Caller { found: FoundBy::Inferred, ..caller });
        }
        if self.budget.depth == DEEPEST {
            return Err(unknown);
        }
        self.searched_caller(at, &rules, registers, register).ok_or(unknown)
    }

    /// The frame pointer, where the function's instructions say how far above the stack pointer it
    /// points, and it is always as far.
    fn frame_pointer_by_effects(
        &mut self,
        registers: &RegisterFile,
        register: X86_64Register,
        function: &Range<RuntimeAddress>,
        at: RuntimeAddress,
    ) -> Option<u64> {
        let sp = registers.get(X86_64Register::Rsp).filter(|_| register == X86_64Register::Rbp)?;
        let above = self.effects(function.start, at)?.above?;
        (!self.takes_any_size(function)).then(|| sp.wrapping_add_signed(above))
    }

    /// Whether a function may take stack of a size that is not in its code.
    fn takes_any_size(&mut self, function: &Range<RuntimeAddress>) -> bool {
        if let Some(takes) = self.followed.sizes.get(&function.start) {
            return *takes;
        }
        let length = function.end.0.saturating_sub(function.start.0);
        let is_read = length <= LARGEST && take(&mut self.budget.functions).is_some();
        let mut code = vec![0; if is_read { length as usize } else { 0 }];
        let takes = !is_read || self.see(function.start, &mut code) != Some(code.len()) || takes_any_size(&code);
        self.followed.sizes.insert(function.start, takes);
        takes
    }

    /// The caller by the nearest word of the stack that can be the register.
    fn searched_caller(
        &mut self,
        at: RuntimeAddress,
        rules: &Rules,
        registers: &RegisterFile,
        register: X86_64Register,
    ) -> Option<Caller> {
        let function = self.function(rules);
        let (first, words) = self.words(registers, register, &function)?;
        // The nearest that lies after an indirect call and leads to the root, and after a direct
        // one that does not.
        let mut indirect: Option<(Caller, Vec<u64>)> = None;
        let mut likely = None;
        for value in words {
            if take(&mut self.budget.words).is_none() {
                break;
            }
            let mut supposed = *registers;
            supposed.set(register, value);
            let Some(caller) = self.supposed_caller(rules, &supposed, at) else {
                continue;
            };
            let Some(link) = self.link(caller.code.exact(), &function) else {
                continue;
            };
            match (link, self.way_to_the_root(&caller)) {
                (Link::Direct, None) => likely = likely.or(Some(caller)),
                (Link::Indirect, None) => {}
                (Link::Direct, Some(_)) => match &indirect {
                    Some((nearer, passed)) if caller.is_on(passed) => return Some(*nearer),
                    _ => return Some(caller),
                },
                // A direct call that is nearer may be one of a stack whose end is lost.
                (Link::Indirect, Some(passed)) if likely.is_none() && indirect.is_none() => {
                    let called = self.called_through_pointer(&caller);
                    if called.is_none_or(|called| self.reaches(called, &function).is_some()) {
                        if Some(value) == first {
                            return Some(caller);
                        }
                        indirect = Some((caller, passed));
                    }
                }
                (Link::Indirect, Some(_)) => {}
            }
        }
        indirect.map(|(caller, _)| caller).or(likely)
    }

    pub(super) fn function(&self, rules: &Rules) -> Range<RuntimeAddress> {
        let Range { start, end } = &rules.row.function;
        rules.bias.to_runtime(*start)..rules.bias.to_runtime(*end)
    }

    /// The value that the function's prologue speaks for, and all values to suppose, the likeliest
    /// first.
    fn words(
        &mut self,
        registers: &RegisterFile,
        register: X86_64Register,
        function: &Range<RuntimeAddress>,
    ) -> Option<(Option<u64>, impl Iterator<Item = u64> + use<>)> {
        let sp = registers.get(X86_64Register::Rsp)?.checked_next_multiple_of(8)?;
        let Range { start, end } = self.stack.from(sp)?;
        let mut likeliest = None;
        if register == X86_64Register::Rbp {
            let mut prologue = [0; prologue::LONGEST];
            let length = self.look(function.start, &mut prologue)?;
            let reserved = prologue::reserved(&prologue[..length]);
            likeliest = reserved.and_then(|bytes| start.checked_add(bytes)).filter(|value| *value < end);
        }
        let first = likeliest.unwrap_or(start);
        // Copied stacks are shorter than any address space: 8 further never wraps.
        Some((likeliest, (first..end).step_by(8).chain((start..first).step_by(8))))
    }

    /// The caller with a supposed register, if it can be one.
    pub(super) fn supposed_caller(
        &mut self,
        rules: &Rules,
        supposed: &RegisterFile,
        at: RuntimeAddress,
    ) -> Option<Caller> {
        self.budget.effort.spend(rules.row.steps())?;
        let caller = evaluate::caller(&rules.row, &rules.sections, supposed, self.stack, (), at).ok()?;
        // A frame whose place depends on a register has something on the stack: it is held to that
        // of an outer one.
        let caller = self.check(caller, CodeAddress::Return(at), supposed).ok()?;
        let is_call = matches!(caller.code, CodeAddress::Return(_));
        is_call.then_some(Caller { found: FoundBy::Inferred, ..caller })
    }

    /// The stack pointers of the frames on the way from this caller to the outermost one, if a walk
    /// gets there.
    pub(super) fn way_to_the_root(&mut self, caller: &Caller) -> Option<Vec<u64>> {
        self.budget.depth += 1;
        let left = self.left;
        let mut caller = *caller;
        let mut passed = Vec::new();
        let leads = loop {
            if passed.len() == LONG_ENOUGH {
                break true;
            }
            if take(&mut self.budget.frames).is_none() {
                break false;
            }
            match self.caller(caller.code, &caller.registers) {
                // A stack that is over joins the present one where the present one has called
                // something else.
                Ok(outer) if self.has_called_another(&outer, caller.code) => break false,
                Ok(outer) => caller = outer,
                Err(end) => break end == WalkEnd::Root,
            }
            passed.extend(caller.registers.get(X86_64Register::Rsp));
        };
        self.budget.depth -= 1;
        self.left = left;
        leads.then_some(passed)
    }

    /// Whether the call before this return address is a direct one of a function that does not lead
    /// to the one that `callee` lies in.
    fn has_called_another(&mut self, caller: &Caller, callee: CodeAddress<RuntimeAddress>) -> bool {
        let (CodeAddress::Return(target), CodeAddress::Return(_)) = (caller.code, callee) else {
            return false;
        };
        let Ok(rules) = self.rules(callee.lookup()) else {
            return false;
        };
        let function = self.function(&rules);
        let called = self.code_before(target).and_then(|before| call::direct(target, &before));
        called.is_some_and(|called| self.budget.looks > 0 && self.reaches(called, &function).is_none())
    }

    /// What connects this return address to the function whose caller is sought.
    fn link(&mut self, return_address: RuntimeAddress, function: &Range<RuntimeAddress>) -> Option<Link> {
        // The kernel has made it so; any function may handle a signal. musl's trampoline has no
        // call frame information.
        if self.space.is_uprobe(return_address)
            || self.rules(return_address).is_ok_and(|rules| rules.row.signal_frame)
            || self.is_trampoline(return_address)
        {
            return Some(Link::Direct);
        }
        let mut before = [0; call::LONGEST];
        let from = return_address.offset(-(call::LONGEST as i64));
        if self.look(from, &mut before)? != call::LONGEST {
            return None;
        }
        let target = match call::direct(return_address, &before) {
            Some(target) => Some(target),
            None => call::through_slot(return_address, &before).and_then(|slot| self.slot(slot)),
        };
        match target {
            Some(target) if self.reaches(target, function).is_some() => Some(Link::Direct),
            // A slot may be a variable that has changed since.
            _ => call::is_indirect(&before).then_some(Link::Indirect),
        }
    }

    /// Where a call of this address comes to in the end, as far as stubs show.
    pub(super) fn behind_stubs(&mut self, mut target: RuntimeAddress) -> RuntimeAddress {
        for _ in 0..MOST_STUBS {
            let mut code = [0; call::STUB];
            let length = self.see(target, &mut code).unwrap_or(0);
            let next = match call::stub(target, &code[..length]) {
                Some(Stub::To(to)) => Some(to),
                Some(Stub::Through(slot)) => self.slot(slot),
                None => None,
            };
            match next {
                Some(next) => target = next,
                None => break,
            }
        }
        target
    }

    /// Whether a call to `target` can bring one into the function.
    pub(super) fn reaches(&mut self, mut target: RuntimeAddress, function: &Range<RuntimeAddress>) -> Option<()> {
        for _ in 0..=MOST_STUBS {
            if target == function.start {
                return Some(());
            }
            let mut code = [0; call::STUB];
            let length = self.look(target, &mut code)?;
            target = match call::stub(target, &code[..length]) {
                Some(Stub::To(to)) => to,
                Some(Stub::Through(slot)) => self.slot(slot)?,
                None => return self.jumps_into(target, function),
            };
        }
        None
    }

    /// Whether the function that begins here jumps into the other one.
    fn jumps_into(&mut self, start: RuntimeAddress, function: &Range<RuntimeAddress>) -> Option<()> {
        let rules = self.rules(start).ok()?;
        let Range { end, .. } = self.function(&rules);
        let length = end.0.checked_sub(start.0)?.min(MOST_CODE);
        let mut code = vec![0; usize::try_from(length).ok()?];
        let length = self.look(start, &mut code)?;
        call::jumps_into(start, &code[..length], function).then_some(())
    }

    /// The address that is stored here, outside the stack.
    pub(super) fn slot(&mut self, at: RuntimeAddress) -> Option<RuntimeAddress> {
        let mut word = [0; 8];
        (self.look(at, &mut word)? == word.len()).then_some(RuntimeAddress(u64::from_le_bytes(word)))
    }
}
