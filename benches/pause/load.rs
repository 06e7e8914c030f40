//! On a machine that has more to do than it can: every thread is captured, in a time that is
//! compared with that of reading all in place and of eu-stack, and none is held for longer than was
//! promised.

use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::figures::{Holds, percentile};
use crate::takers::{MAX_HOLD, Mode, add, record, scratch};
use crate::target;

/// Busy processes for each CPU, sleeping threads, running threads: in the short form, and in the
/// long one.
const SHORT: ([usize; 1], [usize; 2], [usize; 3]) = ([4], [100, 1000], [8, 32, 64]);
const LONG: ([usize; 3], [usize; 3], [usize; 4]) = ([4, 10, 30], [100, 1000, 10_000], [8, 32, 64, 256]);
/// Longer than eu-stack takes for ten thousand threads.
const PATIENCE: &str = "120";

/// How long a hold may last: `--max-hold` and a millisecond, as the kernel lets go of a thread when
/// it has been asked to and not before.
const LONGEST: Duration = Duration::from_millis(10 + 1);
/// Recordings are thrown away piece by piece; all together would fill a small disk.
const PIECE: usize = 500;

/// Processes that only compute, a number of them for each CPU. They end when this is dropped.
struct Load(Vec<Child>);

impl Load {
    fn start(for_each_cpu: usize) -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        // Whatever happens to this bench, they do not work for ever.
        let busy = || Command::new("sh").args(["-c", "ulimit -t 1800; while :; do :; done"]).spawn().expect("a shell");
        Self((0..for_each_cpu * cpus).map(|_| busy()).collect())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Takes this many snapshots of a process of this many threads under load, and says how long
/// threads were held.
pub fn run(threads: usize, snapshots: usize) {
    let parked = target::compile("parked", &[]);
    let running = match target::start(Command::new(parked).arg(threads.to_string())) {
        Ok(running) => running,
        Err(why) => return eprintln!("SKIPPED: {threads} threads: {why}"),
    };
    let pid = running.pid().to_string();
    let load = Load::start(2);
    println!("\n{threads} threads, {} busy processes, {snapshots} snapshots; holds in microseconds", load.0.len());
    println!("{:<4} {:>9} {:>9} {:>9} {:>10} {:>8} {:>7}", "stop", "p50", "p99", "max", "too long", "losses", "took");
    for mode in [Mode::Auto, Mode::All] {
        let begun = Instant::now();
        let mut holds = Holds::default();
        let mut taken = 0;
        while taken < snapshots {
            let piece = record(&pid, mode, MAX_HOLD, "1ms", &PIECE.min(snapshots - taken).to_string());
            taken += piece.len();
            piece.iter().for_each(|snapshot| add(snapshot, &mut holds));
        }
        let limit = LONGEST.as_nanos();
        let too_long = holds.held.iter().filter(|held| u128::from(**held) > limit).count();
        let [p50, p99, max] = [50, 99, 100].map(|percent| percentile(&mut holds.held, percent));
        println!(
            "{:<4} {p50:>9.1} {p99:>9.1} {max:>9.1} {:>10} {:>8} {:>6.0}s",
            mode.word(),
            format!("{too_long}{}", if too_long == 0 { "" } else { " NO" }),
            holds.losses,
            begun.elapsed().as_secs_f64()
        );
    }
}

/// Sleeping threads under load, and running ones on a machine that has nothing else to do: what is
/// captured, how long that takes and how long the longest hold is, beside `--stop none` and
/// eu-stack.
pub fn table(is_long: bool) {
    let (loads, sleeping, running): (&[usize], &[usize], &[usize]) =
        if is_long { (&LONG.0, &LONG.1, &LONG.2) } else { (&SHORT.0, &SHORT.1, &SHORT.2) };
    println!("captured whole, of all threads; milliseconds of wall time; the longest hold in microseconds");
    println!(
        "{:>8} {:>9} {:>8}  {:<20} {:>9} {:>9} {:>9}",
        "threads", "", "load/CPU", "", "captured", "wall", "longest"
    );
    for &load in loads {
        for &threads in sleeping {
            rows("parked", threads, "asleep", load);
        }
    }
    for &threads in running {
        rows("spinning", threads, "running", 0);
    }
}

fn rows(program: &str, threads: usize, kind: &str, load: usize) {
    let program = target::compile(program, &[]);
    let target = match target::start(Command::new(program).arg(threads.to_string())) {
        Ok(target) => target,
        Err(why) => return eprintln!("SKIPPED: {threads} threads: {why}"),
    };
    let pid = target.pid().to_string();
    let _load = Load::start(load);
    let row = |name: &str, captured: f64, wall: f64, longest: f64| {
        println!("{threads:>8} {kind:>9} {load:>8}  {name:<20} {captured:>8.2}% {wall:>9.0} {longest:>9.0}");
    };
    for stop in ["auto", "all", "none"] {
        let words = [env!("CARGO_BIN_EXE_hangsnap"), "--pid", &pid, "--stop", stop, "--json"];
        let Some((wall, printed)) = timed(&words) else {
            continue;
        };
        let snapshot: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
        let all = snapshot["threads"].as_array().expect("threads");
        let is_whole = |thread: &&serde_json::Value| thread["how"] != "not-captured" && thread["incomplete"].is_null();
        let whole = all.iter().filter(is_whole).count();
        let longest = snapshot["longest_hold_ns"].as_f64().unwrap_or_default() / 1000.0;
        row(&format!("hangsnap --stop {stop}"), 100.0 * whole as f64 / all.len() as f64, wall, longest);
    }
    if let Some((wall, printed)) = timed(&["eu-stack", "-n", "0", "-p", &pid]) {
        // The main thread is one more.
        let stacks = printed.lines().filter(|line| line.starts_with("#0")).count();
        row("eu-stack", 100.0 * stacks as f64 / (threads + 1) as f64, wall, f64::NAN);
    }
}

/// How long a program took in milliseconds, and what it printed. None, which is said, when it
/// cannot be run.
fn timed(words: &[&str]) -> Option<(f64, String)> {
    let output = scratch("load.out");
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", PATIENCE]).args(words).stdin(Stdio::null()).stderr(Stdio::null());
    let begun = Instant::now();
    let status = command.stdout(File::create(&output).expect("a file")).status().expect("timeout is there");
    let wall = begun.elapsed().as_secs_f64() * 1000.0;
    if !status.success() {
        eprintln!("SKIPPED: {}: {status}", words[0]);
        return None;
    }
    Some((wall, std::fs::read_to_string(&output).expect("what it printed")))
}
