//! A thread that has not run is said to be unchanged since the snapshot in which it was looked at,
//! by every program.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::lifecycle::sampler::{PATIENCE, Sampler, start_told};
use crate::support::{Victim, compile, hangsnap, recorder, succeed, until};

/// Samples between two letters: on a busy machine a thread may come to rest only some samples after
/// it was held.
const SAMPLES: u64 = 8;

/// A recording of a thread called "waiter", and of the main thread, which reads letters
/// (tests/victims/rests.c).
struct Recorded {
    directory: TempDir,
    file: PathBuf,
    victim: Victim,
    _input: ChildStdin,
    /// How often the main thread has stopped running while it was recorded, as the kernel counts.
    ran: u64,
}

impl Recorded {
    /// The main thread gets each letter between two samples.
    fn of(letters: &str, options: &[&str]) -> Self {
        let program = compile("gcc", "rests.c", &["-O1", "-g", "-pthread"]);
        let (mut victim, mut input) = start_told(&mut Command::new(program));
        until("both threads wait", PATIENCE, || victim.states() == ['S', 'S'] && reads(&victim));
        let before = switches(&victim);
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("rests.hangsnap");
        let mut sampler = Sampler::start(recorder(&victim.pid(), "20ms").args(options).arg("-o").arg(&file));
        sampler.more_samples(SAMPLES);
        for letter in letters.chars().map(String::from) {
            input.write_all(letter.as_bytes()).expect("it reads");
            assert_eq!(victim.line().trim(), letter);
            until("both threads wait", PATIENCE, || victim.states() == ['S', 'S'] && reads(&victim));
            sampler.more_samples(SAMPLES);
        }
        sampler.signal(Signal::SIGINT);
        sampler.end().in_order();
        let ran = switches(&victim) - before;
        Self { directory, file, victim, _input: input, ran }
    }

    fn json(&self, command: &str, more: &[&str]) -> Value {
        json_of(&self.file, command, more)
    }

    fn text(&self, command: &str, more: &[&str]) -> String {
        succeed(hangsnap().arg(command).arg(&self.file).args(more))
    }

    /// Of each snapshot its number and its time, in nanoseconds since 1970, as the list has them.
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

/// Whether the main thread is in read(2).
fn reads(victim: &Victim) -> bool {
    let call = fs::read_to_string(format!("/proc/{}/syscall", victim.pid())).expect("it is alive");
    call.starts_with("0 ")
}

/// How often the main thread has stopped running.
fn switches(victim: &Victim) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", victim.pid())).expect("it is alive");
    let counts = status.lines().filter(|line| line.contains("voluntary_ctxt_switches"));
    counts.map(|line| line.split_whitespace().last().expect("a count").parse::<u64>().expect("a number")).sum()
}

fn json_of(file: &Path, command: &str, more: &[&str]) -> Value {
    let printed = succeed(hangsnap().arg(command).arg(file).arg("--json").args(more));
    serde_json::from_str(&printed).expect("JSON")
}

