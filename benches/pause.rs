//! How long hangsnap holds the threads of a process, beside the same system calls in bare C, in one run.
//!
//!     cargo bench --bench pause                    10, 100 and 1,000 threads
//!     cargo bench --bench pause -- --rounds 50     more rounds
//!
//! Rounds of hangsnap and of the floor take turns, so that both see the same weather. `held` is per thread, from before
//! the request to stop until after the release; `window` is the whole snapshot. The heartbeat is a busy thread inside the
//! target that reports the longest gap between two beats; it occupies one of the CPUs, so it gets rounds of its own.

#[path = "programs/target.rs"]
mod target;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use hangsnap::capture::{self, Arena};
use hangsnap::model::{Hold, Pid, StopMode};
use hangsnap::proc::ProcDir;

const THREADS: [usize; 3] = [10, 100, 1000];

#[derive(Default)]
struct Holds {
    held: Vec<u64>,
    windows: Vec<u64>,
    losses: usize,
}

impl Holds {
    fn percentile(sorted: &[u64], percent: usize) -> f64 {
        let last = sorted.len().saturating_sub(1);
        sorted.get((sorted.len() * percent / 100).min(last)).map_or(f64::NAN, |ns| *ns as f64 / 1000.0)
    }

    /// p50, p99 and maximum of the holds and the median window, in microseconds.
    fn figures(&mut self) -> [f64; 4] {
        self.held.sort_unstable();
        self.windows.sort_unstable();
        [
            Self::percentile(&self.held, 50),
            Self::percentile(&self.held, 99),
            Self::percentile(&self.held, 100),
            Self::percentile(&self.windows, 50),
        ]
    }
}

fn ours(pid: Pid, stop: StopMode, arena: &mut Arena, holds: &mut Holds) {
    let process = ProcDir::open(pid).expect("the target is alive");
    let captured = capture::take(&process, stop, arena).expect("the target can be captured");
    holds.held.extend(captured.threads.iter().filter_map(|thread| match thread.hold {
        Hold::Held(time) => u64::try_from(time.as_nanos()).ok(),
        Hold::Untouched => None,
    }));
    // On a busy machine a thread may not get a CPU in time to stop; it is let go, and counted.
    holds.losses += captured.notices.len();
    holds.windows.push(u64::try_from(captured.window.as_nanos()).unwrap_or(u64::MAX));
}

fn floor(program: &Path, pid: Pid, stop: StopMode, holds: &mut Holds) {
    let mode = if stop == StopMode::All { "all" } else { "one" };
    let output = Command::new(program).args([&pid.to_string(), mode, "1"]).output().expect("the floor runs");
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        match line.strip_prefix("window ") {
            Some(window) => holds.windows.push(window.parse().expect("a number")),
            None => holds.held.push(line.parse().expect("a number")),
        }
    }
}

/// The longest gap that a heartbeat inside the target saw in each round; the median of the rounds.
fn gap(shared: &File, rounds: usize, mut round: impl FnMut()) -> f64 {
    let mut gaps: Vec<u64> = (0..rounds)
        .map(|_| {
            shared.write_all_at(&[0; 8], 0).expect("the shared file");
            round();
            let mut longest = [0; 8];
            shared.read_exact_at(&mut longest, 0).expect("the shared file");
            u64::from_ne_bytes(longest)
        })
        .collect();
    gaps.sort_unstable();
    Holds::percentile(&gaps, 50)
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let rounds = arguments
        .windows(2)
        .find(|pair| pair[0] == "--rounds")
        .map_or(20, |pair| pair[1].parse().expect("--rounds takes a number"));
    let (parked, bare) = (target::compile("parked"), target::compile("floor"));
    let mut arena = Arena::default();
    println!("microseconds; {rounds} rounds of each; held per thread, window per snapshot");
    println!(
        "{:>7}  {:<4} {:<9} {:>9} {:>9} {:>9} {:>10}   heartbeat gap",
        "threads", "stop", "", "held p50", "p99", "max", "window"
    );
    for threads in THREADS {
        let shared = Path::new(env!("CARGO_TARGET_TMPDIR")).join("heartbeat");
        fs::write(&shared, [0; 4096]).expect("the shared file");
        let shared_file = File::options().read(true).write(true).open(&shared).expect("the shared file");
        for stop in [StopMode::OneAtATime, StopMode::All] {
            let word = if stop == StopMode::All { "all" } else { "auto" };
            let (mut mine, mut bare_holds) = (Holds::default(), Holds::default());
            {
                let quiet = target::start(&parked, threads, None);
                ours(quiet.pid(), stop, &mut arena, &mut Holds::default());
                for _ in 0..rounds {
                    floor(&bare, quiet.pid(), stop, &mut bare_holds);
                    ours(quiet.pid(), stop, &mut arena, &mut mine);
                }
            }
            let beating = target::start(&parked, threads, Some(&shared));
            let idle = gap(&shared_file, rounds, || std::thread::sleep(Duration::from_millis(20)));
            let bare_gap = gap(&shared_file, rounds, || floor(&bare, beating.pid(), stop, &mut Holds::default()));
            let my_gap = gap(&shared_file, rounds, || ours(beating.pid(), stop, &mut arena, &mut Holds::default()));
            let (floor_figures, my_figures) = (bare_holds.figures(), mine.figures());
            let row = |name: &str, [p50, p99, max, window]: [f64; 4], gap: f64| {
                println!(
                    "{threads:>7}  {word:<4} {name:<9} {p50:>9.1} {p99:>9.1} {max:>9.1} {window:>10.0} {gap:>15.1}"
                );
            };
            row("floor", floor_figures, bare_gap);
            row("hangsnap", my_figures, my_gap);
            let ratio = |index: usize| my_figures[index] / floor_figures[index];
            println!(
                "{threads:>7}  {word:<4} {:<9} {:>9.2} {:>9.2} {:>9.2} {:>10.2} {:>15.2}   (idle {idle:.1}; {} losses)",
                "ratio",
                ratio(0),
                ratio(1),
                ratio(2),
                ratio(3),
                my_gap / bare_gap,
                mine.losses
            );
        }
    }
}
