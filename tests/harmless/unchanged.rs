//! A thread that sleeps is looked at once, and from then on the kernel's count of its time slices
//! says that it rests: it is not touched again, and everything that others can change of it is
//! reported as it is.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, Command, Stdio};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::lifecycle::sampler::{Sampler, start_told};
use crate::support::{Victim, compile, hangsnap, recorder, succeed};

/// A thread that waits, and a sampler that records it.
struct Waiting {
    victim: Victim,
    input: ChildStdin,
    sampler: Sampler,
    directory: TempDir,
}

impl Waiting {
    fn start(stop: &str) -> Self {
        let program = compile("gcc", "rests.c", &["-O1", "-g", "-pthread"]);
        let (victim, input) = start_told(&mut Command::new(program));
        Self::of(victim, input, stop)
    }

    fn of(victim: Victim, input: ChildStdin, stop: &str) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut command = recorder(&victim.pid(), "20ms");
        command.args(["--stop", stop, "-o"]);
        let mut sampler = Sampler::start(command.arg(directory.path().join("rests.hangsnap")));
        sampler.more_samples(4);
        Self { victim, input, sampler, directory }
    }

    /// Has the main thread do something, and returns what it said when it had.
    fn tell(&mut self, letter: &str) -> String {
        self.input.write_all(letter.as_bytes()).expect("it reads");
        self.victim.line().trim().to_owned()
    }

    /// The waiter as the newest snapshot shows it, when there have been some more.
    fn shown(&mut self, name: &str) -> Value {
        self.sampler.more_samples(4);
        self.at("last", name)
    }

    fn at(&self, snapshot: &str, name: &str) -> Value {
        let path = self.directory.path().join("rests.hangsnap");
        let mut show = hangsnap();
        let printed =
            succeed(show.arg("show").arg(path).args(["--at", snapshot, "--registers", "--json", "--thread", name]));
        let snapshot: Value = serde_json::from_str(&printed).expect("JSON");
        snapshot["threads"][0].clone()
    }

    /// Of each thread, what its `schedstat` says: its time on a CPU, and how often it was given
    /// one.
    fn runs(&self) -> Vec<String> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.victim.pid())).expect("it is alive");
        let mut paths: Vec<_> = tasks.map(|task| task.expect("an entry").path().join("schedstat")).collect();
        paths.sort();
        paths.iter().map(|path| fs::read_to_string(path).expect("it is alive")).collect()
    }
}

/// The functions of the program that a thread is in, innermost first.
fn functions(thread: &Value) -> Vec<String> {
    let frames = thread["frames"].as_array().expect("frames").iter();
    let names = frames.filter_map(|frame| frame["functions"].as_array()?.last()?["name"].as_str());
    names.filter(|name| ["in_one_place", "in_another", "wait_in_turn"].contains(name)).map(str::to_owned).collect()
}

#[test]
fn a_thread_that_sleeps_is_not_touched_again() {
    for stop in ["auto", "none"] {
        let mut waiting = Waiting::start(stop);
        let before = waiting.runs();
        waiting.sampler.more_samples(50);
        assert_eq!(waiting.runs(), before, "--stop {stop}");
        let (first, last) = (waiting.at("1", "waiter"), waiting.at("last", "waiter"));
        assert_eq!(first["how"], if stop == "auto" { "held" } else { "in-place" }, "--stop {stop}");
        assert_eq!(last["how"], "in-place", "--stop {stop}");
        assert!(first["unchanged_since"].is_null(), "--stop {stop}: {first}");
        assert!(last["unchanged_since"]["number"].is_u64(), "--stop {stop}: {last}");
        for what in ["frames", "registers", "system_call", "incomplete", "kernel_stack", "state"] {
            assert_eq!(last[what], first[what], "--stop {stop}: {what}");
        }
        assert_eq!(functions(&last), ["in_one_place", "wait_in_turn"], "--stop {stop}");
        // Nor is it when the sampler has gone.
        waiting.sampler.signal(Signal::SIGINT);
        let Waiting { victim, sampler, .. } = waiting;
        sampler.end();
        drop(victim);
    }
}

