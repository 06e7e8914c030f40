//! From copied bytes to frames: registers, a piece of stack and call frame information in, a stack out.
//!
//! Promises: pure (it reads what it is given, never a process or a file); every frame says how it was found and every
//! walk why it ended; a register that was not captured is unknown. Where a walk needs it, it is looked for on the stack
//! (`recover`), and a walk that cannot tell what it was ends there instead of guessing. All sixteen general registers
//! are carried from frame to frame, because a caller's CFA may depend on any of them: signal frames restore every one.
//! Call frame information is hostile input: evaluation is bounded and cannot panic.
//!
//! It knows nothing of symbols, and does not follow stack switches into memory that was not copied.

mod call;
mod evaluate;
mod expression;
mod frame_pointer;
mod pclntab;
mod prologue;
mod recover;
mod rules;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use crate::elf::CfiSections;
use crate::model::{
    Bias, CodeAddress, FoundBy, Frame, ModuleIndex, Place, Register, RegisterFile, RuntimeAddress, Stack, WalkEnd,
};
use recover::Budget;
use rules::{ModuleRules, NoRow, Row};

/// More frames than 1 MiB of stack can hold.
const MAX_FRAMES: usize = 1 << 16;

/// What the unwinder asks of the process's address space.
pub trait CodeSpace {
    /// The module that this address lies in.
    fn module(&self, address: RuntimeAddress) -> Option<(ModuleIndex, Bias)>;
    /// Whether code can be executed there.
    fn is_executable(&self, address: RuntimeAddress) -> bool;
    /// The call frame information of a module.
    fn cfi(&mut self, module: ModuleIndex) -> Arc<CfiSections>;
    /// Copies what lies there now, code or the tables that code jumps through, and tells how many bytes could be had.
    fn read(&mut self, address: RuntimeAddress, buffer: &mut [u8]) -> usize;
}

/// The pieces of a thread's stacks that were copied: of the one it is on and, where that is another, of its own.
#[derive(Clone, Copy)]
pub struct StackMemory<'a> {
    pieces: [(u64, &'a [u8]); 2],
}

impl<'a> StackMemory<'a> {
    pub fn new(start: RuntimeAddress, bytes: &'a [u8]) -> Self {
        Self { pieces: [(start.0, bytes), (0, &[])] }
    }

    /// The same with a piece of the thread's own stack.
    pub fn with_own(self, start: RuntimeAddress, bytes: &'a [u8]) -> Self {
        Self { pieces: [self.pieces[0], (start.0, bytes)] }
    }

    /// The `N` bytes at this address, if they were copied.
    fn read<const N: usize>(&self, address: u64) -> Option<[u8; N]> {
        self.pieces.iter().find_map(|(start, bytes)| {
            let offset = usize::try_from(address.checked_sub(*start)?).ok()?;
            bytes.get(offset..)?.first_chunk().copied()
        })
    }

    /// From this address to the end of the piece that it lies in.
    fn from(&self, address: u64) -> Option<Range<u64>> {
        self.pieces.iter().find_map(|(start, bytes)| {
            let end = start.saturating_add(bytes.len() as u64);
            (*start <= address && address < end).then_some(address..end)
        })
    }

    fn word(&self, address: u64) -> Option<u64> {
        self.read(address).map(u64::from_le_bytes)
    }
}

/// Walks stacks. Keeps the rules it has worked out, by module, for all targets and samples.
#[derive(Default)]
pub struct Unwinder {
    /// By the address of the sections, which the rules keep alive, so that it is not given out again.
    modules: HashMap<usize, ModuleRules>,
}

/// The caller of a frame.
#[derive(Clone, Copy)]
struct Caller {
    registers: RegisterFile,
    found: FoundBy,
    code: CodeAddress<RuntimeAddress>,
}

impl Unwinder {
    /// Forgets the rules of modules that nobody but this knows any more.
    pub fn forget_unloaded(&mut self) {
        self.modules.retain(|_, rules| rules.is_loaded());
    }

    /// The stack of a thread with these registers.
    pub fn walk(&mut self, registers: &RegisterFile, stack: StackMemory<'_>, space: &mut dyn CodeSpace) -> Stack {
        Walk { unwinder: self, stack, space, budget: Budget::default() }.run(registers)
    }
}

/// One walk up a stack.
struct Walk<'a> {
    unwinder: &'a mut Unwinder,
    stack: StackMemory<'a>,
    space: &'a mut dyn CodeSpace,
    budget: Budget,
}

/// The rules in force at an address, with what they refer to.
struct Rules {
    row: Arc<Row>,
    sections: Arc<CfiSections>,
    bias: Bias,
}

