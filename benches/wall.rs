//! How long it takes to print every stack of a process, from start to last line, beside eu-stack and gdb in one run.
//!
//!     cargo bench --bench wall                   100 threads, 20 rounds, warm
//!     cargo bench --bench wall -- --threads 1000 --rounds 5
//!
//! Output goes to a file, as it would be kept. The programs take turns; medians are printed.

#[path = "programs/target.rs"]
mod target;

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn argument(name: &str, default: usize) -> usize {
    let arguments: Vec<String> = std::env::args().collect();
    let found = arguments.windows(2).find(|pair| pair[0] == name);
    found.map_or(default, |pair| pair[1].parse().expect("a number"))
}

fn time(command: &mut Command) -> Duration {
    let output = File::create(Path::new(env!("CARGO_TARGET_TMPDIR")).join("wall.out")).expect("a file");
    let begun = Instant::now();
    let status = command.stdin(Stdio::null()).stdout(output).stderr(Stdio::null()).status();
    let took = begun.elapsed();
    assert!(status.is_ok_and(|status| status.success()), "{command:?} failed; tests/run installs what is needed");
    took
}

fn main() {
    let (threads, rounds) = (argument("--threads", 100), argument("--rounds", 20));
    let parked = target::compile("parked", &[]);
    let running = target::start(Command::new(parked).arg(threads.to_string())).expect("a target");
    let pid = running.pid().to_string();
    let mut hangsnap = Command::new(env!("CARGO_BIN_EXE_hangsnap"));
    hangsnap.args(["--pid", &pid]);
    let mut eu_stack = Command::new("eu-stack");
    eu_stack.args(["-p", &pid]);
    let mut gdb = Command::new("gdb");
    gdb.args(["-batch", "-nx", "-iex", "set debuginfod enabled off", "-p", &pid, "-ex", "thread apply all bt"]);
    let mut took =
        [("hangsnap", &mut hangsnap, vec![]), ("eu-stack", &mut eu_stack, vec![]), ("gdb", &mut gdb, vec![])];
    for round in 0..=rounds {
        for (name, command, times) in &mut took {
            // gdb takes long and varies little.
            if *name == "gdb" && round > rounds.min(5) {
                continue;
            }
            let time = time(command);
            // The first round warms the caches.
            if round > 0 {
                times.push(time);
            }
        }
    }
    println!("{threads} threads, ms from start to last line, warm, median of {rounds} rounds");
    let mut ours = Duration::ZERO;
    for (name, _, times) in &mut took {
        times.sort_unstable();
        let median = times[times.len() / 2];
        if *name == "hangsnap" {
            ours = median;
        }
        println!(
            "{name:<9} {:>8.1}   hangsnap takes {:.2} of it",
            median.as_secs_f64() * 1000.0,
            ours.as_secs_f64() / median.as_secs_f64()
        );
    }
}
