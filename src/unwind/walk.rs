//! The walk: from frame to frame, by the cheapest method that finds the caller, until there is
//! none.
//!
//! Promises: it ends, whatever lies on the stack, and says why; a caller that cannot be one is
//! refused (`check`).

use std::mem;
use std::sync::Arc;

use super::frame_buffer::FrameBuffer;
use super::machine::Machine;
use super::rule_cache::CachedRule;
use super::rules::{ModuleRules, NoRow};
use super::{Caller, CodeSpace, Rules, Walk, evaluate};
use crate::elf::CfiSections;
use crate::model::{
    Bias, CodeAddress, FileAddress, FoundBy, Frame, Place, RegisterFile, RuntimeAddress, Stack, WalkEnd,
};

/// More frames than are copied of any stack.
const MAX_FRAMES: u64 = 1 << 20;
/// How many of them may have to be found in the general way, which is slower and which only hostile
/// stacks take often.
const MAX_GENERAL: usize = 1 << 16;
/// How many addresses are remembered as no end of a function.
const MOST_NO_ENDS: usize = 1 << 16;

impl<R: Machine> Walk<'_, R> {
    pub(super) fn run(&mut self, registers: &RegisterFile<R>) -> Stack {
        let Some(pc) = registers.get(R::PC) else {
            return Stack { frames: Vec::new(), gap: None, end: WalkEnd::NotCaptured };
        };
        let mut registers = *registers;
        let mut code = CodeAddress::Pc(RuntimeAddress(pc));
        let mut cached = self.cached_rule(code.lookup());
        let mut frames = FrameBuffer::new(match &cached {
            Some(cached) => cached.frame(code, FoundBy::Context),
            None => frame(code, FoundBy::Context, self.space),
        });
        let mut general = 0;
        let mut resumed = false;
        let mut put_there = false;
        let end = loop {
            let at_end = self.end_without_cfi(code, cached.is_some(), &registers);
            if let Some(from) = cached.filter(|_| at_end.is_none()) {
                let table = &self.unwinder.table;
                let here =
                    table.walk((self.id, self.pointers), &from, &mut code, &mut registers, &self.stack, &mut frames);
                if here.is_root() {
                    break WalkEnd::Root;
                }
                if let Some(caller) = here.caller(&registers, &self.stack, self.pointers)
                    && let Some(outer) = self.cached_rule(caller.code().lookup())
                    && frames.count() < MAX_FRAMES
                {
                    code = caller.code();
                    caller.restore(&mut registers, &self.stack);
                    frames.push(outer.frame(code, FoundBy::Cfi));
                    cached = Some(outer);
                    continue;
                }
            }
            if general == MAX_GENERAL || frames.count() >= MAX_FRAMES {
                break WalkEnd::TooManyFrames;
            }
            general += 1;
            let mut caller = match at_end {
                Some(caller) => self.check(caller, code, &registers),
                None => self.caller(code, &registers),
            };
            if let Err(WalkEnd::MemoryNotCopied(missing)) = caller
                && !mem::replace(&mut resumed, true)
                && let Some((behind, bytes)) = R::behind_the_hole(self, missing)
            {
                frames.skip(bytes);
                caller = Ok(behind);
            }
            match caller {
                Ok(caller) => {
                    if caller.found == FoundBy::SignalFrame
                        && let Some(trampoline) = frames.last_mut()
                    {
                        // Nothing called the trampoline: the kernel made its first instruction the
                        // handler's return address.
                        *trampoline = Frame::new(CodeAddress::Pc(trampoline.place()), trampoline.found());
                    }
                    if mem::take(&mut self.beyond_heap) == Some(code.exact()) {
                        frames.gap_before_last();
                    }
                    put_there = caller.found != FoundBy::SignalFrame && matches!(caller.code, CodeAddress::Pc(_));
                    registers = caller.registers;
                    code = caller.code;
                    frames.push(frame(code, caller.found, self.space));
                    cached = self.cached_rule(code.lookup());
                }
                // Nothing called it, and nothing was put on the stack for it to return to.
                Err(WalkEnd::BadReturnAddress(_)) if put_there => break WalkEnd::Root,
                Err(end) => break end,
            }
        };
        frames.into_stack(end)
    }

    /// The caller of a frame in a file's code where only the end is left, where that is another
    /// one than call frame information says.
    fn end_without_cfi(
        &mut self,
        code: CodeAddress<RuntimeAddress>,
        in_module: bool,
        registers: &RegisterFile<R>,
    ) -> Option<Caller<R>> {
        let CodeAddress::Pc(pc) = code else {
            return None;
        };
        if !in_module || self.unwinder.no_ends.contains(&(self.id, pc)) {
            return None;
        }
        if !R::is_end(self, pc) {
            if self.unwinder.no_ends.len() < MOST_NO_ENDS {
                self.unwinder.no_ends.insert((self.id, pc));
            }
            return None;
        }
        let caller = R::caller_at_end(self, pc, registers)?;
        let is_same = |other: &Caller<R>| {
            [R::PC, R::SP].iter().all(|register| other.registers.get(*register) == caller.registers.get(*register))
        };
        (!self.known_caller(code, registers).is_ok_and(|other| is_same(&other))).then_some(caller)
    }

    /// What the table has of an address, or has from now on. None if no module has code there.
    fn cached_rule(&mut self, at: RuntimeAddress) -> Option<CachedRule<R>> {
        if let Some(cached) = self.unwinder.table.find(self.id, at) {
            return Some(*cached);
        }
        let (module, bias) = self.space.module(at).filter(|_| self.space.is_executable(at))?;
        let cached = match self.rules(at) {
            Ok(rules) => CachedRule::new(module, bias, &rules.row),
            Err(_) => return None,
        };
        self.unwinder.table.insert(self.id, at, cached);
        Some(cached)
    }

    /// The caller of a frame, if need be by recovering a register.
    pub(super) fn caller(
        &mut self,
        code: CodeAddress<RuntimeAddress>,
        registers: &RegisterFile<R>,
    ) -> Result<Caller<R>, WalkEnd> {
        let caller = match self.known_caller(code, registers) {
            Err(WalkEnd::UnknownRegister(unknown)) => match R::try_from(unknown) {
                Ok(register) => R::recovered_caller(self, code, registers, register),
                Err(_) => Err(WalkEnd::UnknownRegister(unknown)),
            },
            cached => cached,
        }?;
        if let CodeAddress::Return(address) = caller.code
            && self.space.is_uprobe(address)
        {
            self.probed = Some(code.lookup());
            return Ok(Caller { code: CodeAddress::Pc(address), ..caller });
        }
        Ok(Caller { code: self.as_put_there(caller.code), ..caller })
    }

    /// The caller of a frame by what is known.
    pub(super) fn known_caller(
        &mut self,
        code: CodeAddress<RuntimeAddress>,
        registers: &RegisterFile<R>,
    ) -> Result<Caller<R>, WalkEnd> {
        let at = code.lookup();
        let caller = match self.rules(at) {
            Ok(rules) => {
                self.budget.effort.spend(rules.row.steps()).ok_or(WalkEnd::TooManyFrames)?;
                evaluate::caller(&rules.row, &rules.sections, registers, self.stack, self.pointers, at)?
            }
            Err(NoRow::TooLong) => return Err(WalkEnd::TooManyFrames),
            Err(NoRow::Bad) => return Err(WalkEnd::BadUnwindInfo(at)),
            // It lies wherever the other stack does.
            Err(NoRow::Elsewhere(function)) => return R::caller_on_other_stack(self, at, function, registers),
            Err(NoRow::None) if !self.space.is_executable(at) => {
                let CodeAddress::Pc(pc) = code else {
                    return Err(WalkEnd::NoUnwindInfo(code.exact()));
                };
                R::called_through_bad_pointer(pc, registers, self.stack)?
            }
            Err(NoRow::None) if matches!(code, CodeAddress::Pc(pc) if self.is_trampoline(pc)) => evaluate::caller(
                &R::signal_return(FileAddress(0)..FileAddress(0)),
                &CfiSections::default(),
                registers,
                self.stack,
                self.pointers,
                at,
            )?,
            Err(NoRow::None) if self.space.module(at).is_none() => R::caller_of_generated_code(self, code, registers)?,
            Err(NoRow::None) => R::caller_without_cfi(self, code, registers).or_else(|end| match end {
                WalkEnd::NoUnwindInfo(_) => R::caller_by_frame_pointer(self, code, registers),
                end => Err(end),
            })?,
        };
        self.check(caller, code, registers)
    }

    /// The rules at an address inside the instruction in question.
    pub(super) fn rules(&mut self, at: RuntimeAddress) -> Result<Rules<R>, NoRow> {
        let (sections, bias) = match self.space.module(at) {
            Some((module, bias)) => (self.space.cfi(module), bias),
            None => (self.space.registered(at).ok_or(NoRow::None)?, Bias(0)),
        };
        let rules = self
            .unwinder
            .modules
            .entry(Arc::as_ptr(&sections).addr())
            .or_insert_with(|| ModuleRules::new(sections.clone()));
        Ok(Rules { row: rules.row(bias.to_file(at), &mut self.budget.effort)?, sections, bias })
    }

    /// A caller that cannot be one ends the walk, with the reason.
    pub(super) fn check(
        &mut self,
        caller: Caller<R>,
        at: CodeAddress<RuntimeAddress>,
        callee: &RegisterFile<R>,
    ) -> Result<Caller<R>, WalkEnd> {
        let CodeAddress::Return(address) = caller.code else {
            // What a signal interrupted may be a call through a bad pointer, a null one too, and
            // may have run on another stack: nothing can be demanded of it.
            return Ok(caller);
        };
        let nowhere = WalkEnd::NoUnwindInfo(RuntimeAddress(callee.get(R::PC).unwrap_or(0)));
        if address.0 == 0 {
            // Where nothing proves that a return address lies there, a zero may be anything.
            return Err(match caller.found {
                FoundBy::Context | FoundBy::Cfi | FoundBy::SignalFrame => WalkEnd::Root,
                FoundBy::FramePointer | FoundBy::Inferred | FoundBy::Guess | FoundBy::Unknown => nowhere,
            });
        }
        // Trampolines have nothing before them that could have called them; they may begin a page.
        let is_code = self.space.is_executable(caller.code.lookup())
            || self.space.is_executable(address) && (self.is_trampoline(address) || self.space.is_uprobe(address));
        if !is_code {
            return Err(match caller.found {
                FoundBy::Guess => nowhere,
                _ => WalkEnd::BadReturnAddress(address),
            });
        }
        match (callee.get(R::SP), caller.registers.get(R::SP)) {
            // A function whose return address is in a register (vfork takes it off the stack) may
            // have nothing on the stack.
            (Some(inner), Some(outer)) if outer == inner && matches!(at, CodeAddress::Pc(_)) => Ok(caller),
            (Some(inner), Some(outer)) if !self.stack.is_outward(inner, outer) => Err(WalkEnd::NoProgress),
            _ => Ok(caller),
        }
    }
}

fn frame(code: CodeAddress<RuntimeAddress>, found: FoundBy, space: &dyn CodeSpace) -> Frame {
    let place = match space.module(code.lookup()) {
        Some((module, bias)) => Place::InModule { module, address: bias.to_file(code.exact()) },
        None => Place::Outside(code.exact()),
    };
    Frame::new(code.map(|_| place), found)
}
