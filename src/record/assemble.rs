//! From what was copied to a snapshot: unwinding, and the facts that need a look at the process
//! after it was let go.

use std::collections::BTreeSet;
use std::iter;
use std::sync::Arc;

use super::bundle::Bundler;
use super::facts::{self, Stacks};
use super::last_snapshots::LastSnapshots;
use super::named::Named;
use super::{AddressSpace, CaptureOptions, Sample};
use crate::capture::{Captured, CapturedThread, Context, StackBytes};
use crate::model::{
    BundledFile, FloatingPoint, Frame, GeneratedCode, MemoryOf, MemoryPiece, Module, Notice, Process, Reason,
    Registers, RuntimeAddress, Snapshot, Stack, Subject, Thread, WalkEnd, X86_64Register,
};
use crate::proc::{Backing, BlockedCall, MemoryMap};
use crate::process::{Exported, Loader, ProcessAccess, Registry, TimeoutWorker, generated_code};
use crate::unwind::{StackMemory, Unwinder};

/// Turns copies into snapshots and keeps what it learns of modules, for all targets.
pub(super) struct Assembler {
    keep_stacks: bool,
    redact: bool,
    loader: Loader,
    registry: Registry,
    exported: Exported,
    named: Named,
    bundler: Bundler,
    unwinder: Unwinder<X86_64Register>,
    worker: TimeoutWorker,
    last_snapshots: LastSnapshots,
}

impl Assembler {
    /// For the snapshots of a recording.
    pub(super) fn new(options: &CaptureOptions) -> Self {
        Self {
            keep_stacks: options.keep_stacks,
            redact: options.redact,
            loader: Loader::default(),
            registry: Registry::default(),
            exported: Exported::default(),
            named: Named::new(false),
            bundler: Bundler::new(options.bundle),
            unwinder: Unwinder::default(),
            worker: TimeoutWorker::default(),
            last_snapshots: LastSnapshots::default(),
        }
    }

    /// For a single snapshot.
    pub(super) fn for_one(options: &CaptureOptions) -> Self {
        Self { named: Named::new(true), ..Self::new(options) }
    }

    /// The snapshot of what was copied. Nothing of the process is held any more.
    pub(super) fn assemble(&mut self, sample: Sample) -> Snapshot {
        let Sample { number, root, captured, memory, last_ran, .. } = sample;
        let Captured { taken, process, window, took, stop, map, threads: copies, unchanged, memory: pieces, .. } =
            captured;
        let mut notices = captured.notices;
        let access = ProcessAccess::new(memory, captured.memory_is_readable, self.worker.clone());
        let source = self.loader.modules(process.id, root.clone(), &map, &access);
        let mut space = AddressSpace::new(source, &map, &access, self.registry.of(process.id, &access));
        self.unwinder.forget_unloaded();
        let mut threads = Vec::with_capacity(copies.len());
        let mut stacks = Vec::with_capacity(copies.len());
        for copy in copies {
            let stack = self.keep_stacks.then(|| stack_memory(&copy)).into_iter().flatten();
            let (mut thread, copied) = thread(&mut self.unwinder, copy, &mut space, &mut notices);
            stacks.push((thread.tid, copied));
            thread.memory.extend(stack);
            threads.push(thread);
        }
        let (source, mut registered) = space.into_parts();
        let mut modules: Vec<Module> = source.modules.iter().map(|loaded| loaded.module.clone()).collect();
        let last = self.last_snapshots.take(process.id);
        let facts_before = last.wait_facts.clone();
        if !unchanged.is_empty() {
            threads.extend(last.threads(unchanged, &mut modules, &mut notices));
            threads.sort_unstable_by_key(|thread| thread.tid);
        }
        let frames = threads.iter().flat_map(|thread| &thread.stack.frames);
        let mut unnamed: BTreeSet<_> = frames.filter_map(Frame::outside).collect();
        let mut generated = registered.names(&unnamed);
        generated.extend(probed(&unnamed, &map));
        for code in &generated {
            unnamed.remove(&code.address);
        }
        let (others, refused) = generated_code(&process, &root, &access, unnamed);
        generated.extend(others);
        generated.sort_unstable_by_key(|code| code.address);
        notices.extend(refused);
        let named = self.named.of(&source, process.id, &modules, &threads);
        self.bundler.add(&source, process.id, &modules, &threads);
        let stacks = Stacks { copied: &stacks, before: &facts_before };
        let is_postgres = process.executable.ends_with("/postgres");
        let my_proc = is_postgres.then(|| self.exported.pointer(&source, &process.executable, b"MyProc")).flatten();
        let wait_facts = facts::of(&process, &threads, &stacks, &last_ran, my_proc, &access);
        notices.extend(source.notices);
        if captured.memory_is_readable && !access.is_readable() {
            let reason = if access.is_gone() { Reason::MemoryGone } else { Reason::MemoryBlocked };
            notices.push(Notice { subject: Subject::Process, reason });
        }
        let mut snapshot = Snapshot {
            number,
            taken,
            process,
            stop,
            window,
            took,
            modules,
            threads,
            memory: pieces,
            generated,
            named,
            wait_facts,
            notices,
        };
        if self.redact {
            snapshot.redact();
        }
        snapshot
    }

