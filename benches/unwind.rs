//! How fast stacks are walked, beside framehop on the same copied bytes in one run.
//!
//!     cargo bench --bench unwind                 C and Python, and a new file of 46 MB
//!     cargo bench --bench unwind -- --rounds 50
//!
//! `warm`: what both keep of addresses they have met is there. `cold`: it is not, while the files'
//! sections are in memory. hangsnap tracks all registers, framehop three. Both are fed the same
//! registers and stack bytes, and collect the frames; those must be equally many. Promised are:
//! warm at least as fast as framehop, and the first stack in the large file, from its opening to
//! the last frame, within 20 ms.

#![allow(unreachable_pub, reason = "`pub` is what the modules of one program offer each other")]

#[path = "unwind/peer.rs"]
mod peer;
#[path = "programs/target.rs"]
mod target;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use hangsnap::capture::{CaptureRequest, Captured, CapturedThread, Context, Tracer};
use hangsnap::model::{Pid, ProcessId, RegisterFile, RuntimeAddress, StopMode, X86_64Register};
use hangsnap::proc::ProcDir;
use hangsnap::process::{Loader, ProcessAccess, Registry, TimeoutWorker};
use hangsnap::record::AddressSpace;
use hangsnap::sys::memory::ProcessMemory;
use hangsnap::unwind::{StackMemory, Unwinder};

use peer::Framehop;

/// Every stack is walked so often in one measurement, so that it takes milliseconds.
const REPEATS: usize = 20;
const FIRST_STACK_PROMISE: Duration = Duration::from_millis(20);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let rounds =
        arguments.windows(2).find(|pair| pair[0] == "--rounds").map_or(15, |pair| pair[1].parse().expect("a number"));
    println!("nanoseconds per frame, median of {rounds} rounds");
    println!(
        "{:<8} {:>8} {:>8} {:>6} {:>10} {:>10} {:>7}",
        "target", "threads", "frames", "", "hangsnap", "framehop", "ratio"
    );
    let parked = target::compile("parked", &[]);
    walk("C", Command::new(parked).arg("100"), rounds);
    walk("Python", Command::new("python3").arg(target::source("deep.py")), rounds);
    first_stack(rounds);
}

/// A process that was copied while all its threads were held, so that all registers are known.
struct Copied {
    id: ProcessId,
    root: PathBuf,
    access: ProcessAccess,
    captured: Captured,
}

impl Copied {
    fn of(pid: Pid) -> Self {
        let process = ProcDir::open(pid).expect("the target is alive");
        let mut tracer = Tracer::of_program(env!("CARGO_BIN_EXE_hangsnap").into()).expect("shared memory");
        let request = CaptureRequest {
            stop: StopMode::All,
            max_hold: Duration::from_secs(1),
            floating_point: false,
            is_go: false,
            memory: Vec::new(),
            after: None,
        };
        let captured = tracer.take(&process, &request).expect("it can be captured");
        let memory = ProcessMemory::open(process.memory_owner().expect("the target is alive"));
        let access = ProcessAccess::new(memory, true, TimeoutWorker::default());
        Self { id: process.id().expect("the target is alive"), root: process.root(), access, captured }
    }

    /// The threads that were held, with their registers.
    fn held(&self) -> Vec<(&CapturedThread, RegisterFile<X86_64Register>)> {
        let registers = |thread: &CapturedThread| match &thread.context {
            Context::Full(raw) => Some(raw.interpret().general),
            _ => None,
        };
        self.captured.threads.iter().filter_map(|thread| Some((thread, registers(thread)?))).collect()
    }

    fn space<'a>(&'a self, loader: &'a mut Loader, registry: &'a mut Registry) -> AddressSpace<'a> {
        let source = loader.modules(self.id, self.root.clone(), &self.captured.map, &self.access);
        AddressSpace::new(source, &self.captured.map, &self.access, registry.of(self.id, &self.access))
    }
}

