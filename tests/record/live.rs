//! A recording is read while it is written.

use std::process::Command;
use std::sync::mpsc::{self, TryRecvError};

use hangsnap::store::{Policy, Writer};
use nix::sys::signal::Signal;

use super::made::recording;
use super::{SMALL, numbers, read, store};
use crate::lifecycle::sampler::Sampler;
use crate::support::{Victim, compile, hangsnap, run};

/// While segments are written, ended and removed, whoever reads sees a row of snapshots without a gap, and no damage.
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
        while reads < 60 {
            let (snapshots, damage) = read(&path);
            assert_eq!(damage, [], "after {reads} reads");
            let found = numbers(&snapshots);
            // What was removed while it was read is missing at the beginning or, where reading was slower, further on.
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
    let victim = Victim::start(&mut Command::new(compile("gcc", "sleeper.c", &["-O1", "-g", "-pthread"])));
    let mut command = hangsnap();
    command.args([
        "--pid",
        &victim.pid(),
        "--max-duty",
        "100%",
        "--every",
        "1ms",
        "--keep",
        "stacks",
        "--max-size",
        "1MiB",
        "-o",
    ]);
    let mut sampler = Sampler::start(command.arg(&path));
    sampler.line_with("#2 ");
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
    let before = super::files(&path, "segment");
    let victim = Victim::start(&mut Command::new(compile("gcc", "sleeper.c", &["-O1", "-g", "-pthread"])));
    for every in [&[][..], &["--every", "10ms"]] {
        let mut command = hangsnap();
        command.args(["--pid", &victim.pid()]).args(every).arg("-o").arg(&path);
        let output = run(&mut command);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("exists already"), "{output:?}");
    }
    assert_eq!(super::files(&path, "segment"), before);
    assert_eq!(numbers(&read(&path).0), [1, 2, 3]);
}

#[test]
fn a_recording_whose_directory_is_removed_ends_in_a_clear_message() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("removed.hangsnap");
    let victim = Victim::start(&mut Command::new(compile("gcc", "sleeper.c", &["-O1", "-g", "-pthread"])));
    let mut command = hangsnap();
    command.args(["--pid", &victim.pid(), "--max-duty", "100%", "--every", "5ms", "-o"]);
    let mut sampler = Sampler::start(command.arg(&path));
    sampler.line_with("#2 ");
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
