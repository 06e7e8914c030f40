//! Which snapshot and which thread is meant, in the words that people use.

use std::path::Path;
use std::process::Output;

use hangsnap::model::{Thread, Tid};

use super::{NOON, SECOND, recorded_at, snapshot_of};
use crate::support::{first_column, hangsnap, run, sleeper, succeed};

fn show(file: &Path, at: &str) -> Output {
    run(hangsnap().arg("show").arg(file).args(["--at", at]))
}

/// The number of the snapshot that is shown, and what is said on standard error.
fn number(output: &Output) -> (u64, String) {
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let printed = String::from_utf8_lossy(&output.stdout);
    let number = printed.lines().nth(1).and_then(|line| line.split(' ').nth(1)?.parse().ok());
    (number.expect("a heading"), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_time_at_which_there_is_nothing_is_answered_with_what_is_shown_instead() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("made.hangsnap");
    // Three snapshots, a gap of an hour, and three more.
    let times: Vec<i64> = [0, 5, 10, 3600, 3605, 3610].map(|second| NOON + second * SECOND).into();
    recorded_at(&file, &snapshot_of(&sleeper(), directory.path()), &times);
    for (at, expected) in [
        ("12:00:05", 2),
        ("12:00:08", 2),
        // Within twice the interval of the recording.
        ("12:00:20", 3),
        ("2026-07-01T13:00:14Z", 6),
        ("first", 1),
        ("last", 6),
        ("-5s", 5),
        ("-0s", 6),
        ("-7s", 4),
        ("-1h", 3),
        ("-3610s", 1),
    ] {
        let (shown, said) = number(&show(&file, at));
        assert_eq!((shown, said.as_str()), (expected, ""), "{at}");
    }
    for (at, expected, parts) in [
        ("12:30:00", 3, ["12:30:00", "the last one before", "12:00:10", "29 min 50 s"]),
        ("14:00:00", 6, ["14:00:00", "the last one", "13:00:10", "59 min 50 s"]),
        ("2026-07-03T13:00:10Z", 6, ["2026-07-03", "the last one", "13:00:10", "48 h"]),
        ("-30m", 3, ["12:30:10", "the last one before", "12:00:10", "30 min"]),
    ] {
        let (shown, said) = number(&show(&file, at));
        assert_eq!(shown, expected, "{at}");
        assert_eq!(said.lines().count(), 1, "{at}: {said}");
        for part in parts {
            assert!(said.contains(part), "{at}: `{part}` is not in {said}");
        }
    }
    // Before all there is: nothing is shown, and when the first is.
    for at in ["11:59:59", "2020-01-01", "-2h"] {
        let output = show(&file, at);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{at}: {output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("1 to 6, the first of 2026-07-01 12:00:00"), "{at}: {said}");
    }
    for nonsense in ["-10", "-", "-s", "--10s", "10s", "firstly"] {
        assert_eq!(show(&file, nonsense).status.code(), Some(2), "{nonsense}");
    }
}

#[test]
fn first_and_before_the_last_are_words_wherever_a_snapshot_is_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("made.hangsnap");
    let times: Vec<i64> = (0..10).map(|step| NOON + step * 5 * SECOND).collect();
    recorded_at(&file, &snapshot_of(&sleeper(), directory.path()), &times);
    let heading = |arguments: &[&str]| {
        let printed = succeed(hangsnap().arg("diff").arg(&file).args(arguments));
        printed.lines().nth(1).expect("a heading").to_owned()
    };
    for (arguments, parts) in [
        (&["first", "last"][..], ["from snapshot 1 ", "to snapshot 10 "]),
        (&["-10s", "last"], ["from snapshot 8 ", "to snapshot 10 "]),
        (&["-20s", "-10s"], ["from snapshot 6 ", "to snapshot 8 "]),
        (&["first", "-45s"], ["from snapshot 1 ", "to snapshot 1 "]),
    ] {
        let line = heading(arguments);
        assert!(parts.iter().all(|part| line.contains(part)), "{arguments:?}: {line}");
    }
    // An option after them is an option.
    assert!(succeed(hangsnap().arg("diff").arg(&file).args(["first", "-10s", "--json"])).starts_with('{'));
    for (range, expected) in [
        (&["--from", "-10s"][..], 8..=10),
        (&["--from", "first", "--to", "-40s"], 1..=2),
        (&["--from", "-20s", "--to", "-10s"], 6..=8),
    ] {
        let part = directory.path().join(format!("{}.hangsnap", range.join("")));
        succeed(hangsnap().arg("cut").arg(&file).args(range).arg("-o").arg(&part));
        let listed = succeed(hangsnap().arg("list").arg(&part));
        assert_eq!(first_column(&listed), expected.collect::<Vec<u64>>(), "{range:?}");
    }
}

#[test]
fn threads_are_named_by_a_pattern_live_and_from_a_recording() {
    let directory = tempfile::tempdir().expect("a directory");
    let victim = sleeper();
    let file = directory.path().join("made.hangsnap");
    let mut snapshot = snapshot_of(&victim, directory.path());
    let more = snapshot.threads[0].clone();
    for tid in 1..4 {
        // Ids above those that the kernel gives.
        snapshot.threads.push(Thread { tid: Tid((1 << 22) + tid), ..more.clone() });
    }
    let names = ["worker-1", "worker-2", "main"];
    for (thread, name) in snapshot.threads.iter_mut().zip(names.iter().cycle()) {
        thread.status.name = (*name).into();
    }
    recorded_at(&file, &snapshot, &[NOON]);
    let expect = |name: &str| names.iter().cycle().take(snapshot.threads.len()).filter(|one| **one == name).count();
    let [first, second, main] = names.map(expect);
    for (pattern, count) in [
        ("worker*", first + second),
        ("*-1", first),
        ("worker-?", first + second),
        ("main", main),
        ("*", first + second + main),
    ] {
        let printed = succeed(hangsnap().arg("show").arg(&file).args(["--thread", pattern]));
        let shown = printed.lines().filter(|line| line.trim_start().starts_with("thread ")).count();
        assert_eq!(shown, count, "{pattern}: {printed}");
    }
    for pattern in ["work", "worker-", "w?", "nosuch*"] {
        let output = run(hangsnap().arg("show").arg(&file).args(["--thread", pattern]));
        assert_eq!(output.status.code(), Some(1), "{pattern}: {output:?}");
    }
    // Live, by the name that the program has.
    let all = snapshot_of(&victim, &directory.path().join("again"));
    let name = all.threads[0].status.name.clone();
    let start: String = name.chars().take(3).collect();
    let live = succeed(hangsnap().args([&victim.pid(), "--json", "--thread", &format!("{start}*")]));
    let live: serde_json::Value = serde_json::from_str(&live).expect("JSON");
    let like = all.threads.iter().filter(|thread| thread.status.name.starts_with(&start)).count();
    assert_eq!(live["threads"].as_array().map(Vec::len), Some(like), "{start}*");
}
