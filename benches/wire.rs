//! What a sample costs in a record: bytes, and the time to encode and decode it.
//!
//!     cargo bench --bench wire                    100 to 10,000 threads, and a day of 200
//!     cargo bench --bench wire -- --peers         and a minidump and gdb's text, compressed
//!     cargo bench --bench wire -- --threads 1000
//!     cargo bench --bench wire -- --day           the day alone, every sample; takes minutes
//!     cargo bench --bench wire -- --record        a record of a gibibyte; takes minutes
//!
//! The target's threads go elsewhere on command, so that it is known how many have moved between
//! two samples. All samples are taken of the live process, and times are those on a CPU. Promised
//! are, for 1,000 threads: at most 2 KiB when none has moved and 6 KiB when 5% have, and 5 ms of
//! CPU to encode any; of a record of a gibibyte the list in 0.5 s, and one sample in 20 ms; and a
//! day of samples every 5 s of 200 threads, of them 5% move between two, in at most 40 MiB.

#![allow(unreachable_pub, reason = "`pub` is what the modules of one program offer each other")]

#[path = "wire/peers.rs"]
mod peers;
#[path = "wire/record.rs"]
mod record;
#[path = "programs/target.rs"]
mod target;
#[path = "wire/wandering.rs"]
mod wandering;

use std::time::Duration;

use hangsnap::capture::Tracer;
use hangsnap::model::{Snapshot, StopMode};
use hangsnap::process::Target;
use hangsnap::record::{CaptureOptions, once};
use hangsnap::wire::{Decoder, Encoder};
use nix::time::{ClockId, clock_gettime};

use wandering::Wandering;

const SAMPLES_A_DAY: usize = 24 * 60 * 60 / 5;
/// As many as there are from one whole snapshot to the next but one.
const DAY_SHORTENED: usize = 128;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|word| word == "--record") {
        return match Samples::of(200) {
            Ok(mut samples) => record::measure(&(0..32).map(|_| samples.snapshot(10)).collect::<Vec<_>>()),
            Err(why) => eprintln!("SKIPPED: {why}"),
        };
    }
    if arguments.iter().any(|word| word == "--day") {
        return day(SAMPLES_A_DAY);
    }
    let chosen =
        arguments.windows(2).find(|pair| pair[0] == "--threads").map(|pair| pair[1].parse().expect("a number"));
    let threads = chosen.map_or_else(|| vec![100, 1000, 10_000], |threads| vec![threads]);
    println!("{:>7}  {:<12} {:>10} {:>12} {:>12}", "threads", "sample", "bytes", "encode", "decode");
    for threads in threads {
        if let Err(why) = sizes(threads, arguments.iter().any(|word| word == "--peers")) {
            eprintln!("SKIPPED: {threads} threads: {why}");
        }
    }
    if chosen.is_none() {
        day(DAY_SHORTENED);
    }
}

/// Takes samples of a target, and stores them in memory.
struct Samples {
    wandering: Wandering,
    target: Target,
    tracer: Tracer,
    encoder: Encoder,
    decoder: Decoder,
    number: u64,
}

/// What this thread has had of a CPU.
fn time_on_cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every Linux has it").into()
}

/// What one sample took.
struct Cost {
    bytes: usize,
    encode: Duration,
    decode: Duration,
}

impl Samples {
    fn of(threads: usize) -> Result<Self, String> {
        let wandering = Wandering::start(threads)?;
        let wanted = wandering.pid().to_string().parse()?;
        let target = Target::open(&wanted, StopMode::OneAtATime).map_err(|error| error.to_string())?;
        let tracer = Tracer::of_program(env!("CARGO_BIN_EXE_hangsnap").into()).map_err(|error| error.to_string())?;
        Ok(Self { wandering, target, tracer, encoder: Encoder::default(), decoder: Decoder::default(), number: 0 })
    }

    /// The next snapshot, after this many threads have gone elsewhere.
    fn snapshot(&mut self, moving: usize) -> Snapshot {
        self.wandering.go(moving);
        let snapshot = once(&self.target, &CaptureOptions::default(), &mut self.tracer).expect("a snapshot").snapshot;
        self.number += 1;
        Snapshot { number: self.number, ..snapshot }
    }

    /// What the first sample of a file takes.
    fn first(&mut self) -> Cost {
        (self.encoder, self.decoder) = Default::default();
        self.next(0)
    }

    /// What the next sample takes, after this many threads have gone elsewhere.
    fn next(&mut self, moving: usize) -> Cost {
        let snapshot = self.snapshot(moving);
        let begun = time_on_cpu();
        let encoded = self.encoder.snapshot(&snapshot);
        let encode = time_on_cpu() - begun;
        let begun = time_on_cpu();
        self.decoder.record(&encoded.payload).expect("it was just encoded");
        Cost { bytes: encoded.payload.len(), encode, decode: time_on_cpu() - begun }
    }
}

fn sizes(threads: usize, with_peers: bool) -> Result<(), String> {
    let mut samples = Samples::of(threads)?;
    let rounds = if threads > 1000 { 5 } else { 15 };
    row(threads, "first", (0..rounds).map(|_| samples.first()).collect(), None);
    let promise = |bytes| (threads == 1000).then_some(bytes);
    let twentieth = threads.div_ceil(20);
    for (name, moving, most) in
        [("unchanged", 0, promise(2 << 10)), ("5% moved", twentieth, promise(6 << 10)), ("all moved", threads, None)]
    {
        row(threads, name, (0..rounds).map(|_| samples.next(moving)).collect(), most);
    }
    if with_peers {
        peers::rows(threads, samples.wandering.pid());
    }
    Ok(())
}

/// Prints the medians of some samples, and whether they keep what is promised.
fn row(threads: usize, name: &str, mut costs: Vec<Cost>, most: Option<usize>) {
    let median = |costs: &[Cost]| costs.len() / 2;
    costs.sort_by_key(|cost| cost.encode);
    let encode = costs[median(&costs)].encode;
    costs.sort_by_key(|cost| cost.decode);
    let decode = costs[median(&costs)].decode;
    costs.sort_by_key(|cost| cost.bytes);
    let bytes = costs[median(&costs)].bytes;
    let kept = |kept: bool| if kept { "kept" } else { "NOT kept" };
    let milliseconds = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
    print!("{threads:>7}  {name:<12} {bytes:>10} {:>12} {:>12}", milliseconds(encode), milliseconds(decode));
    if let Some(most) = most {
        print!("   at most {most} bytes: {}", kept(bytes <= most));
    }
    if threads == 1000 {
        print!("   at most 5 ms to encode: {}", kept(encode <= Duration::from_millis(5)));
    }
    println!();
}

fn day(taken: usize) {
    const MOST: usize = 40 << 20;
    let mut samples = match Samples::of(200) {
        Ok(samples) => samples,
        Err(why) => return eprintln!("SKIPPED: a day of 200 threads: {why}"),
    };
    let bytes: usize = (0..taken).map(|_| samples.next(10).bytes).sum();
    let day = bytes * SAMPLES_A_DAY / taken;
    println!(
        "a day of samples every 5 s, 200 threads, 5% moved between two: {:.1} MiB (from {taken} samples), at most 40 MiB: {}",
        day as f64 / f64::from(1 << 20),
        if day <= MOST { "kept" } else { "NOT kept" }
    );
}
