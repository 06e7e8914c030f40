//! What the target notices of being looked at: nothing.
//!
//! The holder may be killed at any moment; its signals, timers and waits come to what they
//! come to without hangsnap, in every call that a thread can wait in; a target that somebody
//! stopped stays stopped; a thread that cannot be stopped keeps no caller waiting; and hours of a
//! storm cost the sampler no descriptor and no memory.

mod allocations;
mod calls;
mod faults;
mod holdings;
mod killed;
mod matrix;
mod saturated;
mod signals;
mod storm;
mod unchanged;
pub mod unstoppable;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::support::Victim;

/// The 64-bit counters that a victim keeps in a file it shares with the test.
struct Counters(File);

impl Counters {
    fn open(path: &Path) -> Self {
        Self(File::open(path).expect("the victim made it before it was ready"))
    }

    fn get(&self, index: u64) -> u64 {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, index * 8).expect("the victim set its size");
        u64::from_ne_bytes(bytes)
    }

    fn all(&self) -> Vec<u64> {
        let size = self.0.metadata().expect("an open file").len();
        (0..size / 8).map(|index| self.get(index)).collect()
    }
}

/// The state letter and the tracer of each thread.
fn states_and_tracers(victim: &Victim) -> Vec<(char, i32)> {
    let tasks = fs::read_dir(format!("/proc/{}/task", victim.pid())).expect("the victim is alive");
    let status = |task: fs::DirEntry| fs::read_to_string(task.path().join("status")).ok();
    let field = |text: &str, name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a field of every status");
        line.trim().to_owned()
    };
    tasks
        .filter_map(|task| status(task.ok()?))
        .map(|text| {
            let state = field(&text, "State:").chars().next().expect("a letter");
            (state, field(&text, "TracerPid:").parse().expect("a pid"))
        })
        .collect()
}
