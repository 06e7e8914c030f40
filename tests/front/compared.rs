//! Two recordings are compared by their last snapshots.

use std::path::Path;

use hangsnap::model::{Thread, Tid};
use serde_json::Value;

use super::{NOON, SECOND, recorded_at, snapshot_of};
use crate::support::{hangsnap, recorder, run, sleeper, succeed};

fn compared(one: &Path, other: &Path) -> Value {
    let printed = succeed(hangsnap().arg("diff").args([one, other]).arg("--json"));
    serde_json::from_str(&printed).expect("JSON")
}

/// What became of each thread, by its name, in the order of names.
fn changes(document: &Value) -> Vec<(String, String)> {
    let threads = document["threads"].as_array().expect("a list");
    let word = |thread: &Value, field: &str| thread[field].as_str().expect("a word").to_owned();
    let mut changes: Vec<_> = threads.iter().map(|thread| (word(thread, "name"), word(thread, "change"))).collect();
    changes.sort();
    changes
}

#[test]
fn two_recordings_of_one_process_are_compared_by_tid_and_history_goes_through_both() {
    let directory = tempfile::tempdir().expect("a directory");
    let victim = sleeper();
    let [first, second] = ["first", "second"].map(|name| directory.path().join(name));
    for file in [&first, &second] {
        succeed(recorder(&victim.pid(), "5ms").args(["--count", "5", "-o"]).arg(file));
    }
    let document = compared(&first, &second);
    let snapshots = |file: &Path| succeed(hangsnap().arg("list").arg(file)).lines().count() as u64 - 2;
    for thread in document["threads"].as_array().expect("a list") {
        assert_eq!(thread["change"], "same", "{thread}");
        assert_eq!(thread["same_in_snapshots"], snapshots(&first) + snapshots(&second), "{thread}");
    }
    let text = succeed(hangsnap().arg("diff").args([&first, &second]));
    assert!(!text.contains("two different processes"), "{text}");
}

#[test]
fn recordings_of_two_processes_are_compared_by_the_names_of_threads() {
    let directory = tempfile::tempdir().expect("a directory");
    let (one, other) = (sleeper(), sleeper());
    let [first, second] = ["first", "second"].map(|name| directory.path().join(name));
    for (victim, file) in [(&one, &first), (&other, &second)] {
        succeed(recorder(&victim.pid(), "5ms").args(["--count", "3", "-o"]).arg(file));
    }
    let document = compared(&first, &second);
    assert!(document["before"]["pid"] != document["after"]["pid"], "{document}");
    assert!(changes(&document).iter().all(|(_, change)| change == "same"), "{document}");
    assert!(document["threads"].as_array().is_some_and(|threads| threads.len() == one.states().len()), "{document}");
    let text = succeed(hangsnap().arg("diff").args([&first, &second]));
    assert!(text.contains("two different processes, whose threads are compared by name"), "{text}");
}

#[test]
fn several_threads_of_one_name_find_as_many_and_the_others_are_new_or_gone() {
    let directory = tempfile::tempdir().expect("a directory");
    let (one, other) = (sleeper(), sleeper());
    let made = |victim, place: &str, names: &[&str]| {
        let place = directory.path().join(place);
        let mut snapshot = snapshot_of(victim, &place);
        let model = snapshot.threads[0].clone();
        snapshot.threads.clear();
        for (number, name) in (1..).zip(names) {
            let mut thread = Thread { tid: Tid((1 << 22) + number), ..model.clone() };
            thread.status.name = (*name).into();
            snapshot.threads.push(thread);
        }
        let path = place.join("made.hangsnap");
        recorded_at(&path, &snapshot, &[NOON, NOON + 5 * SECOND]);
        path
    };
    let first = made(&one, "first", &["worker", "old", "worker", "main"]);
    let second = made(&other, "second", &["main", "worker", "worker", "worker", "fresh"]);
    let named = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, change)| ((*name).into(), (*change).into())).collect()
    };
    assert_eq!(
        changes(&compared(&first, &second)),
        named(&[
            ("fresh", "new"),
            ("main", "same"),
            ("old", "gone"),
            ("worker", "new"),
            ("worker", "same"),
            ("worker", "same"),
        ])
    );
}

#[test]
fn one_word_that_is_no_recording_is_answered_with_what_to_type() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("made.hangsnap");
    recorded_at(&file, &snapshot_of(&sleeper(), directory.path()), &[NOON, NOON + SECOND]);
    for word in ["1", "-10s", "nosuch.hangsnap"] {
        let output = run(hangsnap().arg("diff").arg(&file).arg(word));
        assert_eq!(output.status.code(), Some(2), "{word}: {output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(&format!("hangsnap diff {} {word} last", file.display())), "{word}: {said}");
    }
    // Options may stand anywhere.
    for arguments in [&["--json", "first", "last"][..], &["first", "--json", "-0s"], &["-1s", "last", "--json"]] {
        assert!(succeed(hangsnap().arg("diff").arg(&file).args(arguments)).starts_with('{'), "{arguments:?}");
    }
}
