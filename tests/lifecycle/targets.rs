//! What targets do.

use std::fs;
use std::io::Write;
use std::process::ChildStdin;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::sampler::{PATIENCE, await_line};
use super::{assert_whole, lives, living, recording_begun};
use crate::support::{Victim, hangsnap, succeed, until};

/// Allows the victim one step.
fn step(input: &mut ChildStdin) {
    input.write_all(b".").expect("the victim listens");
}

fn state(pid: &str) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it is there");
    stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next()).expect("a letter")
}

/// The pid that the victim prints before it says that it has forked.
fn forked(victim: &mut Victim) -> i32 {
    let pid = victim.line().trim().parse().expect("a pid");
    await_line(victim, "forked");
    pid
}

#[test]
fn the_target_ends() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("ends.hangsnap");
    let (victim, mut input) = living(&["exit"]);
    let sampler = recording_begun(&victim.pid(), &file);
    step(&mut input);
    // No parent waits for it before the sampler has ended: it must take a zombie for what it is.
    let ended = sampler.end();
    assert!(ended.in_order().starts_with("nothing left to record"), "{:?}", ended.lines);
    assert!(ended.said(": ended"), "{:?}", ended.lines);
    assert_whole(&file, ended.snapshots());
}

#[test]
fn the_target_is_killed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("killed.hangsnap");
    let (mut victim, _input) = living(&["exit"]);
    let sampler = recording_begun(&victim.pid(), &file);
    victim.child.kill().expect("it is our child");
    victim.child.wait().expect("it is our child");
    let ended = sampler.end();
    assert!(ended.in_order().starts_with("nothing left to record"), "{:?}", ended.lines);
    assert!(ended.said(": ended"), "{:?}", ended.lines);
    assert_whole(&file, ended.snapshots());
}

fn executes(life: &str) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (file, program) = (directory.path().join("executes.hangsnap"), directory.path().join("another"));
    fs::copy(lives(), &program).expect("the victim was just compiled");
    let (mut victim, mut input) = living(&[life, program.to_str().expect("our own name")]);
    let mut sampler = recording_begun(&victim.pid(), &file);
    step(&mut input);
    await_line(&mut victim, "ready");
    let line = sampler.line_with("executed ");
    assert!(line.contains(program.to_str().expect("our own name")) && line.contains("goes on"), "{line}");
    // Samples of the moment when it was just being loaded come first.
    until("the new program's functions are recorded", PATIENCE, || {
        let line = sampler.line_with("#");
        let number = line[1..].split_whitespace().next().expect("a number");
        let shown = succeed(hangsnap().args(["show", "--at", number]).arg(&file));
        shown.contains("another exit") && shown.contains("end_by_itself")
    });
    step(&mut input);
    let ended = sampler.end();
    assert!(ended.in_order().starts_with("nothing left to record"), "{:?}", ended.lines);
    assert_whole(&file, ended.snapshots());
    let first = succeed(hangsnap().args(["show", "--at", "1"]).arg(&file));
    assert!(!first.lines().next().expect("a heading").contains("another exit"), "{first}");
}

#[test]
fn the_target_executes_another_program() {
    executes("exec");
}

#[test]
fn a_thread_of_the_target_executes_another_program() {
    executes("exec-from-thread");
}

#[test]
fn the_target_forks() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("forks.hangsnap");
    let (mut victim, mut input) = living(&["fork"]);
    let mut sampler = recording_begun(&victim.pid(), &file);
    step(&mut input);
    let child = forked(&mut victim);
    let line = sampler.line_with("started");
    assert!(line.contains(&format!("({child})")) && line.contains("goes on"), "{line}");
    sampler.line_with("#");
    step(&mut input);
    let ended = sampler.end();
    assert!(ended.in_order().starts_with("nothing left to record"), "{:?}", ended.lines);
    assert_whole(&file, ended.snapshots());
}

#[test]
fn the_target_makes_itself_a_daemon() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("daemon.hangsnap");
    let (mut victim, mut input) = living(&["daemon"]);
    let mut sampler = recording_begun(&victim.pid(), &file);
    step(&mut input);
    let daemon = forked(&mut victim);
    sampler.line_with("started");
    step(&mut input);
    victim.child.wait().expect("it is our child");
    let line = sampler.line_with(": ended");
    assert!(line.contains(&format!("--pid {daemon}")), "it says how to go on: {line}");
    let ended = sampler.end();
    assert_whole(&file, ended.snapshots());
    let shown = succeed(hangsnap().args(["--pid", &daemon.to_string()]));
    assert!(shown.contains("make_daemon"), "{shown}");
    kill(Pid::from_raw(daemon), Signal::SIGKILL).expect("the daemon is there");
}