impl Walk<'_> {
    fn run(&mut self, registers: &RegisterFile) -> Stack {
        let Some(pc) = registers.get(Register::Rip) else {
            return Stack { frames: Vec::new(), end: WalkEnd::NotCaptured };
        };
        let mut registers = *registers;
        let mut code = CodeAddress::Pc(RuntimeAddress(pc));
        let mut frames = vec![frame(code, FoundBy::Context, self.space)];
        let end = loop {
            if frames.len() == MAX_FRAMES {
                break WalkEnd::TooManyFrames;
            }
            match self.caller(code, &registers) {
                Ok(caller) => {
                    if caller.found == FoundBy::SignalFrame
                        && let Some(trampoline) = frames.last_mut()
                    {
                        // Nothing called the trampoline: the kernel made its first instruction the handler's return address.
                        trampoline.code = CodeAddress::Pc(trampoline.code.exact());
                    }
                    registers = caller.registers;
                    code = caller.code;
                    frames.push(frame(code, caller.found, self.space));
                }
                Err(end) => break end,
            }
        };
        Stack { frames, end }
    }

    /// The caller of a frame, if need be by recovering a register.
    fn caller(&mut self, code: CodeAddress<RuntimeAddress>, registers: &RegisterFile) -> Result<Caller, WalkEnd> {
        match self.known_caller(code, registers) {
            Err(WalkEnd::UnknownRegister(register)) => {
                self.recovered_caller(code, registers, register).ok_or(WalkEnd::UnknownRegister(register))
            }
            known => known,
        }
    }

    /// The caller of a frame by what is known.
    fn known_caller(&mut self, code: CodeAddress<RuntimeAddress>, registers: &RegisterFile) -> Result<Caller, WalkEnd> {
        let at = code.lookup();
        let caller = match self.rules(at) {
            Ok(rules) => evaluate::caller(&rules.row, &rules.sections, registers, self.stack, at)?,
            Err(NoRow::Bad) => return Err(WalkEnd::BadUnwindInfo(at)),
            Err(NoRow::None) if !self.space.is_executable(at) => {
                called_through_bad_pointer(code, registers, self.stack)?
            }
            Err(NoRow::None) => frame_pointer::caller(registers, self.stack, at)?,
        };
        self.check(caller, code, registers)
    }

    /// The rules at an address inside the instruction in question.
    fn rules(&mut self, at: RuntimeAddress) -> Result<Rules, NoRow> {
        let (module, bias) = self.space.module(at).ok_or(NoRow::None)?;
        let sections = self.space.cfi(module);
        let rules = self
            .unwinder
            .modules
            .entry(Arc::as_ptr(&sections).addr())
            .or_insert_with(|| ModuleRules::new(sections.clone()));
        Ok(Rules { row: rules.row(bias.to_file(at))?, sections, bias })
    }

    /// A caller that cannot be one ends the walk, with the reason.
    fn check(&self, caller: Caller, at: CodeAddress<RuntimeAddress>, callee: &RegisterFile) -> Result<Caller, WalkEnd> {
        let CodeAddress::Return(address) = caller.code else {
            // What a signal interrupted may be a call through a bad pointer, a null one too, and may have run on another
            // stack: nothing can be demanded of it.
            return Ok(caller);
        };
        if address.0 == 0 {
            return Err(WalkEnd::Root);
        }
        if !self.space.is_executable(caller.code.lookup()) {
            return Err(match caller.found {
                FoundBy::Guess => WalkEnd::NoUnwindInfo(RuntimeAddress(callee.get(Register::Rip).unwrap_or(0))),
                _ => WalkEnd::BadReturnAddress(address),
            });
        }
        match (callee.get(Register::Rsp), caller.registers.get(Register::Rsp)) {
            // A function that has taken its return address off the stack (vfork keeps it in a register) leaves none of it.
            (Some(inner), Some(outer)) if outer == inner && matches!(at, CodeAddress::Pc(_)) => Ok(caller),
            (Some(inner), Some(outer)) if outer <= inner => Err(WalkEnd::NoProgress),
            _ => Ok(caller),
        }
    }
}

fn frame(code: CodeAddress<RuntimeAddress>, found: FoundBy, space: &dyn CodeSpace) -> Frame {
    let place = match space.module(code.lookup()) {
        Some((module, bias)) => Place::InModule { module, address: bias.to_file(code.exact()) },
        None => Place::Outside(code.exact()),
    };
    Frame { code: code.map(|_| place), found }
}

/// The instruction pointer of an innermost frame points at no code: somebody called through a bad pointer, and the call
/// has just pushed its return address. An outer frame has no such excuse.
fn called_through_bad_pointer(
    code: CodeAddress<RuntimeAddress>,
    registers: &RegisterFile,
    stack: StackMemory<'_>,
) -> Result<Caller, WalkEnd> {
    let CodeAddress::Pc(pc) = code else {
        return Err(WalkEnd::NoUnwindInfo(code.exact()));
    };
    let sp = registers.get(Register::Rsp).ok_or(WalkEnd::UnknownRegister(Register::Rsp))?;
    let target = stack.word(sp).filter(|&target| target != 0).ok_or(WalkEnd::NoUnwindInfo(pc))?;
    let mut registers = *registers;
    registers.set(Register::Rsp, sp.wrapping_add(8));
    registers.set(Register::Rip, target);
    Ok(Caller { registers, found: FoundBy::Guess, code: CodeAddress::Return(RuntimeAddress(target)) })
}
