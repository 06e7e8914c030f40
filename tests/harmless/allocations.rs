//! Between freeze and release nothing is allocated: an allocator may wait for a lock, or for the
//! kernel, with a thread of the target in its hands.
//!
//! The program that tests use counts (feature `fault-points`): the threads of the tracer say from
//! when to when they hold others, and an allocator counts its calls by them. That it does count is
//! shown by allocating on purpose at each step.

use std::fs;
use std::process::Command;

use crate::support::{Victim, compile, hangsnap, succeed};

/// How often threads were held, and how often the allocator was called meanwhile, in all
/// snapshots.
fn counts(victim: &Victim, arguments: &[&str], fault: Option<&str>) -> (u64, u64) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("counts");
    let mut command = hangsnap();
    command.args(["--pid", &victim.pid(), "--json"]).args(arguments).env("HANGSNAP_ALLOCATIONS", &file);
    if let Some(fault) = fault {
        command.env("HANGSNAP_FAULT", fault);
    }
    succeed(&mut command);
    let text = fs::read_to_string(&file).expect("the tracer writes it after each snapshot");
    let last = text.lines().last().expect("a line for each snapshot");
    let (holds, calls) = last.split_once(' ').expect("two numbers");
    (holds.parse().expect("a number"), calls.parse().expect("a number"))
}

/// Threads asleep, enough of them for the helper of `--stop all`; and more that run than there are
/// CPUs, which are held by turns.
fn victims() -> [(&'static str, Victim); 2] {
    [("100 asleep", ["0", "100", "0"]), ("16 running", ["16", "4", "0"])].map(|(what, counts)| {
        let program = compile("gcc", "saturated.c", &["-O2", "-g", "-pthread"]);
        (what, Victim::start(Command::new(program).args(counts)))
    })
}

#[test]
fn nothing_is_allocated_between_freeze_and_release() {
    for (what, victim) in victims() {
        for stop in ["auto", "all"] {
            let (holds, calls) = counts(&victim, &["--stop", stop, "--registers", "all"], None);
            println!("{what}, --stop {stop}: {holds} times held, {calls} calls of the allocator");
            assert!(holds > 0, "{what}, --stop {stop}: nothing was held");
            assert_eq!(calls, 0, "{what}, --stop {stop}: {holds} times held");
        }
    }
}

/// The test above can fail: what is allocated at any step is counted.
#[test]
fn what_is_allocated_between_freeze_and_release_is_counted() {
    for (what, victim) in victims() {
        for stop in ["auto", "all"] {
            for point in ["seize", "interrupt", "wait", "registers", "memory", "release"] {
                let (holds, calls) = counts(&victim, &["--stop", stop], Some(&format!("{point}:allocate")));
                assert!(calls > 0, "{what}, --stop {stop}, at {point}: {holds} times held, and nothing counted");
            }
        }
    }
}
