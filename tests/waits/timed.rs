//! Waits with a timeout go on as restart_syscall once anything has interrupted them.

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::{calls, snapshots, started, threads};
use crate::lifecycle::sampler::Sampler;
use crate::support::{PATIENCE, Victim, compile, hangsnap, recorder, succeed, until, victim_source};

const RESTART: u64 = 219;
/// poll, nanosleep, futex, clock_nanosleep.
const RENAMED: [u64; 4] = [7, 35, 202, 230];

/// The victim once this many of its threads sleep in calls that are begun again under another
/// number, and all its calls.
fn settled(victim: &Victim, least: usize) -> Vec<(i64, u64, [u64; 6])> {
    let waiting = || calls(victim).iter().filter(|(_, number, _)| RENAMED.contains(number)).count();
    until("its threads wait", Duration::from_secs(30), || waiting() >= least && calls(victim) == calls(victim));
    calls(victim)
}

/// Stops all of its threads as job control does, and lets them go on.
fn interrupt(victim: &Victim) {
    let pid = Pid::from_raw(victim.child.id().cast_signed());
    kill(pid, Signal::SIGSTOP).expect("it is there");
    until("it has stopped", Duration::from_secs(30), || victim.states().iter().all(|state| *state == 'T'));
    kill(pid, Signal::SIGCONT).expect("it is there");
    until("it sleeps again", Duration::from_secs(30), || victim.states().iter().all(|state| *state == 'S'));
}

fn assert_told(snapshot: &Value, before: &[(i64, u64, [u64; 6])], what: &str) {
    for (tid, number, arguments) in before {
        let thread = threads(snapshot).find(|thread| thread["tid"] == *tid).unwrap_or_else(|| panic!("{what}: {tid}"));
        let call = &thread["system_call"];
        assert_eq!(call["number"], *number, "{what}: {call}");
        let told: Vec<String> = arguments.iter().map(|argument| format!("{argument:#x}")).collect();
        assert_eq!(call["arguments"], Value::from(told), "{what}: {call}");
        if *number == 202 {
            let memory = thread["memory"].as_array().expect("memory");
            assert!(memory.iter().any(|piece| piece["what"] == "futex word and its neighbours"), "{what}: {thread}");
        }
    }
    let notices = snapshot["notices"].as_array().expect("notices");
    assert!(
        !notices.iter().any(|notice| notice["text"].to_string().contains("restart_syscall")),
        "{what}: {notices:?}"
    );
}

/// Looks at it in every way, twice each, after something has interrupted it.
fn check(what: &str, victim: &Victim, least: usize) {
    let before = settled(victim, least);
    interrupt(victim);
    let renamed = calls(victim).iter().filter(|(_, number, _)| *number == RESTART).count();
    assert!(renamed >= least, "{what}: only {renamed} of {least} calls were renamed: there is nothing to see");
    for stop in ["none", "auto", "auto", "all", "none"] {
        for (snapshot, from) in snapshots(victim, stop).iter().zip(["live", "kept"]) {
            assert_told(snapshot, &before, &format!("{what}, --stop {stop}, {from}"));
        }
    }
}

#[test]
fn a_timed_wait_that_was_interrupted_has_its_name_in_c() {
    let compilers: [(&str, &[&str]); 5] = [
        ("gcc", &["-O2", "-g", "-pthread"]),
        ("gcc", &["-O2", "-g", "-pthread", "-static"]),
        ("clang", &["-O0", "-pthread"]),
        ("musl-gcc", &["-O2", "-pthread"]),
        ("musl-gcc", &["-O1", "-pthread", "-static"]),
    ];
    for (compiler, flags) in compilers {
        let victim = started(&compile(compiler, "timed.c", flags), &[]);
        check(&format!("{compiler} {flags:?}"), &victim, 12);
    }
}