#[test]
fn a_thread_that_rests_is_unchanged_since_the_snapshot_in_which_it_was_looked_at() {
    for stop in ["auto", "none"] {
        let recorded = Recorded::of("m", &["--stop", stop]);
        let snapshots = recorded.numbers_and_times();
        let mut rested = 0;
        for (number, _) in &snapshots {
            let waiter = recorded.waiter(*number);
            let since = &waiter["unchanged_since"];
            let Some(told) = since["number"].as_u64() else { continue };
            rested += 1;
            // That snapshot is there, it is before this one, its time is that which the list has,
            // and it was looked at then.
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
        let (first, last) = (recorded.waiter(snapshots[7].0), recorded.waiter(snapshots[snapshots.len() - 1].0));
        assert!(first["unchanged_since"] != last["unchanged_since"], "{first} {last}");
    }
}

#[test]
fn show_says_since_when_a_thread_is_unchanged_and_not_that_it_was_read_in_place() {
    let recorded = Recorded::of("", &["--stop", "none"]);
    let last = recorded.numbers_and_times().pop().expect("a snapshot").0;
    let since = recorded.waiter(last)["unchanged_since"]["number"].as_u64().expect("it rests");
    for more in [&["--thread", "waiter"][..], &["--thread", "waiter", "--verbose"]] {
        let text = recorded.text("show", more);
        let (_, behind) = text.split_once("(unchanged since ").expect(&text);
        let (moment, _) = behind.split_once("))").expect(&text);
        let (time, number) = moment.split_once(" (snapshot ").expect(&text);
        assert_eq!(number, since.to_string(), "{text}");
        // The time of day that the snapshot itself is printed with, unless a midnight lies in
        // between.
        let then = recorded.text("show", &["--at", &since.to_string()]);
        assert!(then.contains(&format!("{time}.")) || then.contains(time), "{time}: {then}");
        assert!(!text.contains("read in place"), "{text}");
    }
    // And when it was looked at, nothing says so.
    assert!(!recorded.text("show", &["--at", &since.to_string(), "--thread", "waiter"]).contains("unchanged"));
}

#[test]
fn what_cut_and_merge_make_still_says_since_when() {
    let (one, other) = (Recorded::of("", &[]), Recorded::of("", &[]));
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

#[test]
fn a_thread_that_has_not_run_and_one_that_was_found_in_the_same_place_are_two_things() {
    // The main thread runs for each letter, and the waiter does not.
    let recorded = Recorded::of("wwwww", &["--stop", "none"]);
    let last = recorded.numbers_and_times().pop().expect("a snapshot").0;
    let since = recorded.waiter(last)["unchanged_since"]["number"].as_u64().expect("it rests");
    let (first, last) = (since.to_string(), last.to_string());
    let text = recorded.text("diff", &[&first, &last]);
    let (place, other) = (text.find("\"waiter\"").expect(&text), text.find("\"rests-").expect(&text));
    assert!(place < other, "what has not run stands on top: {text}");
    let not_run = text.lines().find(|line| line.contains("\"waiter\"")).expect("a line");
    assert!(not_run.contains("  has not run since ") && not_run.contains(&format!(" (snapshot {since}); ")), "{text}");
    let found = text.lines().find(|line| line.contains("\"rests-")).expect("a line");
    let said = format!("  found in the same place, but ran {} times; the same for ", recorded.ran);
    assert!(recorded.ran >= 5 && found.contains(&said), "{said}: {text}");
    assert!(text.contains("0 moved, 2 the same (1 have not run), 0 new"), "{text}");

    let document = recorded.json("diff", &[&first, &last]);
    let thread = |name: &str| -> Value {
        let threads = document["threads"].as_array().expect("threads");
        let is_called = |thread: &&Value| thread["name"].as_str().is_some_and(|whole| whole.starts_with(name));
        threads.iter().find(is_called).expect("it is there").clone()
    };
    let (waiter, main) = (thread("waiter"), thread("rests"));
    assert_eq!(
        (&waiter["change"], &waiter["not_run_since"]["number"], &waiter["ran"]),
        (&"same".into(), &since.into(), &0.into())
    );
    assert_eq!(
        (&main["change"], &main["not_run_since"], &main["ran"]),
        (&"same".into(), &Value::Null, &recorded.ran.into())
    );
    // From after the last letter on, the main thread has not run either.
    let text = recorded.text("diff", &[]);
    assert!(text.contains("2 the same (2 have not run)"), "{text}");
    drop(recorded.victim);
}

/// Being held makes a thread run, by which it is not found out whether it would have.
#[test]
fn of_threads_that_are_held_each_time_it_is_said_that_this_counts() {
    let recorded = Recorded::of("", &["--stop", "all"]);
    let text = recorded.text("diff", &["first", "last"]);
    assert!(text.contains("found in the same place, but ran ") && text.contains(" (being held counts); "), "{text}");
    assert!(text.contains("2 the same (0 have not run)"), "{text}");
}

#[test]
fn a_list_is_a_timeline_of_how_many_threads_have_not_run() {
    for (options, threads) in [
        (&["--stop", "none"][..], 2),
        (&["--stop", "auto"], 2),
        // Each is looked at each time, and the kernel's counts say that it has not run.
        (&["--stop", "none", "--keep", "stacks"], 2),
        // Each is held each time, and has run because of that.
        (&["--stop", "all"], 0),
    ] {
        let recorded = Recorded::of("m", options);
        let listed = recorded.json("list", &[]);
        let not_run: Vec<Option<u64>> =
            listed["snapshots"].as_array().expect("snapshots").iter().map(|one| one["not_run"].as_u64()).collect();
        assert_eq!(not_run[0], None, "{options:?}: there is none before the first");
        // At the end, and before the letter, nothing has run by itself; the letter makes both run.
        assert_eq!(
            (not_run[not_run.len() - 1], not_run[7]),
            (Some(threads), Some(threads)),
            "{options:?}: {not_run:?}"
        );
        let least = not_run[8..].iter().flatten().min();
        assert!(least.is_some_and(|least| *least < 2), "{options:?}: {not_run:?}");

        let text = recorded.text("list", &[]);
        let mut lines = text.lines().skip(1);
        let (before, _) = lines.next().expect("a heading").split_once("  longest held").expect("a column");
        assert!(before.ends_with("  threads  not run"), "{before}");
        for (line, not_run) in lines.zip(&not_run) {
            let shown = not_run.map_or("-".into(), |count| count.to_string());
            assert!(line[..before.len()].ends_with(&format!("        2  {shown:>7}")), "{line}");
        }
        // The index says what the segments say.
        let indexes: Vec<PathBuf> = fs::read_dir(&recorded.file)
            .expect("a recording")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "index"))
            .collect();
        assert!(!indexes.is_empty(), "{options:?}");
        succeed(hangsnap().arg("check").arg(&recorded.file));
        indexes.iter().for_each(|index| fs::remove_file(index).expect("it is there"));
        assert_eq!(recorded.text("list", &[]), text, "{options:?}");
    }
}

#[test]
fn of_a_recording_of_before_a_list_does_not_know_how_many_have_not_run() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/second-format.hangsnap");
    let listed = json_of(&golden, "list", &[]);
    let snapshots = listed["snapshots"].as_array().expect("snapshots");
    assert!(snapshots.len() == 4 && snapshots.iter().all(|one| one["not_run"].is_null()), "{listed}");
}
