//! Failures on purpose at every step between freeze and release: a call that returns an error, a
//! deadline that passes, the tracer killed, hangsnap killed.
//!
//! Whatever happens the target runs on, nothing of hangsnap is left, and the snapshot, where
//! there is one, says of each thread that it has no whole stack of why that is, in words that are
//! true. Nothing is said here of what else a snapshot holds.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{Counters, states_and_tracers};
use crate::lifecycle::sampler::{PATIENCE, Sampler};
use crate::support::{Victim, compile, hangsnap, limited, long_form, recorder, run, succeed, until};

const POINTS: [&str; 6] = ["seize", "interrupt", "wait", "registers", "memory", "release"];

/// What a snapshot may take: eight tracers at most in a row; each is waited for up to half
/// a second; and as much again.
const LIMIT: Duration = Duration::from_secs(10);
/// Or this many times what one without a fault takes, where the machine is busy.
const TIMES_WITHOUT: u32 = 20;

/// What may be said of any thread on a busy machine, whatever fails.
const BUSY: [&str; 2] = ["did not stop within", "kept waking up while it was read in place"];

/// Said of the process whose threads did not stop in time.
const NOT_HELD: &str = "read in place instead of held, because threads did not stop in time on busy CPUs";

/// Said of the process, and the reason why no thread has a stack.
const NO_MEMORY: &str = "its memory could not be read in time";

/// What is said of a thread that has not been captured, or of its stack, because of this.
fn told(point: &str, effect: &str) -> &'static str {
    match (point, effect) {
        (_, "kill") => "the tracer died",
        ("seize", _) => "seizing it failed: Input/output error",
        ("interrupt", _) => "asking it to stop failed: Input/output error",
        ("registers", _) => "reading its registers failed: Input/output error",
        ("memory", _) => "reading its stack failed: Input/output error",
        // A thread that could not be stopped is read in place, and what was captured when the
        // release failed stays captured.
        _ => BUSY[0],
    }
}

fn effects(point: &str) -> &'static [&'static str] {
    match point {
        "wait" => &["error", "late", "kill", "killall"],
        _ => &["error", "kill", "killall"],
    }
}

struct Target {
    victim: Victim,
    counters: Counters,
    _directory: tempfile::TempDir,
}

impl Target {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let shared = directory.path().join("counters");
        let program = compile("gcc", "counters.c", &["-O1", "-g", "-pthread"]);
        let victim = Victim::start(Command::new(program).arg(&shared));
        Self { victim, counters: Counters::open(&shared), _directory: directory }
    }

    fn threads(&self) -> Vec<u64> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.victim.pid())).expect("the victim is alive");
        let number = |task: fs::DirEntry| task.file_name().to_str().and_then(|name| name.parse().ok());
        tasks.map(|task| number(task.expect("an entry")).expect("a number")).collect()
    }

    /// Every thread runs on, untraced, nothing of hangsnap is left, and the next snapshot
    /// lacks nothing; how long that takes.
    fn assert_undisturbed(&self, what: &str, marker: &str) -> Duration {
        let before = self.counters.all();
        until(&format!("every thread runs on after {what}"), PATIENCE, || {
            self.counters.all().iter().zip(&before).all(|(now, before)| now > before)
        });
        until(&format!("no thread is held or traced after {what}"), PATIENCE, || {
            states_and_tracers(&self.victim).iter().all(|&(state, tracer)| !matches!(state, 't' | 'T') && tracer == 0)
        });
        until(&format!("no tracer is left after {what}"), PATIENCE, || tracers(marker).is_empty());
        let begun = Instant::now();
        let plain = json(&succeed(hangsnap().args(["--pid", &self.victim.pid(), "--json"])));
        let took = begun.elapsed();
        for tid in self.threads() {
            let thread = thread(&plain, tid).unwrap_or_else(|| panic!("{what}: {tid} is missing afterwards: {plain}"));
            assert_ne!(thread["how"], "not-captured", "{what}: afterwards {thread}, {}", plain["notices"]);
            assert_eq!(thread["incomplete"], Value::Null, "{what}: afterwards {thread}, {}", plain["notices"]);
        }
        took
    }
}

/// hangsnap, bounded, with this fault; the marker is in the environment of its tracers, too.
fn faulty(point: &str, effect: &str, marker: &str) -> Command {
    let mut command = limited(hangsnap().get_program());
    command.env("HANGSNAP_FAULT", format!("{point}:{effect}")).env("FAULT_MARKER", marker);
    command
}

/// The tracers that were started, however indirectly, with this marker.
fn tracers(marker: &str) -> Vec<String> {
    let program = fs::canonicalize(hangsnap().get_program()).expect("the program under test");
    let marker = format!("FAULT_MARKER={marker}");
    let has = |pid: &str, file: &str, wanted: &str| {
        let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        bytes.split(|byte| *byte == 0).any(|word| word == wanted.as_bytes())
    };
    let processes = fs::read_dir("/proc").expect("/proc is there").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().into_string().ok());
    pids.filter(|pid| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program))
        .filter(|pid| has(pid, "cmdline", "__tracer") && has(pid, "environ", &marker))
        .collect()
}

