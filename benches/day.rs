//! What a sampler costs that runs for months: CPU time for each sample, memory and descriptors, of
//! all its processes together.
//!
//!     cargo bench --bench day                                   1,000 threads, 600 samples
//!     cargo bench --bench day -- --threads 200 --samples 86400  a day takes an hour or two
//!
//! Between two samples a share of the target's threads go elsewhere: none, and 5%. CPU times are
//! what the kernel accounts for the sampler and its tracer from the hundredth sample to the last;
//! the floor is what the kernel does for a program that makes nothing but the calls by which each
//! thread is held and copied, which is the kernel's share of ptrace. Promised for one sample of
//! 1,000 threads a second: at most 10 ms of CPU, 1% of one core, beyond that; at most 48 MiB, no
//! more at the end than at the hundredth sample but 2 MiB; and not one descriptor more, but for the
//! two of each thread that is at rest at the moment.

#![allow(unreachable_pub, reason = "`pub` is what the modules of one program offer each other")]

#[path = "programs/target.rs"]
mod target;
#[path = "wire/wandering.rs"]
mod wandering;

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use wandering::Wandering;

/// Everything has been met once by then.
const WARM: usize = 100;
const MOST_CPU_MS: f64 = 10.0;
const MOST_MIB: f64 = 48.0;
const MOST_GROWTH_MIB: f64 = 2.0;
/// What /proc counts in: USER_HZ, a hundredth of a second on every machine that hangsnap knows.
const TICK_MS: f64 = 10.0;
const FLOOR_ROUNDS: usize = 50;
/// A run that is ended before its time has printed this much.
const TOLD_EVERY: usize = 2000;

fn argument(name: &str, default: usize) -> usize {
    let arguments: Vec<String> = std::env::args().collect();
    let found = arguments.windows(2).find(|pair| pair[0] == name);
    found.map_or(default, |pair| pair[1].parse().expect("a number"))
}

/// What processes have used of the CPUs, in milliseconds.
#[derive(Clone, Copy, Default)]
struct Cpu {
    user: f64,
    system: f64,
}

impl Cpu {
    /// Of a process and, with `first` at 15, of its children that have ended; fields as
    /// proc_pid_stat(5) counts them.
    fn read(pid: u32, first: usize) -> Self {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it is there");
        let behind_name = stat.rsplit_once(')').expect("a name").1;
        let field = |number: usize| -> f64 {
            let word = behind_name.split_whitespace().nth(number - 3).expect("a field");
            word.parse().expect("a number")
        };
        Self { user: field(first) * TICK_MS, system: field(first + 1) * TICK_MS }
    }
}

/// What all processes of the sampler hold, and have used.
struct Holdings {
    cpu: Cpu,
    mib: f64,
    descriptors: usize,
}

struct Sampler {
    child: Child,
    told: Lines<BufReader<ChildStdout>>,
}

impl Sampler {
    fn start(pid: &str, into: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hangsnap"))
            .args(["--pid", pid, "--every", "1ms", "--max-duty", "100%", "-o"])
            .arg(into)
            .stdout(Stdio::piped())
            .spawn()
            .expect("it was just built");
        let told = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, told }
    }

    /// Waits until one more sample is stored. False at the end.
    fn sample(&mut self) -> bool {
        self.told.by_ref().map_while(Result::ok).any(|line| line.starts_with('#'))
    }

    fn holdings(&self) -> Holdings {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("it is there");
        let mut all = Holdings { cpu: Cpu::default(), mib: 0.0, descriptors: 0 };
        let children = children.split_whitespace().map(|pid| pid.parse().expect("a pid"));
        for pid in children.chain([pid]) {
            // A tracer that had to be replaced counts among the children that have ended.
            for Cpu { user, system } in [Cpu::read(pid, 14), Cpu::read(pid, 16)] {
                all.cpu = Cpu { user: all.cpu.user + user, system: all.cpu.system + system };
            }
            let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it is there");
            let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
            all.mib += resident.and_then(|kib| kib.parse::<f64>().ok()).expect("a number") / 1024.0;
            all.descriptors += descriptors(pid);
        }
        all
    }
}

