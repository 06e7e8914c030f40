//! A target that executes another program while it is looked at, and while its threads are being
//! held.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use hangsnap::model::StopMode;
use hangsnap::process::Target;
use serde_json::Value;

use crate::support::{
    PATIENCE, Victim, compile, first_column, hangsnap, limited, long_form, recorder, run, succeed, until,
};

/// The target waited for a thread of its to be collected, which hangsnap had seized, and hangsnap
/// for the lock that the target held: both hung, and the signal that asked hangsnap to end changed
/// nothing.
#[test]
fn a_target_that_executes_in_the_middle_of_a_snapshot_hangs_nobody() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let samples = if long_form() { "3000" } else { "600" };
    for stop in ["auto", "all"] {
        let victim = Victim::start(&mut Command::new(compile("gcc", "executes.c", &["-O1", "-pthread"])));
        let file = directory.path().join(format!("{stop}.hangsnap"));
        let mut command = limited(hangsnap().get_program());
        command
            .args([
                "--pid",
                &victim.pid(),
                "--max-duty",
                "100%",
                "--every",
                "1ms",
                "--count",
                samples,
                "--stop",
                stop,
                "-o",
            ])
            .arg(&file);
        let output = run(&mut command);
        assert_eq!(output.status.code(), Some(0), "--stop {stop}: {}", String::from_utf8_lossy(&output.stderr));
        succeed(hangsnap().arg("list").arg(&file));
        // While it executes it may be in uninterruptible sleep for a moment; what it must not be is
        // there for good, or held.
        until("the target runs", PATIENCE, || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", victim.pid())).expect("the target is there");
            matches!(stat.rsplit(") ").next().and_then(|rest| rest.chars().next()), Some('R' | 'S'))
        });
    }
}

/// One in hundreds was refused: the process was said not to be there, or to have exited. The thread
/// that executes takes the main thread's place between two looks at them.
#[test]
fn a_target_that_executes_is_there_whenever_it_is_looked_at() {
    let program = compile("gcc", "takeover.c", &["-O1", "-static", "-pthread"]);
    let name = program.file_name().and_then(|name| name.to_str()).expect("a name");
    for how in ["main-waits", "main-ends"] {
        let victim = Victim::start(Command::new(&program).arg(how));
        // By its name it has to be found among all processes, which takes longer.
        for (wanted, looks) in [(victim.pid().as_str(), 20_000), (name, 500)] {
            let chosen = wanted.parse().expect("a pid or a name");
            for look in 0..looks {
                match Target::open(&chosen, StopMode::None) {
                    Ok(target) => assert!(target.is_alive(), "{how}, {wanted}, look {look}"),
                    Err(error) => panic!("{how}, {wanted}, look {look}: {error}"),
                }
            }
        }
    }
}

/// Threads of both programs were in one snapshot, their stacks walked with the modules of one,
/// whose files were said not to be those that run; and a variable was read where it had been in the
/// program before.
#[test]
fn a_snapshot_of_a_target_that_executes_is_of_one_program() {
    let program = compile("gcc", "executes.c", &["-O1", "-pthread"]);
    is_of_one(Command::new(program).arg("10000"));
}

/// Where programs lie says nothing then.
#[test]
fn a_snapshot_of_a_target_that_executes_at_the_same_addresses_is_of_one_program() {
    let program = compile("gcc", "executes.c", &["-O1", "-pthread"]);
    is_of_one(Command::new("setarch").arg("-R").arg(program).args(["10000", "000001"]));
}

fn is_of_one(victim: &mut Command) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let victim = Victim::start(victim);
    for stop in ["auto", "all"] {
        let file = directory.path().join(format!("{stop}.hangsnap"));
        let mut record = recorder(&victim.pid(), "1ms");
        let told = succeed(record.args(["--count", "300", "--memory", "generation", "--stop", stop, "-o"]).arg(&file));
        let (mut generations, mut left_out, mut whole) = (HashSet::new(), 0, 0);
        for snapshot in snapshots(&file) {
            let notices = snapshot["notices"].to_string();
            assert!(!notices.contains("the file on disk"), "--stop {stop}: {notices}");
            let threads = snapshot["threads"].as_array().expect("threads");
            if notices.contains("executed another program each time") {
                assert!(threads.iter().all(|thread| thread["frames"].as_array().is_some_and(Vec::is_empty)));
                left_out += 1;
                continue;
            }
            let of = generations_in(&snapshot);
            assert!(of.len() < 2, "--stop {stop}, snapshot {}: threads of generations {of:?}", snapshot["number"]);
            let Some(generation) = of.first().copied() else {
                continue;
            };
            generations.insert(generation);
            // What was read before the program had begun is 0.
            let bytes = snapshot["memory"][0]["bytes"].as_str().unwrap_or("00000000");
            let read = u32::from_str_radix(bytes, 16).expect("hexadecimal").swap_bytes();
            assert!(read == 0 || read == generation, "--stop {stop}, {}: {read} of {generation}", snapshot["number"]);
            whole += usize::from(read == generation && threads.len() == 21);
        }
        let events = told.lines().filter(|line| line.contains(": executed ")).count();
        println!(
            "--stop {stop}: {} generations, {events} told of, {whole} snapshots of all their threads, {left_out} of none",
            generations.len()
        );
        assert!(generations.len() > 20 && whole > 50, "--stop {stop}: {} generations, {whole}", generations.len());
        assert!(events + 1 >= generations.len(), "--stop {stop}: {events} of {} generations", generations.len());
    }
}

/// What was left of the first program's threads was shown with the second's, which had ended when
/// that could have been seen.
#[test]
fn that_a_target_had_ended_when_its_snapshot_was_complete_is_said() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = compile("gcc", "executes.c", &["-O1", "-pthread"]);
    let (mut ends, mut round) = (0, 0);
    // One in four or five is seen to end.
    while round < 20 || ends == 0 {
        round += 1;
        assert!(round <= 200, "of 200 targets none was seen to end");
        let victim = Victim::start(Command::new(&program).args(["20000", "000001", "2"]));
        let file = directory.path().join(format!("{round}.hangsnap"));
        run(recorder(&victim.pid(), "1ms").arg("-o").arg(&file));
        // Where it ended before there was anything to record there is no file.
        for snapshot in file.exists().then(|| snapshots(&file)).into_iter().flatten() {
            let had_ended = snapshot["notices"].to_string().contains("had ended when the snapshot was complete");
            let of = generations_in(&snapshot);
            assert!(of.len() < 2 || had_ended, "round {round}: threads of generations {of:?}, {}", snapshot["notices"]);
            ends += usize::from(had_ended);
        }
    }
    println!("{ends} snapshots were complete when the target had ended");
}

/// The generations that its threads are named after.
fn generations_in(snapshot: &Value) -> Vec<u32> {
    let threads = snapshot["threads"].as_array().expect("threads");
    let names: HashSet<&str> = threads.iter().filter_map(|thread| thread["name"].as_str()).collect();
    names.iter().filter_map(|name| name.strip_prefix("gen-")?.parse().ok()).collect()
}

/// The snapshots of a recording.
fn snapshots(file: &Path) -> impl Iterator<Item = Value> {
    let numbers = first_column(&succeed(hangsnap().arg("list").arg(file)));
    numbers.into_iter().map(move |number| {
        let shown = succeed(hangsnap().args(["show", "--json", "--at", &number.to_string()]).arg(file));
        serde_json::from_str(&shown).expect("JSON")
    })
}