fn json(printed: &str) -> Value {
    serde_json::from_str(printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
}

fn thread(snapshot: &Value, tid: u64) -> Option<&Value> {
    snapshot["threads"].as_array().expect("threads").iter().find(|thread| thread["tid"] == tid)
}

/// The texts of the notices about this thread, or about the process.
fn notices(snapshot: &Value, tid: Option<u64>) -> Vec<&str> {
    let notices = snapshot["notices"].as_array().expect("notices").iter();
    notices
        .filter(|notice| notice["tid"].as_u64() == tid && notice["module"].is_null())
        .filter_map(|notice| notice["text"].as_str())
        .collect()
}

/// Each thread is there, with a whole stack or with a notice that truly says why not.
fn assert_tells(snapshot: &Value, tids: &[u64], fault: (&str, &str), what: &str) {
    let of_process = notices(snapshot, None);
    for &tid in tids {
        let found = thread(snapshot, tid).unwrap_or_else(|| panic!("{what}: {tid} is missing: {snapshot}"));
        let said = notices(snapshot, Some(tid));
        let about = format!("{what}: of {found} is said {said:?}, of the process {of_process:?}");
        let no_ending = said.iter().all(|text| !text.contains("ended") && !text.contains("no mapped memory"));
        assert!(no_ending, "no thread ended and every stack is mapped, {about}");
        let captured = found["how"] != "not-captured";
        let frames = found["frames"].as_array().expect("frames");
        assert_eq!(captured, !frames.is_empty(), "{about}");
        if found["incomplete"].is_null() {
            assert!(captured, "{about}");
            continue;
        }
        let fits = |text: &&str| text.contains(told(fault.0, fault.1)) || BUSY.iter().any(|busy| text.contains(busy));
        let no_memory = captured && fault.1 == "kill" && of_process.iter().any(|text| text.contains(NO_MEMORY));
        // Where tracers are killed nothing is stopped in the end: those that sleep are read in
        // place, and others run.
        let not_held = of_process.iter().any(|text| text.contains(told(fault.0, fault.1)) || text.contains(NOT_HELD));
        assert!(no_memory || not_held || said.iter().any(fits), "{about}");
    }
}

/// Which points are passed at all shows where hangsnap is killed: each is, in both ways to stop.
#[test]
fn whatever_fails_the_target_runs_on_and_what_is_missing_is_told() {
    let target = Target::start();
    let (pid, tids) = (target.victim.pid(), target.threads());
    assert_eq!(tids.len(), target.counters.all().len(), "each thread counts");
    let mut failures = Vec::new();
    for stop in ["auto", "all"] {
        for point in POINTS {
            for &effect in effects(point) {
                let what = format!("--stop {stop} {point}:{effect}");
                let marker = format!("{pid}-{stop}-{point}-{effect}");
                let begun = Instant::now();
                let output = run(faulty(point, effect, &marker).args(["--pid", &pid, "--stop", stop, "--json"]));
                let took = begun.elapsed();
                let errors = String::from_utf8_lossy(&output.stderr);
                if effect == "killall" {
                    // `timeout` ends in the way of the program that it runs.
                    let signal = output.status.signal().or(output.status.code().map(|code| code - 128));
                    assert_eq!(signal, Some(Signal::SIGKILL as i32), "{what}: {:?} {errors}", output.status);
                } else if output.status.code() == Some(0) {
                    let snapshot = json(&String::from_utf8(output.stdout).expect("it prints text"));
                    assert_tells(&snapshot, &tids, (point, effect), &what);
                } else {
                    failures.push(format!("{what}: {:?} {errors}", output.status));
                }
                let without = target.assert_undisturbed(&what, &marker);
                let most = LIMIT.max(without * TIMES_WITHOUT);
                assert!(took < most, "{what}: it took {took:?}, and {without:?} without a fault");
            }
        }
    }
    assert!(failures.is_empty(), "without a snapshot: {failures:#?}");
}

/// Each sample loses all its tracers, and is stored all the same.
#[test]
fn a_sampler_whose_tracers_are_killed_goes_on() {
    let target = Target::start();
    let pid = target.victim.pid();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let points = if long_form() { &POINTS[..] } else { &["interrupt", "memory"] };
    for point in points {
        let what = format!("{point}:kill, again and again");
        let marker = format!("{pid}-every-{point}");
        let file = directory.path().join(format!("{point}.hangsnap"));
        let mut command = recorder(&pid, "20ms");
        command.env("HANGSNAP_FAULT", format!("{point}:kill")).env("FAULT_MARKER", &marker);
        command.args(["--keep", "stacks", "--count", "20", "-o"]).arg(&file);
        let mut sampler = Sampler::start(&mut command);
        // What looks for tracers finds them while there are any.
        until("a tracer is at work", PATIENCE, || !tracers(&marker).is_empty());
        sampler.samples(20);
        assert_eq!(sampler.end().snapshots(), 20, "{what}");
        let list = json(&succeed(hangsnap().args(["list", "--json"]).arg(&file)));
        assert_eq!(list["snapshots"].as_array().map(Vec::len), Some(20), "{what}: {list}");
        for snapshot in [&list["snapshots"][0], &list["snapshots"][19]] {
            let number = snapshot["number"].to_string();
            let stored = json(&succeed(hangsnap().arg("show").arg(&file).args(["--at", &number, "--json"])));
            assert_tells(&stored, &target.threads(), (point, "kill"), &format!("{what}, snapshot {number}"));
        }
        target.assert_undisturbed(&what, &marker);
    }
}
