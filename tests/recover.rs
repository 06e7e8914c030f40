//! The same copied stacks, walked with all registers and with those only that the kernel says of a
//! thread it was not asked to stop: the frames have to be the same.
//!
//! The reference is hangsnap's own walk with every register known, which other tests compare with
//! other tools.

mod forged;

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use hangsnap::capture::{Captured, CapturedThread};
use hangsnap::elf::CfiSections;
use hangsnap::model::{
    Bias, CodeAddress, FoundBy, Frame, ModuleIndex, Place, RegisterFile, RuntimeAddress, Stack, X86_64Register,
};
use hangsnap::proc::{MemoryMap, ProcDir};
use hangsnap::process::{Loader, Pages, ProcessAccess, Source, TimeoutWorker};
use hangsnap::sys::memory::ProcessMemory;
use hangsnap::unwind::{CodeSpace, SpaceId, StackMemory, Unwinder};

use crate::support::held::{held, registers};
use crate::support::{PATIENCE, Victim, compile, hangsnap, succeed, thread_time, until};

/// What the kernel says of a thread that is blocked in a system call: see proc_pid_syscall(5).
const TOLD: [X86_64Register; 8] = [
    X86_64Register::Rip,
    X86_64Register::Rsp,
    X86_64Register::Rdi,
    X86_64Register::Rsi,
    X86_64Register::Rdx,
    X86_64Register::R10,
    X86_64Register::R8,
    X86_64Register::R9,
];

/// A live process as the unwinder asks about it.
struct Space<'a> {
    source: Source<'a>,
    map: &'a MemoryMap,
    code: Pages<'a>,
    cfi: HashMap<ModuleIndex, Arc<CfiSections>>,
    /// How often something was asked.
    questions: Cell<usize>,
    reads: Cell<usize>,
}

impl CodeSpace for Space<'_> {
    fn id(&self) -> SpaceId {
        SpaceId(0)
    }

    fn module(&self, address: RuntimeAddress) -> Option<(ModuleIndex, Bias)> {
        self.questions.set(self.questions.get() + 1);
        let index = self.source.modules.iter().position(|loaded| loaded.module.range.contains(&address))?;
        Some((ModuleIndex(u32::try_from(index).ok()?), self.source.modules[index].module.bias))
    }

    fn end(&self) -> RuntimeAddress {
        self.map.iter().next_back().expect("a mapping").range.end
    }

    fn is_executable(&self, address: RuntimeAddress) -> bool {
        self.questions.set(self.questions.get() + 1);
        self.map.find(address).is_some_and(|mapping| mapping.executable)
    }

    fn cfi(&mut self, module: ModuleIndex) -> Arc<CfiSections> {
        self.cfi.entry(module).or_insert_with(|| self.source.cfi(module)).clone()
    }

    fn read(&mut self, address: RuntimeAddress, buffer: &mut [u8]) -> usize {
        self.reads.set(self.reads.get() + 1);
        self.code.read(address, buffer)
    }
}

/// A process that was copied, and what is needed to walk its stacks.
struct Copied {
    process: ProcDir,
    access: ProcessAccess,
    captured: Captured,
    loader: Loader,
}

impl Copied {
    fn of(victim: &Victim) -> Self {
        let (process, captured) = held(victim);
        let memory = ProcessMemory::open(process.memory_owner().expect("the victim is alive"));
        let access = ProcessAccess::new(memory, captured.memory_is_readable, TimeoutWorker::default());
        Self { process, access, captured, loader: Loader::default() }
    }

