//! What is removed of a recording while it is written, and what stays.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hangsnap::store::{Policy, Writer};
use nix::sys::signal::Signal;

use super::made::{recording, taken};
use super::{SMALL, files, numbers, read, store, write};
use crate::lifecycle::sampler::{PATIENCE, Sampler};
use crate::support::{hangsnap, recorder, sleeper, succeed, until};

fn bytes(paths: &[std::path::PathBuf]) -> u64 {
    paths.iter().map(|path| fs::metadata(path).expect("it is there").len()).sum()
}

/// Stores snapshots until there are this many segments, and returns the number of the last one.
fn store_segments(writer: &mut Writer, segments: usize) -> u64 {
    let mut number = 0;
    while files(writer.path(), "segment").len() < segments {
        number += 1;
        store(writer, number);
    }
    number
}

#[test]
fn a_recording_stays_as_small_as_it_is_to_be() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let policy = Policy { max_size: 1 << 20, ..SMALL };
    let mut writer =
        Writer::create(&directory.path().join("small.hangsnap"), &recording(), policy).expect("a directory");
    let path = writer.path().to_path_buf();
    for number in 1..=3000 {
        store(&mut writer, number);
        if number.is_multiple_of(100) {
            let size = bytes(&files(&path, "segment")) + bytes(&files(&path, "index"));
            // A segment ends with the record that makes it long enough.
            assert!(size <= policy.max_size + (64 << 10), "{size} bytes after {number} snapshots");
        }
    }
    writer.finish().expect("it can be ended");
    let left = numbers(&read(&path).0);
    assert_eq!(left.last(), Some(&3000));
    assert!(left[0] > 1 && left.windows(2).all(|pair| pair[1] == pair[0] + 1), "the oldest are gone: {left:?}");
    let size = bytes(&files(&path, "segment"));
    assert!(size > policy.max_size / 2, "no more was removed than had to be: {size} bytes are left");
    let (segments, indexes) = (files(&path, "segment"), files(&path, "index"));
    assert_eq!(segments.len(), indexes.len(), "an index goes with its segment: {segments:?} {indexes:?}");
}

#[test]
fn what_is_pinned_stays_and_does_not_count() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let policy = Policy { max_size: 1 << 18, ..SMALL };
    let path = directory.path().join("pinned.hangsnap");
    let mut writer = Writer::create(&path, &recording(), policy).expect("a directory");
    let begun = store_segments(&mut writer, 3);
    let first = files(&path, "segment");
    let kept = numbers(&read(&first[0]).0);
    let time = |number: u64| jiff::Timestamp::from_nanosecond(taken(number).into()).expect("a time").to_string();
    let of_two = [time(kept[0]), time(kept[1])];
    let told = succeed(hangsnap().arg("pin").arg(&path).args(["--from", &of_two[0], "--to", &of_two[1]]));
    assert!(told.starts_with("pinned: 1 segment with "), "{told}");
    for number in begun + 1..=3000 {
        store(&mut writer, number);
    }
    let left = numbers(&read(&path).0);
    assert_eq!(left[..kept.len()], kept, "the pinned segment is whole");
    assert!(left[kept.len()] > kept.len() as u64 + 1, "others behind it are gone");
    let others: Vec<_> = files(&path, "segment").into_iter().filter(|segment| *segment != first[0]).collect();
    assert!(bytes(&others) > policy.max_size / 2, "as many others are there as without it");
    let told = succeed(hangsnap().arg("pin").arg(&path).arg("--undo"));
    assert!(told.starts_with("no longer pinned: 1 segment with "), "{told}");
    for number in 3001..=4000 {
        store(&mut writer, number);
    }
    writer.finish().expect("it can be ended");
    assert!(numbers(&read(&path).0)[0] > kept[kept.len() - 1], "it goes when it is no longer pinned");
    assert_eq!(files(&path, "pin"), Vec::<std::path::PathBuf>::new());
}

const AGE: Duration = Duration::from_millis(300);

#[test]
fn what_is_too_old_is_removed_and_not_what_is_being_written() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let policy = Policy { max_size: 1 << 18, keep_for: Some(AGE), ..SMALL };
    let path = directory.path().join("aging.hangsnap");
    let mut writer = Writer::create(&path, &recording(), policy).expect("a directory");
    let first = store_segments(&mut writer, 3);
    let (mut number, begun) = (first, Instant::now());
    let mut old = files(&path, "segment");
    let current = old.pop().expect("the one being written");
    until("the old ones are removed", PATIENCE, || {
        if begun.elapsed() >= AGE {
            number += 1;
            store(&mut writer, number);
        }
        old.iter().all(|segment| !segment.exists())
    });
    // They went because of their age: so few snapshots need no room of theirs.
    assert!(current.exists() && number < first + 10, "{number} snapshots, {first} at first");
    writer.finish().expect("it can be ended");
    assert_eq!(numbers(&read(&path).0).last(), Some(&number), "what was written last is there");
}

#[test]
fn a_real_sampler_keeps_to_its_bounds() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("bounded.hangsnap");
    let victim = sleeper();
    let mut command = recorder(&victim.pid(), "1ms");
    command.args(["--keep", "stacks", "--max-size", "1MiB", "-o"]);
    let mut sampler = Sampler::start(command.arg(&path));
    sampler.line_with("#1 ");
    until("the first segment is removed", PATIENCE, || !path.join("00000001.segment").exists());
    sampler.signal(Signal::SIGTERM);
    sampler.end().in_order();
    let size = bytes(&files(&path, "segment")) + bytes(&files(&path, "index"));
    assert!(size <= (1 << 20) + (64 << 10), "{size} bytes");
    assert!(succeed(hangsnap().arg("check").arg(&path)).contains(": whole; "));
}

#[test]
fn only_its_owner_may_read_a_recording() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o7777;
    let victim = sleeper();
    // With a mask that would allow everybody everything.
    let mut command = Command::new("sh");
    let script = "umask 0; \"$0\" --pid \"$1\" --every 50ms --count 2 -o \"$2\" && \"$0\" --pid \"$1\" -o \"$3\" && \"$0\" pin \"$2\"";
    let (path, single) = (directory.path().join("several.hangsnap"), directory.path().join("single.hangsnap"));
    succeed(command.args(["-c", script]).arg(hangsnap().get_program()).arg(victim.pid()).arg(&path).arg(&single));
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&single), 0o600);
    for file in ["00000001.segment", "00000001.index", "00000001.pin"] {
        assert_eq!(mode(&path.join(file)), 0o600, "{file}");
    }
    assert_eq!(fs::read_dir(&path).expect("it is there").count(), 3, "and nothing else");
    let made = write(directory.path(), 1..=3, SMALL);
    assert_eq!(mode(&made), 0o700);
}
