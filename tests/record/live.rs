//! A recording is read while it is written.

use std::sync::mpsc::{self, TryRecvError};

use hangsnap::store::{Policy, Writer};
use nix::sys::signal::Signal;

use super::made::recording;
use super::{SMALL, files, numbers, read, store};
use crate::lifecycle::sampler::Sampler;
use crate::support::{hangsnap, recorder, run, sleeper, succeed};

/// While segments are written, ended and removed, a reader sees a row of snapshots without a
/// gap, and no damage.
#[test]
fn what_is_being_written_is_read_and_is_not_damaged() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("live.hangsnap");
    let mut writer = Writer::create(&path, &recording(), Policy { max_size: 1 << 20, ..SMALL }).expect("a directory");
    store(&mut writer, 1);
    let (mut reads, mut last_seen) = (0, 0);
    std::thread::scope(|scope| {
        let (stop, stopped) = mpsc::channel::<()>();
        let writing = scope.spawn(move || {
            let mut number = 1;
            // It also ends when the test has failed.
            while stopped.try_recv() == Err(TryRecvError::Empty) {
                number += 1;
                store(&mut writer, number);
            }
            writer.finish().expect("it can be ended");
            number
        });
        while reads < 60 || last_seen <= 300 {
            let (snapshots, damage) = read(&path);
            assert_eq!(damage, [], "after {reads} reads");
            let found = numbers(&snapshots);
            // What was removed while it was read is missing at the beginning or, where reading was
            // slower, further on.
            assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "{found:?}");
            let last = found.last().copied().unwrap_or(last_seen);
            assert!(last >= last_seen, "{last} after {last_seen}");
            last_seen = last;
            reads += 1;
        }
        stop.send(()).expect("it is writing");
        let written = writing.join().expect("it writes");
        assert!(written > 300, "{written} snapshots were written");
        assert_eq!(numbers(&read(&path).0).last(), Some(&written));
    });
}

#[test]
fn a_sampler_at_work_is_listed_shown_and_compared() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("live.hangsnap");
    let victim = sleeper();
    let mut command = recorder(&victim.pid(), "1ms");
    command.args(["--keep", "stacks", "--max-size", "1MiB", "-o"]);
    let mut sampler = Sampler::start(command.arg(&path));
    sampler.samples(2);
    for _ in 0..20 {
        for arguments in [&["list"][..], &["list", "--json"], &["show"], &["diff"], &["check"]] {
            let output = run(hangsnap().arg(arguments[0]).arg(&path).args(&arguments[1..]));
            assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
            assert!(output.stderr.is_empty(), "{arguments:?}: {output:?}");
        }
    }
    sampler.signal(Signal::SIGTERM);
    sampler.end().in_order();
}

#[test]
fn a_recording_is_never_written_to_by_another_sampler() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = super::write(directory.path(), 1..=3, SMALL);
    let before = files(&path, "segment");
    let victim = sleeper();
    for every in [&[][..], &["--every", "10ms"]] {
        let mut command = hangsnap();
        command.args(["--pid", &victim.pid()]).args(every).arg("-o").arg(&path);
        let output = run(&mut command);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("exists already"), "{output:?}");
    }
    assert_eq!(files(&path, "segment"), before);
    assert_eq!(numbers(&read(&path).0), [1, 2, 3]);
}

#[test]
fn a_recording_whose_directory_is_removed_ends_in_a_clear_message() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("removed.hangsnap");
    let victim = sleeper();
    let mut command = recorder(&victim.pid(), "5ms");
    command.arg("-o");
    let mut sampler = Sampler::start(command.arg(&path));
    sampler.samples(2);
    // The sampler may make a file between the two steps of this, but not for ever.
    crate::support::until("it is removed", crate::lifecycle::sampler::PATIENCE, || {
        std::fs::remove_dir_all(&path).is_ok() || !path.exists()
    });
    let ended = sampler.end();
    assert_eq!(ended.status.code(), Some(2), "{:?}", ended.lines);
    assert!(
        ended.complaints.contains("removed.hangsnap has been removed while it was being written"),
        "{}",
        ended.complaints
    );
}

/// Between two segments none is open, and the recording is being written all the same.
#[test]
fn a_recording_between_two_segments_is_neither_scrubbed_nor_is_its_last_segment_repaired() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("live.hangsnap");
    let mut writer = Writer::create(&path, &recording(), Policy { max_size: 1 << 20, ..SMALL }).expect("a directory");
    let mut number = 0;
    while files(&path, "index").len() < 2 {
        number += 1;
        store(&mut writer, number);
    }
    assert_eq!(files(&path, "segment").len(), 2, "the next one has not been begun");
    let [first, last] = [0, 1].map(|at| files(&path, "segment")[at].clone());
    let before = std::fs::read(&first).expect("it is there");
    for scrubbed in [&path, &first] {
        let output = run(hangsnap().arg("scrub").arg(scrubbed));
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("is being written"), "{output:?}");
    }
    assert!(std::fs::read(&first).expect("it is there") == before);
    // The index of the one before is missing for good; that of the last one may just not be there
    // yet.
    for segment in [&first, &last] {
        std::fs::remove_file(segment.with_extension("index")).expect("it is there");
    }
    let told = succeed(hangsnap().arg("check").arg(&path).arg("--repair"));
    assert!(told.contains("; it is being written\n"), "{told}");
    assert!(told.contains("00000002.segment: is being written, and gets its index when it ends"), "{told}");
    assert_eq!(told.matches("rebuilt").count(), 1, "{told}");
    assert!(first.with_extension("index").exists() && !last.with_extension("index").exists());
    store(&mut writer, number + 1);
    writer.finish().expect("it can be ended");
    assert_eq!(numbers(&read(&path).0), (1..=number + 1).collect::<Vec<_>>());
    let told = succeed(hangsnap().arg("check").arg(&path).arg("--repair"));
    assert!(!told.contains("is being written"), "{told}");
    succeed(hangsnap().arg("scrub").arg(&path));
}

#[test]
fn a_segment_that_a_sampler_is_writing_is_not_called_repaired() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("live.hangsnap");
    let victim = sleeper();
    let mut command = recorder(&victim.pid(), "5ms");
    command.arg("-o");
    let mut sampler = Sampler::start(command.arg(&path));
    sampler.samples(2);
    let told = succeed(hangsnap().arg("check").arg(&path).arg("--repair"));
    assert!(told.contains("00000001.segment: is being written") && !told.contains("rebuilt"), "{told}");
    assert_eq!(run(hangsnap().arg("scrub").arg(&path)).status.code(), Some(2));
    sampler.signal(Signal::SIGTERM);
    sampler.end().in_order();
    succeed(hangsnap().arg("scrub").arg(&path));
}
