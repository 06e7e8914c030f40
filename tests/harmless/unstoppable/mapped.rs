//! A thread that sleeps uninterruptibly with the lock of its memory map held for writing.
//!
//! A reader of that memory waits for as long as the thread does; so do many files in /proc, and
//! some waits for that lock no signal ends. The snapshot has everything but memory.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::fixture::Fixture;
use super::{Bounded, LIFE, capture, tells_its_wait, thread};
use crate::support::{PATIENCE, floor, hangsnap, succeed, until};

/// What a command may take, from its start to its end.
const LIMIT: Duration = Duration::from_secs(2);
/// Or this many times what it takes for a target whose memory can be read, where the machine is
/// busy.
const TIMES_WITHOUT: u32 = 20;

/// Processes that run the program under test.
fn left_behind() -> Vec<String> {
    let program = Path::new(hangsnap().get_program()).canonicalize().expect("it was built");
    let processes = fs::read_dir("/proc").expect("/proc is there").flatten();
    let left = processes.filter(|entry| fs::read_link(entry.path().join("exe")).is_ok_and(|path| path == program));
    left.map(|entry| entry.path().display().to_string()).collect()
}

fn await_nothing_left_behind(what: &str) {
    // What was killed may take a moment to end.
    until(&format!("{what} has left no process behind: {:?}", left_behind()), PATIENCE, || left_behind().is_empty());
}

/// The fixture is what it claims to be: somebody who asks for its command line waits until they are
/// killed.
#[test]
fn the_lock_is_held_and_who_waits_for_it_can_be_killed() {
    let Some(fixture) = Fixture::start("mmap-lock", LIFE) else {
        return;
    };
    let path = format!("/proc/{}/cmdline", fixture.target());
    let mut reader = Command::new("cat").arg(&path).stdout(Stdio::null()).spawn().expect("cat is there");
    let wait = format!("/proc/{}/stat", reader.id());
    until("cat waits for the lock, in uninterruptible sleep", PATIENCE, || {
        fs::read_to_string(&wait).expect("it is our child").contains(" D ")
    });
    reader.kill().expect("it is our child");
    until("cat has ended", PATIENCE, || reader.try_wait().expect("it is our child").is_some());
    fixture.await_undisturbed();
    fixture.end();
}

#[test]
fn all_but_the_memory_of_a_target_whose_map_is_locked_is_captured_in_time() {
    let Some(fixture) = Fixture::start("mmap-lock", LIFE) else {
        return;
    };
    let plain = Fixture::start("plain", LIFE).expect("every machine has it");
    for stop in ["auto", "all", "none"] {
        // Twice: the first snapshot must not leave anything that is in the way of the second.
        for _ in 0..2 {
            let what = format!("mmap-lock --stop {stop}");
            let without = floor(|| drop(capture(&plain, stop, PATIENCE)));
            let (snapshot, took) = capture(&fixture, stop, PATIENCE);
            assert!(took < LIMIT.max(without * TIMES_WITHOUT), "{what}: it took {took:?}, and {without:?} without");
            eprintln!("{what}: {took:?}, window {} ns, notices {}", snapshot["window_ns"], snapshot["notices"]);
            assert_everything_but_memory(&snapshot, &fixture, &what);
            await_nothing_left_behind(&what);
            fixture.await_undisturbed();
        }
    }
    fixture.end();
    plain.end();
}

fn assert_everything_but_memory(snapshot: &Value, fixture: &Fixture, what: &str) {
    let mut held = 0;
    for tid in fixture.threads() {
        let thread = thread(snapshot, tid);
        let state = thread["state"].as_str().expect("a state");
        assert!(matches!(state, "sleeping" | "running" | "uninterruptible"), "{what}: {thread}");
        assert!(tells_its_wait(thread) || thread["name"] == "counter", "{what}: no kernel wait in {thread}");
        if thread["how"] == "held" {
            held += 1;
            let counter = thread["registers"]["rip"].as_str().expect("an address");
            assert!(!matches!(counter, "" | "0x0"), "{what}: no registers of {thread}");
        }
    }
    assert!(held > 0 || what.ends_with("none"), "{what}: nothing was held: {snapshot}");
    let blocked = thread(snapshot, fixture.blocked());
    assert_eq!(
        (&blocked["state"], &blocked["system_call"]["name"]),
        (&"uninterruptible".into(), &"mmap".into()),
        "{what}"
    );
    let notices = snapshot["notices"].as_array().expect("notices");
    let tells = notices.iter().filter_map(|notice| notice["text"].as_str()).any(|text| text.contains("memory"));
    assert!(tells, "{what}: nothing tells that memory is missing: {notices:?}");
}

#[test]
fn a_target_whose_map_is_locked_can_be_recorded() {
    let Some(fixture) = Fixture::start("mmap-lock", LIFE) else {
        return;
    };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("locked.hangsnap");
    let mut command = hangsnap();
    command.args(["--pid", &fixture.target().to_string(), "--every", "100ms", "--count", "5", "-o"]).arg(&file);
    let begun = Instant::now();
    Bounded::start(&mut command).end("mmap-lock --every", PATIENCE);
    eprintln!("5 snapshots, one every 100 ms, took {:?}", begun.elapsed());
    let list: Value = serde_json::from_str(&succeed(hangsnap().args(["list", "--json"]).arg(&file))).expect("JSON");
    let snapshots = list["snapshots"].as_array().expect("snapshots");
    assert_eq!(snapshots.len(), 5, "{list}");
    assert!(snapshots.iter().all(|one| one["threads"] == fixture.threads().len()), "{list}");
    await_nothing_left_behind("a recording");
    fixture.await_undisturbed();
    fixture.end();
}