    /// Calls with each thread, its registers, and what walks its stack.
    fn each(&mut self, mut with: impl FnMut(&CapturedThread, &RegisterFile<X86_64Register>, &mut Walker<'_>)) {
        let Self { process, access, captured, loader } = self;
        let id = process.describe().expect("the victim is alive").id;
        let source = loader.modules(id, process.root(), &captured.map, access);
        let space = Space {
            source,
            map: &captured.map,
            code: Pages::new(access),
            cfi: HashMap::new(),
            questions: Cell::default(),
            reads: Cell::default(),
        };
        let mut walker = Walker { unwinder: Unwinder::default(), space };
        for thread in &captured.threads {
            with(thread, &registers(thread), &mut walker);
        }
    }
}

struct Walker<'a> {
    unwinder: Unwinder<X86_64Register>,
    space: Space<'a>,
}

impl Walker<'_> {
    fn walk(&mut self, registers: &RegisterFile<X86_64Register>, stack: StackMemory<'_>) -> Stack {
        self.unwinder.walk(registers, stack, &mut self.space)
    }

    /// The address of a frame in the process.
    fn address(&self, frame: &Frame) -> u64 {
        match frame.place() {
            Place::InModule { module, address } => {
                self.space.source.modules[module.0 as usize].module.bias.to_runtime(address).0
            }
            Place::Outside(address) => address.0,
        }
    }
}

fn memory_of(thread: &CapturedThread) -> StackMemory<'_> {
    StackMemory::new(RuntimeAddress(thread.stack.start), &thread.stack.bytes).with_pieces(&thread.stack.pieces)
}

/// What is left of registers when a thread is not stopped.
fn told(registers: &RegisterFile<X86_64Register>) -> RegisterFile<X86_64Register> {
    let mut left = RegisterFile::default();
    for register in TOLD {
        left.set(register, registers.get(register).expect("a held thread's registers are known"));
    }
    left
}

fn codes(stack: &Stack) -> Vec<CodeAddress<Place>> {
    stack.frames.iter().map(hangsnap::model::Frame::code).collect()
}

#[derive(Default)]
struct Tally {
    stacks: usize,
    same: usize,
    inferred: usize,
    frames: usize,
    longest: Duration,
}

/// Walks every thread both ways and prints each that differs.
fn compare(what: &str, command: &mut Command, total: &mut Tally) {
    let victim = Victim::start(command);
    let mut tally = Tally::default();
    let mut differences = String::new();
    Copied::of(&victim).each(|thread, registers, walker| {
        let reference = walker.walk(registers, memory_of(thread));
        let begun = thread_time();
        let without = walker.walk(&told(registers), memory_of(thread));
        tally.longest = tally.longest.max(thread_time() - begun);
        assert!(
            reference.frames.iter().all(|frame| frame.found() != FoundBy::Inferred),
            "{what}: a walk with all registers inferred one"
        );
        tally.stacks += 1;
        tally.frames += reference.frames.len();
        tally.inferred += usize::from(without.frames.iter().any(|frame| frame.found() == FoundBy::Inferred));
        if codes(&reference) == codes(&without) && reference.end == without.end {
            tally.same += 1;
        } else {
            let name = &thread.status.name;
            writeln!(differences, "  {what} {name}: {reference:x?}\n   but {without:x?}").expect("memory");
        }
    });
    let Tally { stacks, same, inferred, frames, longest } = tally;
    println!(
        "{what}: {same} of {stacks} stacks the same, {inferred} with a recovered register, {frames} frames; {longest:?} \
         for the longest walk"
    );
    print!("{differences}");
    total.stacks += stacks;
    total.same += same;
    total.inferred += inferred;
    total.frames += frames;
    total.longest = total.longest.max(longest);
}

