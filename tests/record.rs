//! Recordings on disk: what is left of them by whatever may happen, and that nothing else is ever
//! read from them.
//!
//! Most of these write snapshots that are made up, each by its number alone, so that what is read
//! can be compared with what was to be written, field by field.

mod check;
mod chosen;
mod clock;
mod crash;
mod damage;
mod durable;
mod extract;
mod golden;
mod index;
mod live;
pub mod made;
mod mended;
mod restarts;
mod retention;
mod room;
mod scrubbed;
mod unreadable;

use std::fs;
use std::path::{Path, PathBuf};

use hangsnap::model::Snapshot;
use hangsnap::store::{Damage, Policy, Reader, Stored, Writer};

use made::{recording, snapshot};

/// Recordings of a few segments: an eighth of this is as long as a segment gets.
const SMALL: Policy =
    Policy { max_size: 64 << 20, earlier_count: true, keep_for: None, sync: hangsnap::store::Sync::Never };

/// Records the snapshots with these numbers.
fn write(directory: &Path, numbers: std::ops::RangeInclusive<u64>, policy: Policy) -> PathBuf {
    let path = directory.join("made.hangsnap");
    let mut writer = Writer::create(&path, &recording(), policy).expect("a new directory");
    for number in numbers {
        store(&mut writer, number);
    }
    writer.finish().expect("it can be ended");
    path
}

/// Records enough snapshots for several segments, and returns the number of the last one.
fn write_segments(directory: &Path) -> (PathBuf, u64) {
    let path = directory.join("made.hangsnap");
    let policy = Policy { max_size: 2 << 20, ..SMALL };
    let mut writer = Writer::create(&path, &recording(), policy).expect("a new directory");
    let mut number = 0;
    // Fewer than would make the first one go.
    while files(&path, "segment").len() < 5 {
        number += 1;
        store(&mut writer, number);
    }
    writer.finish().expect("it can be ended");
    (path, number)
}

fn store(writer: &mut Writer, number: u64) {
    match writer.append(&snapshot(number)).expect("it can be written") {
        Stored::Yes { .. } => {}
        Stored::NoRoom { why, .. } => panic!("{why}"),
    }
}

/// Everything that can be read of a recording, and what is said to be lost.
fn read(path: &Path) -> (Vec<Snapshot>, Vec<Damage>) {
    let mut reader = Reader::open(path).expect("a recording");
    let (mut snapshots, mut damage) = (Vec::new(), Vec::new());
    while let Some(next) = reader.next_snapshot().expect("it can be read") {
        match next {
            Ok(snapshot) => snapshots.push(snapshot),
            Err(lost) => damage.push(lost),
        }
    }
    (snapshots, damage)
}

/// The numbers of what was read. Each is as it was made.
fn numbers(snapshots: &[Snapshot]) -> Vec<u64> {
    for read in snapshots {
        assert!(*read == snapshot(read.number), "snapshot {} is not what was written", read.number);
    }
    snapshots.iter().map(|snapshot| snapshot.number).collect()
}

/// The files of a recording that end like this, in order.
fn files(recording: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(recording).expect("a recording").map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == extension)).collect();
    files.sort();
    files
}