/// The descriptors that a process has all the time; others are open for a moment of each sample,
/// and those by which threads at rest are watched (two each) come and go with these threads.
fn descriptors(pid: u32) -> usize {
    let is_watch = |path: &Path| path.ends_with("stat") || path.ends_with("schedstat");
    let look = |_| {
        thread::sleep(Duration::from_millis(1));
        let all = fs::read_dir(format!("/proc/{pid}/fd")).expect("it is there").flatten();
        all.filter(|descriptor| !fs::read_link(descriptor.path()).is_ok_and(|path| is_watch(&path))).count()
    };
    (0..100).map(look).min().unwrap_or_default()
}

impl Drop for Sampler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the kernel does for the floor in one round.
fn floor(pid: &str) -> f64 {
    let program = target::compile("floor", &[]);
    let before = Cpu::read(std::process::id(), 16).system;
    let mut floor = Command::new(program);
    let status = floor.args([pid, "one", &FLOOR_ROUNDS.to_string(), "1000"]).stdout(Stdio::null()).status();
    assert!(status.is_ok_and(|status| status.success()), "the floor fails");
    (Cpu::read(std::process::id(), 16).system - before) / FLOOR_ROUNDS as f64
}

fn main() {
    let (threads, samples) = (argument("--threads", 1000), argument("--samples", 600).max(2 * WARM));
    println!("milliseconds of CPU for each sample; {samples} samples of {threads} threads");
    println!(
        "{:<10} {:>8} {:>8} {:>12} {:>10} {:>10} {:>12}",
        "moved", "user", "system", "floor's", "memory", "grown by", "descriptors"
    );
    for (name, moving) in [("none", 0), ("5%", threads / 20)] {
        match measure(threads, samples, moving) {
            Ok(told) => println!("{name:<10} {told}"),
            Err(why) => eprintln!("SKIPPED: {threads} threads: {why}"),
        }
    }
}

fn measure(threads: usize, samples: usize, moving: usize) -> Result<String, String> {
    let mut wandering = Wandering::start(threads)?;
    let pid = wandering.pid().to_string();
    let floor = floor(&pid);
    let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
    let mut sampler = Sampler::start(&pid, &directory.path().join("day.hangsnap"));
    let (mut warm, mut end, mut taken) = (None, None, 0);
    while sampler.sample() {
        taken += 1;
        if taken == WARM {
            warm = Some(sampler.holdings());
        }
        if taken == samples {
            end = Some(sampler.holdings());
            break;
        }
        if taken % TOLD_EVERY == 0 {
            let held = sampler.holdings();
            eprintln!("{taken} of {samples} samples: {:.1} MiB, {} descriptors", held.mib, held.descriptors);
        }
        wandering.go(moving);
    }
    let (Some(warm), Some(end)) = (warm, end) else {
        return Err(format!("the sampler ended after {taken} samples"));
    };
    let each = |end: f64, warm: f64| (end - warm) / (taken - WARM) as f64;
    let (user, system) = (each(end.cpu.user, warm.cpu.user), each(end.cpu.system, warm.cpu.system));
    let (beyond, grown) = (user + (system - floor).max(0.0), end.mib - warm.mib);
    let kept = |kept: bool| if kept { "kept" } else { "NOT kept" };
    let more = end.descriptors.saturating_sub(warm.descriptors);
    Ok(format!(
        "{user:>8.2} {system:>8.2} {floor:>12.2} {:>6.1} MiB {grown:>6.1} MiB {:>5} + {more:<4} \
         at most {MOST_CPU_MS} ms beyond the floor: {beyond:.2}, {}; {MOST_MIB} MiB, grown by {MOST_GROWTH_MIB} MiB, no descriptor more: {}",
        end.mib,
        warm.descriptors,
        kept(beyond <= MOST_CPU_MS),
        kept(end.mib <= MOST_MIB && grown <= MOST_GROWTH_MIB && more == 0),
    ))
}