fn walk_all(
    held: &[(&CapturedThread, RegisterFile<X86_64Register>)],
    unwinder: &mut Unwinder<X86_64Register>,
    space: &mut AddressSpace<'_>,
) -> usize {
    let walk = |(thread, registers): &(&CapturedThread, RegisterFile<X86_64Register>)| {
        let stack = StackMemory::new(RuntimeAddress(thread.stack.start), &thread.stack.bytes);
        unwinder.walk(registers, stack, space).frames.len()
    };
    held.iter().map(walk).sum()
}

/// Both walk all stacks of a target, in turns.
fn walk(name: &str, command: &mut Command, rounds: usize) {
    let running = target::start(command).expect("a target");
    let copied = Copied::of(running.pid());
    let held = copied.held();
    let (mut loader, mut registry) = (Loader::default(), Registry::default());
    let mut space = copied.space(&mut loader, &mut registry);
    let mut unwinder = Unwinder::default();
    let mut framehop = Framehop::of(running.pid());
    let frames = walk_all(&held, &mut unwinder, &mut space);
    assert_eq!(frames, framehop.walk_all(&held), "{name}: hangsnap and framehop find as many frames");
    let per_frame = |times: &mut Vec<Duration>, walked: usize| {
        times.sort_unstable();
        times[times.len() / 2].as_nanos() as f64 / (walked as f64)
    };
    let (mut ours, mut theirs, mut our_first, mut their_first) = (vec![], vec![], vec![], vec![]);
    for _ in 0..rounds {
        our_first.push(time(|| walk_all(&held, &mut Unwinder::default(), &mut space)));
        their_first.push(time(|| {
            framehop.forget();
            framehop.walk_all(&held)
        }));
        ours.push(time(|| (0..REPEATS).map(|_| walk_all(&held, &mut unwinder, &mut space)).sum()));
        theirs.push(time(|| (0..REPEATS).map(|_| framehop.walk_all(&held)).sum()));
    }
    let rows = [("warm", &mut ours, &mut theirs, frames * REPEATS), ("cold", &mut our_first, &mut their_first, frames)];
    for (how, ours, theirs, walked) in rows {
        let (ours, theirs) = (per_frame(ours, walked), per_frame(theirs, walked));
        let promise = match how {
            "warm" if ours <= theirs => "at most 1: kept",
            "warm" => "at most 1: NOT KEPT",
            _ => "",
        };
        println!(
            "{name:<8} {:>8} {frames:>8} {how:>6} {ours:>10.1} {theirs:>10.1} {:>7.2} {promise}",
            held.len(),
            ours / theirs
        );
    }
}

/// From opening the file to the last frame, everything new but the kernel's page cache.
fn first_stack(rounds: usize) {
    let program = target::assemble("large");
    let running = target::start(&mut Command::new(&program)).expect("a target");
    let copied = Copied::of(running.pid());
    let held = copied.held();
    let mut times: Vec<Duration> = (0..rounds)
        .map(|_| {
            time(|| {
                let (mut loader, mut registry) = (Loader::default(), Registry::default());
                let mut space = copied.space(&mut loader, &mut registry);
                let frames = walk_all(&held, &mut Unwinder::default(), &mut space);
                assert_eq!(frames, 3, "second, first and _start");
                frames
            })
        })
        .collect();
    times.sort_unstable();
    let median = times[times.len() / 2];
    println!(
        "the first stack in a file of {} MB: {:.1} ms; at most {} ms: {}",
        std::fs::metadata(&program).map_or(0, |file| file.len() / 1_000_000),
        median.as_secs_f64() * 1000.0,
        FIRST_STACK_PROMISE.as_millis(),
        if median <= FIRST_STACK_PROMISE { "kept" } else { "NOT KEPT" }
    );
}

fn time(work: impl FnOnce() -> usize) -> Duration {
    let begun = Instant::now();
    let done = work();
    let took = begun.elapsed();
    assert!(done > 0);
    took
}
