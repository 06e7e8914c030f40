//! The first five minutes: what someone types who has just met hangsnap, and what is seen then.

mod chosen;
mod compared;
mod manual;
mod numbers;
mod recordings;
mod registers;
mod states;
mod unchanged;
mod widths;
mod words;
mod zones;

use std::path::Path;

use hangsnap::model::{Recording, Snapshot};
use hangsnap::store::{Reader, Segment};

use crate::support::{Victim, hangsnap, succeed};

/// 2026-07-01 12:00:00 UTC, when Berlin is two hours ahead, in nanoseconds since 1970.
const NOON: i64 = 1_782_907_200_000_000_000;
const SECOND: i64 = 1_000_000_000;

/// One snapshot of a process.
fn snapshot_of(victim: &Victim, directory: &Path) -> Snapshot {
    let file = directory.join("one.hangsnap");
    succeed(hangsnap().args([&victim.pid(), "-o"]).arg(&file));
    let mut reader = Reader::open(&file).expect("it was just written");
    reader.next_snapshot().expect("it can be read").expect("it holds one").expect("it is whole")
}

/// A recording, every 5 s by what it says, of that snapshot at each of these times, numbered from 1
/// on.
fn recorded_at(path: &Path, of: &Snapshot, times: &[i64]) {
    let recording = Recording { interval: Some(std::time::Duration::from_secs(5)), ..Recording::default() };
    let mut segment = Segment::create(path, &recording).expect("a new file");
    for (number, time) in (1..).zip(times) {
        let mut snapshot = of.clone();
        snapshot.number = number;
        snapshot.taken.realtime_ns = *time;
        snapshot.taken.monotonic_ns = (time - NOON + 3600 * SECOND).cast_unsigned();
        segment.append(&snapshot).expect("room for a snapshot");
    }
}
