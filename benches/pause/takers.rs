//! Takers of snapshots: the floor and the built hangsnap, each as a program of its own, as
//! users run it.
//!
//! Both take blocks of rounds at the same pace, and the first round of a block warms them and is
//! not counted. What hangsnap held comes from its recording.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use hangsnap::model::{Acquired, Snapshot};
use hangsnap::store::Reader;

use crate::figures::Holds;

/// hangsnap's default `--max-hold`.
pub const MAX_HOLD: &str = "10ms";

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// hangsnap's default, beside the floor's one thread at a time.
    Auto,
    All,
}

impl Mode {
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::All => "all",
        }
    }
}

/// One block: this many counted rounds, so far apart.
#[derive(Clone, Copy)]
pub struct Block {
    pub rounds: usize,
    pub pause: Duration,
}

impl Block {
    /// Threads that are many need long to be looked at; the pause leaves the machine time to be
    /// quiet again.
    pub fn for_threads(threads: usize, rounds: usize) -> Self {
        Self { rounds, pause: Duration::from_micros(200 * threads as u64) }
    }
}

pub fn floor(program: &Path, pid: &str, mode: Mode, block: Block, holds: &mut Holds) {
    let how = if mode == Mode::All { "all" } else { "one" };
    let (rounds, pause) = ((block.rounds + 1).to_string(), block.pause.as_micros().to_string());
    let output = succeed(Command::new(program).args([pid, how, &rounds, &pause]));
    let mut round = Vec::new();
    let mut is_warm = false;
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        match line.strip_prefix("window ") {
            None => round.push(line.parse().expect("a number")),
            Some(window) => {
                if is_warm {
                    holds.windows.push(window.parse().expect("a number"));
                    holds.held.append(&mut round);
                }
                round.clear();
                is_warm = true;
            }
        }
    }
}

pub fn hangsnap(pid: &str, mode: Mode, block: Block, holds: &mut Holds) {
    let (every, count) = (format!("{}us", block.pause.as_micros()), (block.rounds + 1).to_string());
    // All threads at once are compared however long that takes; by default they would be held a few
    // at a time instead.
    let max_hold = if mode == Mode::All { "10s" } else { MAX_HOLD };
    for snapshot in record(pid, mode, max_hold, &every, &count).iter().skip(1) {
        add(snapshot, holds);
    }
}

/// Adds what one snapshot held.
pub fn add(snapshot: &Snapshot, holds: &mut Holds) {
    holds.held.extend(snapshot.threads.iter().filter_map(|thread| match thread.acquired {
        Acquired::Held(time) => u64::try_from(time.as_nanos()).ok(),
        _ => None,
    }));
    holds.windows.push(u64::try_from(snapshot.window.as_nanos()).unwrap_or(u64::MAX));
    // On a busy machine a thread may not get a CPU in time to stop; it is let go, and counted.
    holds.losses += snapshot.notices.len();
}

/// Records this many samples and returns those that were stored.
pub fn record(pid: &str, mode: Mode, max_hold: &str, every: &str, count: &str) -> Vec<Snapshot> {
    let file = scratch("pause.hangsnap");
    // A recording is never overwritten; one may be left of a bench that was killed.
    let _ = fs::remove_dir_all(&file);
    let mut command = Command::new(env!("CARGO_BIN_EXE_hangsnap"));
    command.args(["--pid", pid, "--every", every, "--count", count, "--stop", mode.word()]);
    // The pace is the bench's: it is not to be slowed down for the target's sake.
    command.args(["--max-hold", max_hold, "--max-duty", "100%", "-o"]).arg(&file);
    // With the bytes of all stacks, each thread is looked at each time, whether or not it has run.
    command.args(["--keep", "stacks"]);
    succeed(&mut command);
    let mut reader = Reader::open(&file).expect("it was just written");
    let mut snapshots = Vec::new();
    while let Some(snapshot) = reader.next_snapshot().expect("it was just written") {
        snapshots.push(snapshot.expect("to its end"));
    }
    fs::remove_dir_all(&file).expect("it was just read");
    snapshots
}

/// A file of this name that is for benches only.
pub fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn succeed(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().expect("it was just built");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}
