//! How long hangsnap holds the threads of a process, beside the same system calls in bare C, in one
//! run.
//!
//!     cargo bench --bench pause                               100, 1,000 and 10,000 threads
//!     cargo bench --bench pause -- --rounds 50 --threads 100  more rounds of one size
//!     cargo bench --bench pause -- --peers                    four peers, too
//!     cargo bench --bench pause -- --load                     only: under load, beside eu-stack
//!     cargo bench --bench pause -- --load --long              more load, 10,000 threads
//!     cargo bench --bench pause -- --load --snapshots 2000    only: under load, against --max-hold
//!
//! Blocks of rounds of hangsnap and of the floor take turns, so that both see the same weather.
//! `held` is per thread, from before the request to stop until after the release; `window` is from
//! the first stop to the last release. The heartbeats are busy threads inside the target that
//! report the longest gap between two beats; they occupy every CPU, so they get rounds of their
//! own. Promised are, of the floor's: for `auto` a p50 and p99 of at most 1.25, for `all` a window
//! of at most 1.15; and for `auto` a gap of at most a millisecond more than the floor's. Each that
//! is promised says whether it is kept.

#![allow(unreachable_pub, reason = "`pub` is what the modules of one program offer each other")]

#[path = "pause/figures.rs"]
mod figures;
#[path = "pause/heartbeat.rs"]
mod heartbeat;
#[path = "pause/load.rs"]
mod load;
#[path = "pause/peers.rs"]
mod peers;
#[path = "pause/takers.rs"]
mod takers;
#[path = "programs/target.rs"]
mod target;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use figures::{Figures, Holds};
use heartbeat::Heartbeat;
use takers::{Block, Mode, floor, hangsnap};

const THREADS: [usize; 3] = [100, 1000, 10_000];
/// Rounds that one program takes before it is the other's turn.
const BLOCK: usize = 5;
const AUTO_PROMISE: f64 = 1.25;
/// By how many microseconds the gap may be longer where busy threads of the target occupy every
/// CPU.
const GAP_PROMISE: f64 = 1000.0;
const ALL_PROMISE: f64 = 1.15;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str| {
        let given = arguments.windows(2).find(|pair| pair[0] == name);
        given.map(|pair| pair[1].parse::<usize>().unwrap_or_else(|_| panic!("{name} takes a number")))
    };
    let flag = |name: &str| arguments.iter().any(|argument| argument == name);
    if flag("--load") {
        match number("--snapshots") {
            Some(snapshots) => load::run(number("--threads").unwrap_or(100), snapshots),
            None => load::table(flag("--long")),
        }
        return;
    }
    let rounds = number("--rounds").unwrap_or(20);
    let sizes = number("--threads").map_or(THREADS.to_vec(), |threads| vec![threads]);
    let (parked, bare) = (target::compile("parked", &[]), target::compile("floor", &[]));
    println!("microseconds; {rounds} rounds of each; held per thread, window per snapshot");
    println!(
        "{:>7}  {:<4} {:<9} {:>9} {:>9} {:>9} {:>10} {:>15}",
        "threads", "stop", "", "held p50", "p99", "max", "window", "heartbeat gap"
    );
    for &threads in &sizes {
        if let Err(why) = compare(&parked, &bare, threads, rounds) {
            eprintln!("SKIPPED: {threads} threads: {why}");
        }
    }
    if flag("--peers") {
        let sizes: Vec<usize> = sizes.into_iter().filter(|&threads| threads <= 1000).collect();
        peers::compare(&sizes, rounds.min(3));
    }
}

/// The floor and hangsnap on a target of this many threads; errors say why there is none.
fn compare(parked: &Path, bare: &Path, threads: usize, rounds: usize) -> Result<(), String> {
    let heartbeat = Heartbeat::new();
    for mode in [Mode::Auto, Mode::All] {
        let (mut ours, mut floors) = (Holds::default(), Holds::default());
        {
            let quiet = target::start(Command::new(parked).arg(threads.to_string()))?;
            let pid = quiet.pid().to_string();
            let block = Block::for_threads(threads, BLOCK.min(rounds));
            for _ in 0..rounds.div_ceil(BLOCK) {
                floor(bare, &pid, mode, block, &mut floors);
                hangsnap(&pid, mode, block, &mut ours);
            }
        }
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let mut busy = Command::new(parked);
        busy.arg(threads.to_string()).arg(heartbeat.path()).arg(cpus.to_string());
        let beating = target::start(&mut busy)?;
        let pid = beating.pid().to_string();
        let once = Block { rounds: 0, pause: Duration::from_millis(1) };
        let idle = heartbeat.gap(rounds, || std::thread::sleep(Duration::from_millis(20)));
        let floors_gap = heartbeat.gap(rounds, || floor(bare, &pid, mode, once, &mut Holds::default()));
        let our_gap = heartbeat.gap(rounds, || hangsnap(&pid, mode, once, &mut Holds::default()));
        let losses = ours.losses;
        let (floors, ours) = (floors.figures(), ours.figures());
        let row = |name: &str, Figures { p50, p99, max, window }: Figures, gap: f64| {
            let word = mode.word();
            println!("{threads:>7}  {word:<4} {name:<9} {p50:>9.1} {p99:>9.1} {max:>9.1} {window:>10.0} {gap:>15.1}");
        };
        row("floor", floors, floors_gap);
        row("hangsnap", ours, our_gap);
        let of_floor = |figure: fn(&Figures) -> f64| figure(&ours) / figure(&floors);
        let (p50, p99, window) = (of_floor(|all| all.p50), of_floor(|all| all.p99), of_floor(|all| all.window));
        let (promise, kept) = match mode {
            Mode::Auto => (AUTO_PROMISE, p50 <= AUTO_PROMISE && p99 <= AUTO_PROMISE),
            Mode::All => (ALL_PROMISE, window <= ALL_PROMISE),
        };
        let word = |kept: bool| if kept { "kept" } else { "NOT KEPT" };
        println!(
            "{threads:>7}  {:<4} {:<9} {p50:>9.2} {p99:>9.2} {:>9.2} {window:>10.2} {:>15.2}   at most {promise}: {}; idle \
             {idle:.1}; {losses} losses",
            mode.word(),
            "ratio",
            of_floor(|all| all.max),
            our_gap / floors_gap,
            word(kept),
        );
        if let Mode::Auto = mode {
            let kept = our_gap <= floors_gap + GAP_PROMISE;
            println!("{:>7}  gap: at most {GAP_PROMISE} us beyond the floor's: {}", "", word(kept));
        }
    }
    Ok(())
}
