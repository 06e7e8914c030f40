//! A thread that has not run is said to be unchanged since the snapshot in which it was looked at, by every program.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::lifecycle::sampler::{Sampler, start_told};
use crate::support::{Victim, compile, hangsnap, recorder, succeed};

/// A recording of a thread called "waiter", which waited, was let go, and waited again at the same instructions in another
/// function, and of the main thread, which let it go.
struct Recorded {
    directory: TempDir,
    file: PathBuf,
    victim: Victim,
    input: ChildStdin,
}

impl Recorded {
    /// Lets the waiter go between samples as often as there are rounds.
    fn of(rounds: usize, stop: &str) -> Self {
        let program = compile("gcc", "rests.c", &["-O1", "-g", "-pthread"]);
        let (mut victim, mut input) = start_told(&mut Command::new(program));
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("rests.hangsnap");
        let mut sampler = Sampler::start(recorder(&victim.pid(), "20ms").args(["--stop", stop, "-o"]).arg(&file));
        sampler.more_samples(4);
        for _ in 0..rounds {
            input.write_all(b"m").expect("it reads");
            assert_eq!(victim.line().trim(), "m");
            sampler.more_samples(4);
        }
        sampler.signal(Signal::SIGINT);
        sampler.end().in_order();
        Self { directory, file, victim, input }
    }

    fn json(&self, command: &str, more: &[&str]) -> Value {
        json_of(&self.file, command, more)
    }

    fn text(&self, command: &str, more: &[&str]) -> String {
        succeed(hangsnap().arg(command).arg(&self.file).args(more))
    }

    /// The time of a snapshot, in nanoseconds since 1970, as the list has it.
    fn numbers_and_times(&self) -> Vec<(u64, i64)> {
        let listed = self.json("list", &[]);
        let snapshots = listed["snapshots"].as_array().expect("snapshots");
        let pair =
            |one: &Value| (one["number"].as_u64().expect("a number"), one["realtime_ns"].as_i64().expect("a time"));
        snapshots.iter().map(pair).collect()
    }

    /// The waiter in the snapshot of this number.
    fn waiter(&self, number: u64) -> Value {
        let shown = self.json("show", &["--at", &number.to_string(), "--thread", "waiter", "--registers"]);
        shown["threads"][0].clone()
    }
}

fn json_of(file: &Path, command: &str, more: &[&str]) -> Value {
    let printed = succeed(hangsnap().arg(command).arg(file).arg("--json").args(more));
    serde_json::from_str(&printed).expect("JSON")
}

#[test]
fn a_thread_that_rests_is_unchanged_since_the_snapshot_in_which_it_was_looked_at() {
    for stop in ["auto", "none"] {
        let recorded = Recorded::of(1, stop);
        let snapshots = recorded.numbers_and_times();
        let mut rested = 0;
        for (number, _) in &snapshots {
            let waiter = recorded.waiter(*number);
            let since = &waiter["unchanged_since"];
            let Some(told) = since["number"].as_u64() else { continue };
            rested += 1;
            // That snapshot is there, it is before this one, its time is that which the list has, and it was looked at then.
            assert!(told < *number, "{number}: {since}");
            let (_, time) = snapshots.iter().find(|(other, _)| *other == told).expect("it is in the recording");
            assert_eq!(since["realtime_ns"], *time, "{number}");
            let then = recorded.waiter(told);
            assert!(then["unchanged_since"].is_null(), "{then}");
            for what in ["frames", "registers", "system_call"] {
                assert_eq!(then[what], waiter[what], "{number}: {what}");
            }
            // Old scripts read it as before.
            assert_eq!((&waiter["how"], &waiter["held_ns"]), (&"in-place".into(), &Value::Null), "{number}");
        }
        assert!(rested >= 4, "--stop {stop}: it rested in {rested} of {} snapshots", snapshots.len());
        // It was let go once, and has not rested since the same snapshot before and after that.
        let (first, last) = (recorded.waiter(snapshots[3].0), recorded.waiter(snapshots[snapshots.len() - 1].0));
        assert!(first["unchanged_since"] != last["unchanged_since"], "{first} {last}");
        drop((recorded.victim, recorded.input, recorded.directory));
    }
}

#[test]
fn show_says_since_when_a_thread_is_unchanged_and_not_that_it_was_read_in_place() {
    let recorded = Recorded::of(0, "none");
    let last = recorded.numbers_and_times().pop().expect("a snapshot").0;
    let since = recorded.waiter(last)["unchanged_since"]["number"].as_u64().expect("it rests");
    for more in [&["--thread", "waiter"][..], &["--thread", "waiter", "--verbose"]] {
        let text = recorded.text("show", more);
        let (_, behind) = text.split_once("(unchanged since ").expect(&text);
        let (moment, _) = behind.split_once("))").expect(&text);
        let (time, number) = moment.split_once(" (snapshot ").expect(&text);
        assert_eq!(number, since.to_string(), "{text}");
        // The time of day that the snapshot itself is printed with, unless a midnight lies in between.
        let then = recorded.text("show", &["--at", &since.to_string()]);
        assert!(then.contains(&format!("{time}.")) || then.contains(time), "{time}: {then}");
        assert!(!text.contains("read in place"), "{text}");
    }
    // And when it was looked at, nothing says so.
    assert!(!recorded.text("show", &["--at", &since.to_string(), "--thread", "waiter"]).contains("unchanged"));
}

#[test]
fn what_cut_and_merge_make_still_says_since_when() {
    let (one, other) = (Recorded::of(0, "auto"), Recorded::of(0, "auto"));
    let merged = one.directory.path().join("merged.hangsnap");
    // Of one machine and boot, one after the other; the second one is numbered on.
    succeed(hangsnap().arg("merge").args([&one.file, &other.file]).arg("-o").arg(&merged));
    let listed = json_of(&merged, "list", &[]);
    let number = |place: &Value| place["number"].as_u64().expect("a number");
    let snapshots = listed["snapshots"].as_array().expect("snapshots");
    for last in [&snapshots[one.numbers_and_times().len() - 1], &snapshots[snapshots.len() - 1]] {
        let shown = json_of(&merged, "show", &["--at", &number(last).to_string(), "--thread", "waiter"]);
        let since = &shown["threads"][0]["unchanged_since"];
        let told = snapshots.iter().find(|place| place["number"] == since["number"]).expect("it is there");
        assert_eq!((&told["realtime_ns"], &told["pid"]), (&since["realtime_ns"], &last["pid"]), "{since}");
    }
}