    /// Files that are to be stored with the snapshots assembled since they were taken last.
    pub(super) fn take_files(&mut self) -> Vec<BundledFile> {
        self.bundler.take()
    }

    /// Keeps of a snapshot that was just assembled what the next of the same process may refer to.
    pub(super) fn remember(&mut self, snapshot: Snapshot) {
        self.last_snapshots.keep(snapshot);
    }

    /// Forgets the modules and threads of a process that has ended.
    pub(super) fn forget(&mut self, process: &Process) {
        self.last_snapshots.forget(process.id);
        self.forget_modules(process);
    }

    /// Forgets the modules of a process that executes another program. Whether its threads have run
    /// since is not for that to say: its program file may only have been replaced.
    pub(super) fn forget_modules(&mut self, process: &Process) {
        self.loader.forget(process.id);
        self.registry.forget(process.id);
        self.named.forget(process.id);
    }
}

/// The name of the place that functions return to while a tracer's probe waits for that.
fn probed(addresses: &BTreeSet<RuntimeAddress>, map: &MemoryMap) -> Vec<GeneratedCode> {
    let mapping = |address: RuntimeAddress| map.find(address).filter(|found| found.backing == Backing::Uprobes);
    let name = |address: &RuntimeAddress| {
        let range = mapping(*address)?.range.clone();
        Some(GeneratedCode { address: *address, range, name: "[uprobes]".into() })
    };
    addresses.iter().filter_map(name).collect()
}

fn thread(
    unwinder: &mut Unwinder<X86_64Register>,
    copy: CapturedThread,
    space: &mut AddressSpace<'_>,
    notices: &mut Vec<Notice>,
) -> (Thread, StackBytes) {
    let mut registers = match &copy.context {
        Context::Full(raw) => raw.interpret(),
        Context::Blocked(blocked) => registers_at(blocked),
        Context::Nothing => Registers::default(),
    };
    registers.floating = copy.floating_point.map(FloatingPoint);
    let stack = StackMemory::new(RuntimeAddress(copy.stack.start), &copy.stack.bytes)
        .with_pieces(&copy.stack.pieces)
        .without(copy.stack.left_out);
    let walked = match copy.status.worker {
        // It has no user stack: nothing of it is missing.
        Some(_) => Stack { frames: Vec::new(), gap: None, end: WalkEnd::Root },
        None => unwinder.walk(&registers.general, stack, space),
    };
    let stack = Arc::new(walked);
    if matches!(stack.end, WalkEnd::MemoryNotCopied(_)) && copy.stack.left_out > 0 {
        let reason = Reason::StackTruncated { copied: copy.stack.bytes.len() as u64 };
        notices.push(Notice { subject: Subject::Thread(copy.tid), reason });
    }
    let CapturedThread { tid, status, acquired, system_call, memory, stack: copied, .. } = copy;
    (Thread { tid, status, acquired, system_call, registers, stack, memory }, copied)
}

/// The parts of a thread's stack that were copied.
fn stack_memory(copy: &CapturedThread) -> Vec<MemoryPiece> {
    let StackBytes { start, bytes, pieces, .. } = &copy.stack;
    let newest = MemoryPiece { address: RuntimeAddress(*start), bytes: bytes[..].into(), what: MemoryOf::Stack };
    let copied = |piece: &MemoryPiece| !piece.bytes.is_empty();
    iter::once(newest).chain(pieces.iter().cloned()).filter(copied).collect()
}

/// The registers that are known of a thread read in place: where it entered the kernel, and the
/// arguments it brought.
fn registers_at(blocked: &BlockedCall) -> Registers {
    let mut registers = Registers::default();
    registers.general.set(X86_64Register::Rsp, blocked.stack_pointer.0);
    registers.general.set(X86_64Register::Rip, blocked.program_counter.0);
    if let Some(call) = &blocked.call {
        for (register, value) in call.abi.argument_registers().into_iter().zip(call.arguments) {
            registers.general.set(register, value);
        }
    }
    registers
}
