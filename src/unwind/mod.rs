//! From copied bytes to frames: registers, a piece of stack and call frame information in, a stack out.
//!
//! Promises: pure (it reads what it is given, never a process or a file); every frame says how it was found and every
//! walk why it ended; a register that was not captured or cannot be recovered is unknown, and a walk that would need it
//! ends there instead of guessing. All sixteen general registers are carried from frame to frame, because a caller's CFA
//! may depend on any of them: signal frames restore every one. Call frame information is hostile input: evaluation is
//! bounded and cannot panic.
//!
//! It knows nothing of symbols, and does not follow stack switches into memory that was not copied.

mod evaluate;
mod expression;
mod frame_pointer;
mod rules;

use std::collections::HashMap;
use std::sync::Arc;

use crate::elf::CfiSections;
use crate::model::{
    Bias, CodeAddress, FoundBy, Frame, ModuleIndex, Place, Register, RegisterFile, RuntimeAddress, Stack, WalkEnd,
};
use rules::{ModuleRules, NoRow};

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
struct Caller {
    registers: RegisterFile,
    found: FoundBy,
    code: CodeAddress<RuntimeAddress>,
}

impl Unwinder {
    /// The stack of a thread with these registers.
    pub fn walk(&mut self, registers: &RegisterFile, stack: StackMemory<'_>, space: &mut dyn CodeSpace) -> Stack {
        let Some(pc) = registers.get(Register::Rip) else {
            return Stack { frames: Vec::new(), end: WalkEnd::NotCaptured };
        };
        let mut registers = *registers;
        let mut code = CodeAddress::Pc(RuntimeAddress(pc));
        let mut frames = vec![frame(code, FoundBy::Context, space)];
        let end = loop {
            if frames.len() == MAX_FRAMES {
                break WalkEnd::TooManyFrames;
            }
            match self.caller(code, &registers, stack, space) {
                Ok(caller) => {
                    if caller.found == FoundBy::SignalFrame
                        && let Some(trampoline) = frames.last_mut()
                    {
                        // Nothing called the trampoline: the kernel made its first instruction the handler's return address.
                        trampoline.code = CodeAddress::Pc(trampoline.code.exact());
                    }
                    registers = caller.registers;
                    code = caller.code;
                    frames.push(frame(code, caller.found, space));
                }
                Err(end) => break end,
            }
        };
        Stack { frames, end }
    }

    fn caller(
        &mut self,
        code: CodeAddress<RuntimeAddress>,
        registers: &RegisterFile,
        stack: StackMemory<'_>,
        space: &mut dyn CodeSpace,
    ) -> Result<Caller, WalkEnd> {
        let at = code.lookup();
        let row = match space.module(at) {
            Some((module, bias)) => {
                let sections = space.cfi(module);
                let rules =
                    self.modules.entry(Arc::as_ptr(&sections).addr()).or_insert_with(|| ModuleRules::new(sections));
                rules.row(bias.to_file(at)).map(|row| (row, rules.sections()))
            }
            None => Err(NoRow::None),
        };
        let caller = match row {
            Ok((row, sections)) => evaluate::caller(&row, sections, registers, stack, at)?,
            Err(NoRow::Bad) => return Err(WalkEnd::BadUnwindInfo(at)),
            Err(NoRow::None) if !space.is_executable(at) => called_through_bad_pointer(code, registers, stack)?,
            Err(NoRow::None) => frame_pointer::caller(registers, stack, at)?,
        };
        self.check(caller, registers, space)
    }

    /// A caller that cannot be one ends the walk, with the reason.
    fn check(&self, caller: Caller, callee: &RegisterFile, space: &dyn CodeSpace) -> Result<Caller, WalkEnd> {
        let CodeAddress::Return(address) = caller.code else {
            // What a signal interrupted may be a call through a bad pointer, a null one too, and may have run on another
            // stack: nothing can be demanded of it.
            return Ok(caller);
        };
        if address.0 == 0 {
            return Err(WalkEnd::Root);
        }
        if !space.is_executable(caller.code.lookup()) {
            return Err(match caller.found {
                FoundBy::Guess => WalkEnd::NoUnwindInfo(RuntimeAddress(callee.get(Register::Rip).unwrap_or(0))),
                _ => WalkEnd::BadReturnAddress(address),
            });
        }
        match (callee.get(Register::Rsp), caller.registers.get(Register::Rsp)) {
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
