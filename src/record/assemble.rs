//! From what was copied to a snapshot: unwinding, and the facts that need a look at the process after it was let go.

use std::collections::HashMap;
use std::sync::Arc;

use super::Sample;
use crate::capture::{Captured, CapturedThread, Context};
use crate::elf::CfiSections;
use crate::model::{
    Bias, ModuleIndex, Notice, Process, Reason, Register, Registers, RuntimeAddress, Snapshot, Subject, SystemCall,
    Thread, WalkEnd,
};
use crate::proc::MemoryMap;
use crate::sys::memory::ProcessMemory;
use crate::sys::ptrace::RawRegisters;
use crate::target::{Loader, Source};
use crate::unwind::{CodeSpace, StackMemory, Unwinder};

/// Turns copies into snapshots and keeps what it learns of modules, for all targets.
#[derive(Default)]
pub struct Assembler {
    loader: Loader,
    unwinder: Unwinder,
}

impl Assembler {
    /// The snapshot of what was copied. Nothing of the process is held any more.
    pub(super) fn assemble(&mut self, sample: Sample) -> Snapshot {
        let Sample { number, process, root, captured, memory } = sample;
        let Captured { taken, window, stop, map, threads: copies, mut notices } = captured;
        let mut space =
            Space { source: self.loader.modules(process.id, root, &map, &memory), map: &map, cfi: HashMap::new() };
        let mut threads = Vec::with_capacity(copies.len());
        for copy in copies {
            threads.push(thread(&mut self.unwinder, copy, &memory, &mut space, &mut notices));
        }
        let Space { source, .. } = space;
        let Source { modules, notices: lost_modules, .. } = source;
        notices.extend(lost_modules);
        let modules = modules.into_iter().map(|loaded| loaded.module).collect();
        Snapshot { number, taken, process, stop, window, modules, threads, notices }
    }

    /// Forgets the modules of a process that has ended.
    pub fn forget(&mut self, process: &Process) {
        self.loader.forget(process.id);
    }
}

fn thread(
    unwinder: &mut Unwinder,
    copy: CapturedThread,
    memory: &ProcessMemory,
    space: &mut Space<'_>,
    notices: &mut Vec<Notice>,
) -> Thread {
    let (registers, system_call) = match &copy.context {
        Context::Full(raw) => (raw.interpret(), system_call(raw, memory)),
        Context::Blocked(blocked) => {
            let mut registers = Registers::default();
            registers.general.set(Register::Rsp, blocked.stack_pointer.0);
            registers.general.set(Register::Rip, blocked.program_counter.0);
            (registers, blocked.call)
        }
        Context::Nothing => (Registers::default(), None),
    };
    let mut stack = StackMemory::new(RuntimeAddress(copy.stack.start), &copy.stack.bytes);
    if let Some((start, bytes)) = &copy.stack.own {
        stack = stack.with_own(RuntimeAddress(*start), bytes);
    }
    let stack = unwinder.walk(&registers.general, stack, space);
    if matches!(stack.end, WalkEnd::MemoryNotCopied(_)) && copy.stack.left_out > 0 {
        let reason = Reason::StackTruncated { copied: copy.stack.bytes.len() as u64 };
        notices.push(Notice { subject: Subject::Thread(copy.tid), reason });
    }
    Thread {
        tid: copy.tid,
        start: copy.status.start,
        name: copy.status.name,
        state: copy.status.state,
        cpu_ns: copy.status.cpu_ns,
        hold: copy.hold,
        system_call,
        registers,
        stack,
    }
}

/// The call a held thread was inside of. A sleeping call that was interrupted before shows as restart_syscall; its
/// number is then in the instructions that made the call, where they are the usual `mov $number, %eax; syscall`. The
/// kernel leaves the arguments in their registers.
fn system_call(raw: &RawRegisters, memory: &ProcessMemory) -> Option<SystemCall> {
    const MOV_EAX: u8 = 0xb8;
    const SYSCALL: [u8; 2] = [0x0f, 0x05];
    let number = raw.system_call_number()?;
    let arguments = raw.arguments();
    let mut code = [0; 7];
    let number = match number {
        SystemCall::RESTART
            if memory.read(RuntimeAddress(raw.instruction_pointer().wrapping_sub(7)), &mut code) == Ok(7)
                && code[0] == MOV_EAX
                && code[5..] == SYSCALL =>
        {
            u32::from_le_bytes([code[1], code[2], code[3], code[4]])
        }
        number => number,
    };
    Some(SystemCall { number, arguments })
}

/// A process's address space as the unwinder asks about it.
struct Space<'a> {
    source: Source<'a>,
    map: &'a MemoryMap,
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

    fn cfi(&mut self, module: ModuleIndex) -> Arc<CfiSections> {
        self.cfi.entry(module).or_insert_with(|| self.source.cfi(module)).clone()
    }
}
