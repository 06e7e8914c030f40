//! From copied bytes to frames: registers, a piece of stack and call frame information in, a stack out.
//!
//! Promises: pure (it reads what it is given, never a process or a file); every frame says how it was found and every
//! walk why it ended; a register that was not captured is unknown. Where a walk needs it, it is looked for on the stack
//! (`recover`), and a walk that cannot tell what it was ends there. Where no call frame information covers the code, and behind
//! what was not copied of a stack, callers are guessed (`no_cfi`, `resume`), and marked as that. All general
//! registers are carried from frame to frame, because a caller's CFA may depend on any of them: signal frames restore every one.
//! Call frame information is hostile input: evaluation is bounded and cannot panic.
//!
//! It knows nothing of symbols. Changes of stacks are followed where Go's table tells of them (`go`), into what was copied
//! of the other stack.

mod aarch64;
mod code;
mod evaluate;
mod expression;
mod frame_buffer;
mod machine;
mod rule_cache;
mod rules;
mod stack_memory;
mod x86_64;

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::Arc;

use crate::elf::CfiSections;
use crate::model::{
    Bias, CodeAddress, FileAddress, FoundBy, Frame, ModuleIndex, Place, RegisterFile, RuntimeAddress, Stack, WalkEnd,
};
use code::{Budget, Code};
use frame_buffer::FrameBuffer;
use machine::Machine;
use rule_cache::{CachedRule, Table};
use rules::{ModuleRules, NoRow, Row};
pub use stack_memory::StackMemory;

/// More frames than are copied of any stack.
const MAX_FRAMES: u64 = 1 << 20;
/// How many of them may have to be found in the general way, which is slower and which only hostile stacks take often.
const MAX_GENERAL: usize = 1 << 16;
/// How many addresses are remembered as no end of a function.
const MOST_NO_ENDS: usize = 1 << 16;

/// What tells the modules of one address space from those of another, or of the same one when it has changed since: spaces
/// of the same number have the same modules at the same addresses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SpaceId(pub u64);

/// What the unwinder asks of the process's address space.
pub trait CodeSpace {
    fn id(&self) -> SpaceId;
    /// The module that this address lies in.
    fn module(&self, address: RuntimeAddress) -> Option<(ModuleIndex, Bias)>;
    /// Where the highest memory ends: no pointer into this space is larger.
    fn end(&self) -> RuntimeAddress;
    /// Whether code can be executed there.
    fn is_executable(&self, address: RuntimeAddress) -> bool;
    /// The call frame information of a module.
    fn cfi(&mut self, module: ModuleIndex) -> Arc<CfiSections>;
    /// The call frame information of code in no module, by the addresses that it has, if the process has registered some.
    fn registered(&mut self, _: RuntimeAddress) -> Option<Arc<CfiSections>> {
        None
    }
    /// Whether it is where the kernel has functions return to while a tracer's probe waits for that (uprobes).
    fn is_uprobe(&self, _: RuntimeAddress) -> bool {
        false
    }
    /// Copies what lies there now, code or the tables that code jumps through, and tells how many bytes could be had.
    fn read(&mut self, address: RuntimeAddress, buffer: &mut [u8]) -> usize;
}

/// Walks stacks of one machine. Keeps the rules it has worked out, by module, for all targets and samples.
pub struct Unwinder<R: Machine> {
    /// By the address of the sections, which the rules keep alive, so that it is not given out again.
    modules: HashMap<usize, ModuleRules<R>>,
    table: Table<R>,
    /// Addresses of files' code that are not among the last instructions of a function.
    no_ends: HashSet<(SpaceId, RuntimeAddress)>,
}

impl<R: Machine> Default for Unwinder<R> {
    fn default() -> Self {
        Self { modules: HashMap::new(), table: Table::default(), no_ends: HashSet::new() }
    }
}

/// The caller of a frame.
#[derive(Clone, Copy)]
pub struct Caller<R: Machine> {
    registers: RegisterFile<R>,
    found: FoundBy,
    code: CodeAddress<RuntimeAddress>,
}

impl<R: Machine> Unwinder<R> {
    /// Forgets the rules of modules that nobody but this knows any more.
    pub fn forget_unloaded(&mut self) {
        self.modules.retain(|_, rules| rules.is_loaded());
        self.no_ends.clear();
    }

    /// The stack of a thread with these registers.
    pub fn walk(&mut self, registers: &RegisterFile<R>, stack: StackMemory<'_>, space: &mut dyn CodeSpace) -> Stack {
        let id = space.id();
        let pointers = R::pointers(space);
        let mut walk = Walk {
            unwinder: self,
            stack,
            space,
            id,
            pointers,
            budget: Budget::default(),
            left: None,
            beyond_heap: None,
            probed: None,
            code: Code::default(),
            followed: R::Followed::default(),
        };
        walk.run(registers)
    }
}

/// One walk up a stack.
pub struct Walk<'a, R: Machine> {
    unwinder: &'a mut Unwinder<R>,
    stack: StackMemory<'a>,
    space: &'a mut dyn CodeSpace,
    id: SpaceId,
    pointers: R::Pointers,
    budget: Budget,
    /// The stack pointer of the last frame from which Go changed to the stack that the walk is on.
    left: Option<u64>,
    /// The last frame whose caller was found beyond others that are not on a stack.
    beyond_heap: Option<RuntimeAddress>,
    /// An address in the last function whose return address a tracer has replaced.
    probed: Option<RuntimeAddress>,
    code: Code,
    followed: R::Followed,
}

/// The rules in force at an address, with what they refer to.
struct Rules<R: Machine> {
    row: Arc<Row<R>>,
    sections: Arc<CfiSections>,
    bias: Bias,
}

impl<R: Machine> Walk<'_, R> {
    fn run(&mut self, registers: &RegisterFile<R>) -> Stack {
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
                        // Nothing called the trampoline: the kernel made its first instruction the handler's return address.
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

    /// The caller of a frame in a file's code of which only the end is left, where that is another one than call frame
    /// information says.
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
    fn caller(&mut self, code: CodeAddress<RuntimeAddress>, registers: &RegisterFile<R>) -> Result<Caller<R>, WalkEnd> {
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
    fn known_caller(
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
    fn rules(&mut self, at: RuntimeAddress) -> Result<Rules<R>, NoRow> {
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
    fn check(
        &mut self,
        caller: Caller<R>,
        at: CodeAddress<RuntimeAddress>,
        callee: &RegisterFile<R>,
    ) -> Result<Caller<R>, WalkEnd> {
        let CodeAddress::Return(address) = caller.code else {
            // What a signal interrupted may be a call through a bad pointer, a null one too, and may have run on another
            // stack: nothing can be demanded of it.
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
            // A function whose return address is in a register (vfork takes it off the stack) may have nothing on the stack.
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
