//! How long `why` takes until its first line, and what the facts about waits cost a listing.
//!
//!     cargo bench --bench why                    100 and 1,000 threads that sleep
//!     cargo bench --bench why -- --before PROGRAM    beside another hangsnap, in turns
//!
//! Medians, in milliseconds, warm. `stuck` on a long recording is measured by the test
//! `hangs::hostile::a_long_recording_of_many_threads_is_judged_in_time`.

#![allow(unreachable_pub, reason = "`pub` is what the modules of one program offer each other")]

#[path = "programs/target.rs"]
mod target;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const ROUNDS: usize = 9;
/// Threads, the arguments, and the most that the first line may take.
const CASES: [(usize, &[&str], Option<Duration>); 4] = [
    (100, &["why", "--once"], Some(Duration::from_millis(300))),
    (100, &["why"], Some(Duration::from_millis(1300))),
    (100, &[], None),
    (1000, &[], None),
];
/// How much longer a listing may take than that of a program without these facts.
const MOST: f64 = 1.25;

fn argument(name: &str) -> Option<String> {
    let arguments: Vec<String> = std::env::args().collect();
    arguments.windows(2).find(|pair| pair[0] == name).map(|pair| pair[1].clone())
}

/// Until the first line, and until the end.
fn time(program: &str, arguments: &[&str], pid: &str) -> (Duration, Duration) {
    let mut command = Command::new(program);
    command.args(arguments).args(["--pid", pid]).stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::piped());
    let begun = Instant::now();
    let mut child = command.spawn().expect("it can be run");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    assert!(lines.next().is_some_and(|line| line.is_ok()), "{command:?} printed nothing");
    let first = begun.elapsed();
    assert!(lines.all(|line| line.is_ok()), "{command:?} printed no text");
    child.wait().expect("our own child");
    (first, begun.elapsed())
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1000.0
}

fn main() {
    let before = argument("--before");
    let parked = target::compile("parked", &[]);
    println!("{:<24} {:>10} {:>10} {:>10}", "", "first line", "last line", "before");
    for (threads, arguments, goal) in CASES {
        let running = match target::start(Command::new(&parked).arg(threads.to_string())) {
            Ok(running) => running,
            Err(why) => {
                eprintln!("SKIPPED: {threads} threads: {why}");
                continue;
            }
        };
        let pid = running.pid().to_string();
        let other = before.as_ref().filter(|_| arguments.is_empty());
        let (mut first, mut last, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let (to_first, to_last) = time(env!("CARGO_BIN_EXE_hangsnap"), arguments, &pid);
            let beside = other.map(|program| time(program, arguments, &pid).1);
            // The first round warms the caches.
            if round > 0 {
                first.push(to_first);
                last.push(to_last);
                others.extend(beside);
            }
        }
        let (first, last) = (median(first), median(last));
        let word = |is_reached: bool| if is_reached { "reached" } else { "NOT REACHED" };
        let mut notes = String::new();
        if !others.is_empty() {
            let before = median(others);
            let ratio = last / before;
            notes = format!("{before:>10.1}   {ratio:.2} of it, at most {MOST}: {}", word(ratio <= MOST));
        }
        if let Some(goal) = goal {
            let most = goal.as_secs_f64() * 1000.0;
            notes = format!("{:>10}   first line within {most} ms: {}", "", word(first <= most));
        }
        println!("{:<24} {first:>10.1} {last:>10.1} {notes}", format!("{threads} threads {}", arguments.join(" ")));
    }
}