/// Everything that is read of it in place is the same, but the bytes of its stack.
#[test]
fn a_thread_that_waits_by_the_same_instructions_elsewhere_is_seen_there() {
    let mut waiting = Waiting::start("auto");
    for place in ["in_another", "in_one_place", "in_another"] {
        assert_eq!(waiting.tell("m"), "m");
        assert_eq!(functions(&waiting.shown("waiter")), [place, "wait_in_turn"]);
    }
}

#[test]
fn what_others_change_of_a_thread_that_rests_is_told() {
    let mut waiting = Waiting::start("auto");
    let before = waiting.runs();
    let word = |thread: &Value| {
        let memory = thread["memory"].as_array().expect("memory").iter();
        let bytes = memory.filter_map(|piece| piece["bytes"].as_str()).collect::<String>();
        bytes.contains("0000000078563412")
    };
    assert!(!word(&waiting.shown("waiter")));
    assert_eq!(waiting.tell("w"), "w");
    let changed = waiting.shown("waiter");
    assert!(word(&changed), "{changed}");
    assert_eq!(waiting.tell("n"), "n");
    assert_eq!(waiting.shown("renamed")["name"], "renamed");
    // The main thread has run, and the waiter was given no CPU.
    let now = waiting.runs();
    assert_ne!(now[0], before[0]);
}

/// Its threads were lost from every snapshot as long as they rested: the new name of the file was
/// taken for another program.
#[test]
fn a_program_that_is_replaced_on_disk_rests_on() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = directory.path().join("upgraded");
    fs::copy(compile("gcc", "rests.c", &["-O1", "-g", "-pthread"]), &program).expect("room on the disk");
    let (victim, input) = start_told(&mut Command::new(&program));
    let mut waiting = Waiting::of(victim, input, "auto");
    fs::remove_file(&program).expect("a file of ours");
    let shown = waiting.shown("waiter");
    let frames = shown["frames"].as_array().map_or(0, Vec::len);
    assert!(shown["how"] == "in-place" && frames >= 4 && shown["incomplete"].is_null(), "{shown}");
    let Waiting { sampler, victim, .. } = waiting;
    sampler.signal(Signal::SIGINT);
    let ended = sampler.end();
    assert!(ended.in_order().contains(" 0 losses"), "{}", ended.in_order());
    drop(victim);
}

/// Walked by a map that was read before the library was loaded, its stack was cut short, and stayed
/// so for as long as it rested.
#[test]
fn a_thread_that_loads_a_library_while_the_map_is_read_and_waits_in_it_is_seen_there() {
    let library = compile("gcc", "loads.c", &["-O1", "-g", "-shared", "-fPIC", "-DLIBRARY"]);
    let mut command = Command::new(compile("gcc", "loads.c", &["-O1", "-g"]));
    let (victim, input) = start_told(command.arg(library));
    let mut waiting = Waiting::of(victim, input, "auto");
    for round in 0..30 {
        assert_eq!(waiting.tell("."), "there");
        let there = waiting.shown(&waiting.victim.pid());
        let frames = there["frames"].as_array().expect("frames").iter();
        let names: Vec<_> = frames.filter_map(|frame| frame["functions"][0]["name"].as_str()).collect();
        assert!(names.contains(&"wait_in_library") && names.contains(&"main"), "round {round}: {there}");
        assert!(there["incomplete"].is_null(), "round {round}: {there}");
        assert_eq!(waiting.tell("."), "ready");
        waiting.sampler.more_samples(2);
    }
}

