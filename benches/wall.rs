//! How long it takes to print every stack of a process, from start to last line, beside eu-stack,
//! gdb and py-spy in one run.
//!
//!     cargo bench --bench wall                               1 to 10,000 threads, warm; and Python
//!     cargo bench --bench wall -- --threads 1000 --rounds 5
//!
//! Output goes to a file, as it would be kept. The programs take turns; medians are printed, and
//! beside the goals whether they are reached. gdb takes long and varies little, so it gets a few
//! rounds, and none with more than 1,000 threads. py-spy is the one that $PY_SPY names, or the one
//! in $PATH; without it its rows are left out, and that is said.

#![allow(unreachable_pub, reason = "`pub` is what the modules of one program offer each other")]

#[path = "programs/target.rs"]
mod target;

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use target::Running;

/// Milliseconds, and the part of what eu-stack takes.
type Goals = Option<(f64, f64)>;

/// Threads, rounds, and the goals if there are any.
const SIZES: [(usize, usize, Goals); 4] =
    [(1, 40, Some((10.0, 1.2))), (100, 20, Some((25.0, 0.15))), (1000, 9, Some((60.0, 0.04))), (10_000, 3, None)];
const MOST_OF_GDB: usize = 1000;
const ROUNDS_OF_GDB: usize = 3;
const PYTHON: &str = "import threading, time\n\
    def wait(depth):\n    time.sleep(1e6) if depth == 0 else wait(depth - 1)\n\
    for _ in range(4): threading.Thread(target=wait, args=(10,), daemon=True).start()\n\
    print('ready', flush=True)\nwait(10)\n";

fn argument(name: &str) -> Option<usize> {
    let arguments: Vec<String> = std::env::args().collect();
    let found = arguments.windows(2).find(|pair| pair[0] == name);
    found.map(|pair| pair[1].parse().expect("a number"))
}

fn time(command: &mut Command) -> Duration {
    let output = File::create(Path::new(env!("CARGO_TARGET_TMPDIR")).join("wall.out")).expect("a file");
    let begun = Instant::now();
    let status = command.stdin(Stdio::null()).stdout(output).stderr(Stdio::null()).status();
    let took = begun.elapsed();
    assert!(status.is_ok_and(|status| status.success()), "{command:?} failed; tests/run installs what is needed");
    took
}

/// A program that prints stacks, and how many rounds it takes part in.
struct Taker {
    name: &'static str,
    command: Command,
    rounds: usize,
    times: Vec<Duration>,
}

impl Taker {
    fn new(name: &'static str, program: &str, arguments: &[&str], rounds: usize) -> Self {
        let mut command = Command::new(program);
        command.args(arguments);
        Self { name, command, rounds, times: Vec::new() }
    }

    fn median(&mut self) -> f64 {
        self.times.sort_unstable();
        self.times[self.times.len() / 2].as_secs_f64() * 1000.0
    }
}

/// The first round warms the caches, and does not count.
fn take_turns(takers: &mut [Taker]) {
    let rounds = takers.iter().map(|taker| taker.rounds).max().unwrap_or(0);
    for round in 0..=rounds {
        for taker in takers.iter_mut().filter(|taker| round <= taker.rounds) {
            let took = time(&mut taker.command);
            if round > 0 {
                taker.times.push(took);
            }
        }
    }
}

fn hangsnap(pid: &str, rounds: usize) -> Taker {
    Taker::new("hangsnap", env!("CARGO_BIN_EXE_hangsnap"), &["--pid", pid], rounds)
}

fn print(what: &str, takers: &mut [Taker], goals: Goals) {
    let ours = takers[0].median();
    for taker in takers {
        let median = taker.median();
        let ratio = ours / median;
        let word = |is_reached: bool| if is_reached { "reached" } else { "NOT REACHED" };
        let goal = match (taker.name, goals) {
            ("hangsnap", Some((most, _))) => format!("at most {most} ms: {}", word(ours <= most)),
            ("eu-stack", Some((_, most))) => format!("at most {most}: {}", word(ratio <= most)),
            ("py-spy", _) => format!("less than it: {}", word(ratio < 1.0)),
            _ => String::new(),
        };
        println!("{what:<14} {:<9} {median:>9.1} {ratio:>7.3}   {goal}", taker.name);
    }
}

/// Whether there is a py-spy, and which.
fn py_spy() -> Option<String> {
    let program = std::env::var("PY_SPY").unwrap_or_else(|_| "py-spy".into());
    let found = Command::new(&program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    found.is_ok_and(|status| status.success()).then_some(program)
}

fn main() {
    println!("ms from start to last line, warm, medians; how much of it hangsnap takes; goals");
    let parked = target::compile("parked", &[]);
    for (threads, rounds, goals) in SIZES {
        if argument("--threads").is_some_and(|wanted| wanted != threads) {
            continue;
        }
        let rounds = argument("--rounds").unwrap_or(rounds);
        let running: Running = match target::start(Command::new(&parked).arg(threads.to_string())) {
            Ok(running) => running,
            Err(why) => {
                eprintln!("SKIPPED: {threads} threads: {why}");
                continue;
            }
        };
        let pid = running.pid().to_string();
        let mut takers = vec![hangsnap(&pid, rounds), Taker::new("eu-stack", "eu-stack", &["-p", &pid], rounds)];
        if threads <= MOST_OF_GDB {
            let words =
                ["-batch", "-nx", "-iex", "set debuginfod enabled off", "-p", &pid, "-ex", "thread apply all bt"];
            takers.push(Taker::new("gdb", "gdb", &words, rounds.min(ROUNDS_OF_GDB)));
        }
        take_turns(&mut takers);
        print(&format!("{threads} threads"), &mut takers, goals);
    }
    let Some(py_spy) = py_spy().filter(|_| argument("--threads").is_none()) else {
        return eprintln!("SKIPPED: five threads of Python: there is no py-spy (`pip install py-spy`, or $PY_SPY)");
    };
    let running: Running = target::start(Command::new("python3").args(["-c", PYTHON])).expect("python3");
    let pid = running.pid().to_string();
    let mut takers = [hangsnap(&pid, 20), Taker::new("py-spy", &py_spy, &["dump", "--pid", &pid], 20)];
    take_turns(&mut takers);
    print("python, 5", &mut takers, None);
}