#[test]
fn a_timed_wait_that_was_interrupted_has_its_name_in_rust_go_and_python() {
    check("rustc", &started(&compile("rustc", "timed.rs", &["-O"]), &[]), 2);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = directory.path().join("timed-go");
    succeed(
        Command::new("go")
            .args(["build", "-o"])
            .arg(&program)
            .arg(victim_source("timed.go"))
            .env("GOCACHE", directory.path()),
    );
    // Go's own threads wake up now and then; the calls of the program do not return.
    let victim = started(&program, &[]);
    let mut before = Vec::new();
    // A thread of Go's own sleeps for moments, and would be in another call later.
    until("its poll and its nanosleep are the only ones", PATIENCE, || {
        before = settled(&victim, 3);
        before.retain(|(_, number, _)| [7, 35].contains(number));
        before.len() == 2
    });
    interrupt(&victim);
    for stop in ["none", "auto", "all"] {
        let still: Vec<_> = before
            .iter()
            .filter(|(tid, ..)| calls(&victim).iter().any(|(other, number, _)| other == tid && *number == RESTART))
            .copied()
            .collect();
        assert!(!still.is_empty(), "none of its calls was renamed");
        assert_told(&snapshots(&victim, stop)[0], &still, &format!("go, --stop {stop}"));
    }
    let python = Victim::start(Command::new("python3").arg(victim_source("timed.py")));
    let before = settled(&python, 3);
    interrupt(&python);
    for stop in ["none", "auto", "all", "auto"] {
        assert_told(&snapshots(&python, stop)[1], &before, &format!("python, --stop {stop}"));
    }
}

/// It was `restart_syscall()`, read in place, from the second look on.
#[test]
fn a_timed_wait_has_its_name_in_every_snapshot_of_a_recording() {
    let victim = started(&compile("gcc", "timed.c", &["-O2", "-g", "-pthread"]), &[]);
    let before = settled(&victim, 12);
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (stop, keep) in [("auto", "frames"), ("auto", "stacks"), ("all", "frames"), ("none", "frames")] {
        let file = directory.path().join(format!("{stop}-{keep}.hangsnap"));
        let mut command = recorder(&victim.pid(), "20ms");
        command.args(["--stop", stop, "--count", "5", "-o"]).arg(&file);
        if keep == "stacks" {
            command.args(["--keep", "stacks"]);
        }
        let count = Sampler::start(&mut command).end().snapshots();
        assert!(count >= 3, "--stop {stop}: only {count} snapshots");
        for at in ["1", "last"] {
            let printed = succeed(hangsnap().arg("show").arg(&file).args(["--at", at, "--json"]));
            let snapshot = serde_json::from_str(&printed).expect("JSON");
            assert_told(&snapshot, &before, &format!("--stop {stop} --keep {keep}, snapshot {at}"));
        }
    }
    assert!(calls(&victim).iter().any(|(_, number, _)| *number == RESTART), "nothing has interrupted it");
}

/// gdb had stopped it before: its calls were nameless at the first look, and never held.
#[test]
fn a_timed_wait_that_another_tracer_had_stopped_is_held_and_has_its_name() {
    let victim = started(&compile("musl-gcc", "timed.c", &["-O2", "-pthread"]), &[]);
    let before = settled(&victim, 12);
    succeed(Command::new("gdb").args(["-q", "-batch", "-nx", "-p", &victim.pid()]));
    until("gdb's stop has renamed its calls", Duration::from_secs(30), || {
        calls(&victim).iter().filter(|(_, number, _)| *number == RESTART).count() >= 12
    });
    let [mut snapshot, _] = snapshots(&victim, "auto");
    assert_told(&snapshot, &before, "after gdb");
    // Where the CPUs are busy it says so, and is asked again.
    let is_busy = |snapshot: &Value| snapshot["notices"].to_string().contains("on busy CPUs");
    until("the CPUs are free for a hold", PATIENCE, || {
        if is_busy(&snapshot) {
            [snapshot, _] = snapshots(&victim, "auto");
        }
        !is_busy(&snapshot)
    });
    for (tid, ..) in before.iter().filter(|(_, number, _)| RENAMED.contains(number)) {
        let thread = threads(&snapshot).find(|thread| thread["tid"] == *tid).expect("it is there");
        assert_eq!(thread["how"], "held", "{thread}");
    }
}