/// No thread can have a signal that all of its threads block, so that no thread runs when it is
/// sent.
#[test]
fn a_signal_that_a_thread_at_rest_blocks_is_told() {
    let mut waiting = Waiting::start("auto");
    let pid = waiting.victim.child.id();
    let to = |tid: u32| succeed(Command::new("kill").args(["-USR2", &tid.to_string()]));
    let pending = |thread: &Value, whose: &str| thread["signals"][whose].to_string();
    assert_eq!(pending(&waiting.shown("waiter"), "process_pending"), "[]");
    to(pid);
    assert_eq!(pending(&waiting.shown("waiter"), "process_pending"), r#"["SIGUSR2"]"#);
}

/// What `stat` says of them ends with the 31st.
#[test]
fn that_a_real_time_signal_is_handled_is_told_of_a_thread_at_rest() {
    let mut waiting = Waiting::start("auto");
    let caught = |thread: &Value| thread["signals"]["caught"].to_string().contains("SIGRTMIN+3");
    assert!(!caught(&waiting.shown("waiter")));
    assert_eq!(waiting.tell("h"), "h");
    let shown = waiting.shown("waiter");
    assert!(caught(&shown), "{shown}");
}

/// It takes no CPU to change the registers of a thread that is traced.
#[test]
fn registers_that_a_debugger_changes_are_told() {
    let mut waiting = Waiting::start("none");
    let commands = [
        "shell echo stopped; head -c1 >/dev/null",
        "thread 2",
        "set var $rsp = $rsp - 64",
        "shell echo changed; head -c1 >/dev/null",
        "set var $rsp = $rsp + 64",
    ];
    let mut gdb = Command::new("gdb");
    gdb.args(["--batch", "-q", "-nx", "-p", &waiting.victim.pid()]).stderr(Stdio::null());
    for command in commands {
        gdb.args(["-ex", command]);
    }
    let mut gdb = gdb.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("gdb is installed");
    let mut input = gdb.stdin.take().expect("piped");
    let mut lines = BufReader::new(gdb.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let mut stack_pointer_when = |said: &str| {
        assert!(lines.any(|line| line == said), "gdb says `{said}`");
        let shown = waiting.shown("waiter");
        let text = shown["registers"]["rsp"].as_str().expect("it is known").trim_start_matches("0x").to_owned();
        u64::from_str_radix(&text, 16).expect("an address")
    };
    let before = stack_pointer_when("stopped");
    input.write_all(b".").expect("gdb waits");
    assert_eq!(stack_pointer_when("changed"), before - 64);
    input.write_all(b".").expect("gdb waits");
    drop(input);
    assert!(gdb.wait().expect("a child of ours").success());
}

/// It has been given no CPU, and sleeps no more.
#[test]
fn a_thread_that_was_woken_and_waits_for_a_cpu_is_not_said_to_sleep() {
    let mut waiting = Waiting::start("none");
    if waiting.tell("s") == "?" {
        eprintln!("SKIPPED: a thread of high priority is not permitted here");
        return;
    }
    waiting.sampler.signal(Signal::SIGINT);
    let Waiting { victim, sampler, directory, .. } = waiting;
    sampler.end();
    drop(victim);
    let path = directory.path().join("rests.hangsnap");
    let listed = succeed(hangsnap().arg("list").arg(&path).arg("--json"));
    let listed: Value = serde_json::from_str(&listed).expect("JSON");
    let snapshots = listed["snapshots"].as_array().expect("snapshots").iter();
    let states: Vec<String> = snapshots
        .map(|row| {
            let at = row["number"].to_string();
            let printed = succeed(hangsnap().arg("show").arg(&path).args(["--at", &at, "--json"]));
            let snapshot: Value = serde_json::from_str(&printed).expect("JSON");
            let threads = snapshot["threads"].as_array().expect("threads").clone();
            let waiter = threads.into_iter().find(|thread| thread["name"] == "waiter").expect("it is there");
            waiter["state"].as_str().expect("a state").to_owned()
        })
        .collect();
    let running = states.iter().filter(|state| *state == "running").count();
    assert!(running >= 5, "{states:?}");
    assert!(states.starts_with(&["sleeping".into(), "sleeping".into(), "sleeping".into()]), "{states:?}");
}