#[test]
fn the_target_gains_and_loses_threads() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("threads.hangsnap");
    let (mut victim, mut input) = living(&["threads"]);
    let mut sampler = recording_begun(&victim.pid(), &file);
    step(&mut input);
    await_line(&mut victim, "grown");
    sampler.line_with("21 threads");
    step(&mut input);
    await_line(&mut victim, "shrunk");
    sampler.line_with("11 threads");
    step(&mut input);
    await_line(&mut victim, "shrunk");
    sampler.line_with(" 1 thread");
    sampler.signal(Signal::SIGINT);
    let ended = sampler.end();
    assert!(ended.in_order().contains("1 to 21 threads"), "{:?}", ended.lines.last());
    assert!(ended.said("(+") && ended.said("(-"), "{:?}", ended.lines);
    assert_whole(&file, ended.snapshots());
}

#[test]
fn the_first_thread_leaves_and_others_go_on() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("leaves.hangsnap");
    let (mut victim, mut input) = living(&["first-leaves"]);
    until("the first thread has left", PATIENCE, || state(&victim.pid()) == 'Z');
    let shown = succeed(hangsnap().args(["--pid", &victim.pid()]));
    assert!(shown.contains("live_on") && shown.contains("linger"), "the others have stacks:\n{shown}");
    assert!(shown.contains("has exited"), "the first thread is told of:\n{shown}");
    assert!(shown.lines().next().is_some_and(|heading| heading.contains("first-leaves")), "its command:\n{shown}");
    assert!(!shown.contains("could not be used"), "its files are where they were:\n{shown}");
    let mut sampler = recording_begun(&victim.pid(), &file);
    sampler.samples(2);
    step(&mut input);
    await_line(&mut victim, "over");
    let ended = sampler.end();
    assert!(ended.in_order().starts_with("nothing left to record"), "{:?}", ended.lines);
    assert_whole(&file, ended.snapshots());
}

#[test]
fn the_first_thread_leaves_while_it_is_recorded() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for round in 0..10 {
        let file = directory.path().join(format!("{round}.hangsnap"));
        // It says `ready` beside the first thread's end, which may come before, during or after the
        // first samples.
        let (mut victim, mut input) = living(&["first-leaves"]);
        let mut sampler = recording_begun(&victim.pid(), &file);
        until("the first thread has left", PATIENCE, || state(&victim.pid()) == 'Z');
        sampler.line_with("has exited");
        step(&mut input);
        await_line(&mut victim, "over");
        let ended = sampler.end();
        assert_whole(&file, ended.snapshots());
    }
}

#[test]
fn a_thread_in_uninterruptible_sleep_delays_nobody() {
    let (other, _other_input) = living(&["threads"]);
    let (mut victim, mut input) = living(&["vfork"]);
    until("a thread sleeps uninterruptibly", PATIENCE, || victim.states().contains(&'D'));
    for stop in ["auto", "all"] {
        let begun = Instant::now();
        let printed = succeed(hangsnap().args(["--pid", &victim.pid(), "--stop", stop, "--json"]));
        let took = begun.elapsed();
        let snapshot: Value = serde_json::from_str(&printed).expect("JSON");
        let window = |snapshot: &Value| Duration::from_nanos(snapshot["window_ns"].as_u64().expect("a time"));
        // The same of a process without such a thread, where the machine is busy.
        let without = succeed(hangsnap().args(["--pid", &other.pid(), "--stop", stop, "--json"]));
        let without = window(&serde_json::from_str(&without).expect("JSON"));
        let (window, most) = (window(&snapshot), Duration::from_millis(500).max(without * 10));
        assert!(
            window < most,
            "--stop {stop}: the snapshot took {window:?} of {took:?}, without such a thread {without:?}"
        );
        let functions = |thread: &Value| thread["frames"].to_string();
        let threads = snapshot["threads"].as_array().expect("a list");
        let sleeping = threads.iter().find(|thread| thread["state"] == "uninterruptible").expect("it sleeps");
        assert_eq!(sleeping["how"], "in-place", "--stop {stop}: {sleeping}");
        assert_eq!(sleeping["incomplete"], Value::Null, "--stop {stop}: {sleeping}");
        let lingering = threads.iter().filter(|thread| functions(thread).contains("\"linger\"")).count();
        assert_eq!(lingering, 2, "--stop {stop}: its siblings have stacks: {printed}");
        assert!(threads.iter().any(|thread| functions(thread).contains("\"main\"")), "--stop {stop}: {printed}");
        assert!(victim.states().contains(&'D'), "--stop {stop}: and it sleeps on");
    }
    step(&mut input);
    await_line(&mut victim, "over");
}
