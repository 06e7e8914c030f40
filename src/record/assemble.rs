//! From what was copied to a snapshot: unwinding, and the facts that need a look at the process after it was let go.

use std::collections::HashMap;
use std::sync::Arc;

use super::Sample;
use crate::capture::{Captured, CapturedThread, Context};
use crate::elf::CfiSections;
use crate::model::{
    Bias, FloatingPoint, Frame, ModuleIndex, Notice, Process, Reason, Register, Registers, RuntimeAddress, Snapshot,
    Subject, SystemCall, Thread, WalkEnd,
};
use crate::proc::{BlockedCall, MemoryMap};
use crate::target::{Errands, Loader, Pages, Reach, Source, generated_code};
use crate::unwind::{CodeSpace, StackMemory, Unwinder};

/// Turns copies into snapshots and keeps what it learns of modules, for all targets.
#[derive(Default)]
pub struct Assembler {
    loader: Loader,
    unwinder: Unwinder,
    errands: Errands,
}

impl Assembler {
    /// The snapshot of what was copied. Nothing of the process is held any more.
    pub(super) fn assemble(&mut self, sample: Sample) -> Snapshot {
        let Sample { number, root, captured, memory } = sample;
        let Captured { taken, process, window, took, stop, map, threads: copies, memory: pieces, .. } = captured;
        let mut notices = captured.notices;
        let reach = Reach::new(memory, captured.memory_is_readable, self.errands.clone());
        let mut space = Space {
            source: self.loader.modules(process.id, root, &map, &reach),
            map: &map,
            code: Pages::new(&reach),
            cfi: HashMap::new(),
        };
        self.unwinder.forget_unloaded();
        let mut threads = Vec::with_capacity(copies.len());
        for copy in copies {
            threads.push(thread(&mut self.unwinder, copy, &mut space, &mut notices));
        }
        let Space { source, .. } = space;
        let Source { modules, notices: lost_modules, root, .. } = source;
        let frames = threads.iter().flat_map(|thread| &thread.stack.frames);
        let (generated, refused) = generated_code(&process, &root, &reach, frames.filter_map(Frame::outside).collect());
        notices.extend(refused);
        notices.extend(lost_modules);
        if captured.memory_is_readable && !reach.is_readable() {
            notices.push(Notice { subject: Subject::Process, reason: Reason::MemoryBlocked });
        }
        let modules = modules.into_iter().map(|loaded| loaded.module).collect();
        Snapshot { number, taken, process, stop, window, took, modules, threads, memory: pieces, generated, notices }
    }

    /// Forgets the modules of a process that has ended.
    pub fn forget(&mut self, process: &Process) {
        self.loader.forget(process.id);
    }
}

fn thread(unwinder: &mut Unwinder, copy: CapturedThread, space: &mut Space<'_>, notices: &mut Vec<Notice>) -> Thread {
    let system_call = copy.system_call();
    let mut registers = match &copy.context {
        Context::Full(raw) => raw.interpret(),
        Context::Blocked(blocked) => registers_at(blocked),
        Context::Nothing => Registers::default(),
    };
    registers.floating = copy.floating_point.map(FloatingPoint);
    let mut stack = StackMemory::new(RuntimeAddress(copy.stack.start), &copy.stack.bytes);
    if let Some((start, bytes)) = &copy.stack.own {
        stack = stack.with_own(RuntimeAddress(*start), bytes);
    }
    let stack = unwinder.walk(&registers.general, stack, space);
    if matches!(stack.end, WalkEnd::MemoryNotCopied(_)) && copy.stack.left_out > 0 {
        let reason = Reason::StackTruncated { copied: copy.stack.bytes.len() as u64 };
        notices.push(Notice { subject: Subject::Thread(copy.tid), reason });
    }
    Thread { tid: copy.tid, status: copy.status, hold: copy.hold, system_call, registers, stack, memory: copy.memory }
}

/// The registers that are known of a thread read in place: where it entered the kernel, and the arguments it brought.
fn registers_at(blocked: &BlockedCall) -> Registers {
    let mut registers = Registers::default();
    registers.general.set(Register::Rsp, blocked.stack_pointer.0);
    registers.general.set(Register::Rip, blocked.program_counter.0);
    if let Some(call) = &blocked.call {
        for (register, value) in SystemCall::ARGUMENTS.into_iter().zip(call.arguments) {
            registers.general.set(register, value);
        }
    }
    registers
}

/// A process's address space as the unwinder asks about it.
struct Space<'a> {
    source: Source<'a>,
    map: &'a MemoryMap,
    code: Pages<'a>,
    /// What was asked for in this snapshot already: by index is quicker than by build-id.
    cfi: HashMap<ModuleIndex, Arc<CfiSections>>,
}

impl CodeSpace for Space<'_> {
    fn module(&self, address: RuntimeAddress) -> Option<(ModuleIndex, Bias)> {
        let modules = &self.source.modules;
        let after = modules.partition_point(|loaded| loaded.module.range.start <= address);
        let index = after.checked_sub(1)?;
        let module = &modules[index].module;
        module.range.contains(&address).then_some((ModuleIndex(u32::try_from(index).ok()?), module.bias))
    }

    fn is_executable(&self, address: RuntimeAddress) -> bool {
        self.map.find(address).is_some_and(|mapping| mapping.executable)
    }

    fn read(&mut self, address: RuntimeAddress, buffer: &mut [u8]) -> usize {
        self.code.read(address, buffer)
    }

    fn cfi(&mut self, module: ModuleIndex) -> Arc<CfiSections> {
        self.cfi.entry(module).or_insert_with(|| self.source.cfi(module)).clone()
    }
}