#[test]
fn stacks_are_the_same_without_the_registers_that_only_a_stop_tells() {
    let mut total = Tally::default();
    let c: [&[&str]; 6] = [
        &["-O0", "-g", "-pthread"],
        &["-O2", "-g", "-pthread"],
        &["-O1", "-fno-omit-frame-pointer", "-g", "-pthread"],
        &["-O2", "-fno-omit-frame-pointer", "-fcf-protection", "-g", "-pthread"],
        &["-O0", "-fstack-clash-protection", "-fno-plt", "-g", "-pthread"],
        &["-O0", "-static", "-g", "-pthread"],
    ];
    for flags in c {
        let what = flags.join(" ");
        compare(&format!("frames.c {what}"), &mut Command::new(compile("gcc", "frames.c", flags)), &mut total);
        let stacks = compile("gcc", "stacks.c", flags);
        compare(&format!("stacks.c {what}"), Command::new(stacks).arg("100"), &mut total);
    }
    for flags in [&["-O0", "-g", "-pthread", "-std=c++17"][..], &["-O2", "-g", "-pthread", "-std=c++17"]] {
        let program = compile("g++", "stacks.cpp", flags);
        compare(&format!("stacks.cpp {}", flags.join(" ")), Command::new(program).arg("60"), &mut total);
    }
    for flags in [&["--edition=2024", "-g"][..], &["--edition=2024", "-O", "-g"]] {
        let program = compile("rustc", "stacks.rs", flags);
        compare(&format!("stacks.rs {}", flags.join(" ")), Command::new(program).arg("60"), &mut total);
    }
    let Tally { stacks, same, inferred, frames, longest } = total;
    println!(
        "{same} of {stacks} stacks the same, {inferred} with a recovered register, {frames} frames; {longest:?} for the \
         longest walk"
    );
    assert!(
        inferred > stacks / 4,
        "only {inferred} of {stacks} stacks needed a recovered register: that says too little"
    );
    assert!(same * 100 >= stacks * 99, "{same} of {stacks} stacks are the same");
}

/// The stacks that hangsnap prints, by thread, as addresses; with how each thread was looked at and
/// whether a frame was inferred.
fn printed(pid: &str, stop: &str) -> HashMap<u64, (Vec<String>, String, bool)> {
    let text = succeed(hangsnap().args(["--pid", pid, "--stop", stop, "--json"]));
    let snapshot: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let text = |value: &serde_json::Value| value.as_str().expect("text").to_owned();
    let thread = |thread: &serde_json::Value| {
        let frames = thread["frames"].as_array().expect("frames");
        let inferred = frames.iter().any(|frame| frame["found_by"] == "inferred");
        let addresses = frames.iter().map(|frame| text(&frame["address"])).collect();
        (thread["tid"].as_u64().expect("a tid"), (addresses, text(&thread["how"]), inferred))
    };
    snapshot["threads"].as_array().expect("threads").iter().map(thread).collect()
}

#[test]
fn threads_that_are_not_stopped_have_the_stacks_that_a_stop_shows() {
    for flags in [&["-O0", "-g", "-pthread"], &["-O2", "-g", "-pthread"]] {
        let victim = Victim::start(&mut Command::new(compile("gcc", "frames.c", flags)));
        // Its first thread has yet to go to sleep after saying so.
        until("all threads sleep", PATIENCE, || victim.states().iter().all(|state| *state == 'S'));
        let in_place = printed(&victim.pid(), "none");
        // The reference is to be had only when all were held, which a busy host may not allow at
        // once.
        let mut held = HashMap::new();
        until("all threads were held at once", PATIENCE, || {
            held = printed(&victim.pid(), "all");
            let others = held.values().filter(|(_, how, _)| how != "held").count();
            if others > 0 {
                eprintln!("{others} of {} threads were not held, and all are asked for again", held.len());
            }
            others == 0
        });
        assert_eq!(in_place.len(), held.len());
        let mut inferred = 0;
        for (tid, (addresses, how, is_inferred)) in &in_place {
            assert_eq!(how, "in-place", "thread {tid}");
            assert_eq!(*addresses, held[tid].0, "thread {tid}");
            assert!(!held[tid].2, "thread {tid} was held and a frame of it inferred");
            inferred += usize::from(*is_inferred);
        }
        println!("{}: {} stacks read in place, {inferred} with a recovered register", flags.join(" "), in_place.len());
        assert!(inferred * 3 > in_place.len(), "{inferred} inferred frames say too little");
    }
}
