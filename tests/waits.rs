//! What a thread waits for is right whatever has happened to it: it was stopped before, by hangsnap
//! or by others; it makes its calls by another convention; it is a thread of the kernel's own; it
//! has exited.
//!
//! The oracle is the kernel: what /proc/PID/task/TID/syscall says before anything has interrupted
//! the threads.

mod decoded;
mod odd;
mod timed;

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::{Victim, hangsnap, succeed};

/// What the kernel says of each thread that sleeps in a call: its number and its arguments.
fn calls(victim: &Victim) -> Vec<(i64, u64, [u64; 6])> {
    let tasks = fs::read_dir(format!("/proc/{}/task", victim.pid())).expect("the victim is alive");
    let mut calls = Vec::new();
    for task in tasks {
        let task = task.expect("an entry");
        let tid = task.file_name().to_str().and_then(|name| name.parse().ok()).expect("a thread id");
        let text = fs::read_to_string(task.path().join("syscall")).expect("it is there");
        let words: Vec<&str> = text.split_whitespace().collect();
        let argument = |at: usize| u64::from_str_radix(words[at + 1].trim_start_matches("0x"), 16).expect("a number");
        if words.len() == 9 {
            calls.push((tid, words[0].parse().expect("a number"), std::array::from_fn(argument)));
        }
    }
    calls.sort_unstable();
    calls
}

/// One snapshot, printed; and the same from a file.
fn snapshots(victim: &Victim, stop: &str) -> [Value; 2] {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("waits.hangsnap");
    let live = succeed(hangsnap().args(["--pid", &victim.pid(), "--stop", stop, "--json", "-o"]).arg(&file));
    let kept = succeed(hangsnap().arg("show").arg(&file).arg("--json"));
    [live, kept].map(|text| serde_json::from_str(&text).expect("JSON"))
}

fn threads(snapshot: &Value) -> impl Iterator<Item = &Value> {
    snapshot["threads"].as_array().expect("threads").iter()
}

fn started(program: &std::path::Path, arguments: &[&str]) -> Victim {
    Victim::start(Command::new(program).args(arguments))
}
