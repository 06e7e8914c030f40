//! One thread that no stop reaches: it is shown all the same, and neither hangsnap nor any other
//! thread waits for it.

mod cleanup;
pub mod fixture;
mod mapped;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{PATIENCE, hangsnap, long_form, recorder, succeed};
use fixture::{Fixture, MODES};

/// What a snapshot may take with such a thread in it.
const WINDOW: Duration = Duration::from_millis(20);
/// Or this many times what it takes without one, where the machine is busy.
const TIMES_WITHOUT: u32 = 3;

/// How long a fixture may live, in seconds: longer than anything here is waited for, so that its
/// end is not what a test waited for.
pub const LIFE: u32 = 3600;

/// A command that is killed if it does not end in time. A process that SIGKILL does not reach is
/// not waited for.
struct Bounded {
    child: Option<Child>,
    begun: Instant,
    output: std::fs::File,
}

impl Bounded {
    fn start(command: &mut Command) -> Self {
        // A file, because a pipe without a reader would be filled.
        let output = tempfile::tempfile().expect("a temporary file");
        let copy = output.try_clone().expect("a second descriptor");
        let child = command.stdin(Stdio::null()).stdout(copy).spawn().expect("hangsnap can be started");
        Self { child: Some(child), begun: Instant::now(), output }
    }

    /// What it printed and how long it took.
    fn end(mut self, what: &str, limit: Duration) -> (String, Duration) {
        use std::io::{Read, Seek};
        let child = self.child.as_mut().expect("it was not waited for before");
        let status = loop {
            if let Some(status) = child.try_wait().expect("it is our child") {
                break status;
            }
            assert!(self.begun.elapsed() < limit, "{what}: hangsnap has not ended after {limit:?}");
            std::thread::sleep(Duration::from_millis(1));
        };
        let took = self.begun.elapsed();
        self.child = None;
        let mut printed = String::new();
        self.output.rewind().expect("it is a file");
        self.output.read_to_string(&mut printed).expect("it prints text");
        assert!(status.success(), "{what}: hangsnap exited with {status}: {printed}");
        (printed, took)
    }
}

impl Drop for Bounded {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            // It can be collected when the fixture has ended, which may be after this.
            std::thread::spawn(move || child.wait());
        }
    }
}

/// A snapshot, as JSON, and how long the command took.
fn capture(fixture: &Fixture, stop: &str, limit: Duration) -> (Value, Duration) {
    let mut command = hangsnap();
    command.args(["--pid", &fixture.target().to_string(), "--stop", stop, "--registers", "--json"]);
    let what = format!("{} --stop {stop}", fixture.mode);
    let (printed, took) = Bounded::start(&mut command).end(&what, limit);
    (serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{what}: {error}: {printed}")), took)
}

fn thread(snapshot: &Value, tid: u32) -> &Value {
    let threads = snapshot["threads"].as_array().expect("threads");
    threads.iter().find(|thread| thread["tid"] == tid).unwrap_or_else(|| panic!("thread {tid} is missing: {snapshot}"))
}

/// The names of the functions of a thread's frames, innermost first.
fn functions(thread: &Value) -> Vec<&str> {
    let frames = thread["frames"].as_array().expect("frames");
    frames
        .iter()
        .filter_map(|frame| frame["functions"].as_array())
        .flatten()
        .filter_map(|f| f["name"].as_str())
        .collect()
}

/// Whether it is said where in the kernel a thread waits.
fn tells_its_wait(thread: &Value) -> bool {
    let stack = thread["kernel_stack"].as_array().is_some_and(|stack| !stack.is_empty());
    stack || thread["wait_channel"].as_str().is_some_and(|channel| !matches!(channel, "" | "0"))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Modes in which the memory of the target can be read.
fn readable() -> impl Iterator<Item = (&'static str, &'static str)> {
    MODES.into_iter().filter(|(mode, _)| *mode != "mmap-lock")
}

/// A fixture for each snapshot, because what one does to such a thread may change how the next one
/// finds it.
#[test]
fn a_thread_that_cannot_be_stopped_is_shown_with_its_stack_and_its_wait_in_time() {
    let rounds = if long_form() { 21 } else { 5 };
    let plain = Fixture::start("plain", LIFE).expect("every machine has it");
    for (mode, function) in readable() {
        for stop in ["auto", "all", "none"] {
            let (mut windows, mut without) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                let Some(fixture) = Fixture::start(mode, LIFE) else {
                    break;
                };
                let (snapshot, _) = capture(&fixture, stop, PATIENCE);
                windows.push(window(&snapshot));
                without.push(window(&capture(&plain, stop, PATIENCE).0));
                assert_shown(&snapshot, &fixture, function, stop);
                fixture.await_undisturbed();
                fixture.end();
            }
            if windows.is_empty() {
                continue;
            }
            eprintln!("{mode} --stop {stop}: {windows:?}, without it {without:?}");
            // The median: a neighbour's load may delay one snapshot, waiting for the thread delays
            // each.
            let (middle, without) = (median(windows), median(without));
            let most = WINDOW.max(without * TIMES_WITHOUT);
            assert!(middle < most, "{mode} --stop {stop}: a snapshot takes {middle:?}, without it {without:?}");
        }
    }
    plain.end();
}

fn window(snapshot: &Value) -> Duration {
    Duration::from_nanos(snapshot["window_ns"].as_u64().expect("a number"))
}

fn assert_shown(snapshot: &Value, fixture: &Fixture, function: &str, stop: &str) {
    let what = format!("{} --stop {stop}", fixture.mode);
    let blocked = thread(snapshot, fixture.blocked());
    let names = functions(blocked);
    assert!(
        names.contains(&function),
        "{what}: `{function}` is not in {names:?} of {blocked} ({})",
        snapshot["notices"]
    );
    assert_eq!(blocked["incomplete"], Value::Null, "{what}: {blocked}");
    assert!(names.contains(&"start_thread"), "{what}: not its root: {names:?}");
    assert_eq!(blocked["held_ns"], Value::Null, "{what}: it cannot be held");
    assert!(tells_its_wait(blocked), "{what}: no kernel wait in {blocked}");
    for tid in fixture.threads() {
        let other = thread(snapshot, tid);
        // Nothing but its registers says where a thread is that runs.
        let expected = stop != "none" || other["name"] != "counter";
        assert!(!expected || !functions(other).is_empty(), "{what}: nothing of {other}");
    }
}

/// The longest hold of any thread in each snapshot of a recording.
fn longest_holds(fixture: &Fixture, stop: &str, count: &str) -> Vec<Duration> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("holds.hangsnap");
    let pid = fixture.target().to_string();
    let mut command = recorder(&pid, "5ms");
    command.args(["--keep", "stacks", "--count", count, "--stop", stop, "-o"]).arg(&file);
    Bounded::start(&mut command).end(&format!("{} --stop {stop} --every", fixture.mode), PATIENCE);
    let list: Value = serde_json::from_str(&succeed(hangsnap().args(["list", "--json"]).arg(&file))).expect("JSON");
    let snapshots = list["snapshots"].as_array().expect("snapshots");
    snapshots.iter().map(|one| Duration::from_nanos(one["longest_hold_ns"].as_u64().expect("a number"))).collect()
}

fn percentile(times: &[Duration], percent: usize) -> Duration {
    times[(times.len() - 1) * percent / 100]
}

/// The same process with and without such a thread, in turn: what waits for it while others are
/// held, holds them longer.
#[test]
fn no_other_thread_is_held_longer_because_one_cannot_be_stopped() {
    // Enough that a percentile does not hang on one or two holds which the machine made long.
    const SAMPLES: &str = "100";
    let rounds = if long_form() { 60 } else { 10 };
    for (mode, _) in readable() {
        let (Some(with), Some(without)) = (Fixture::start(mode, LIFE), Fixture::start("plain", LIFE)) else {
            continue;
        };
        for stop in ["auto", "all"] {
            let (mut holds_with, mut holds_without) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                holds_with.extend(longest_holds(&with, stop, SAMPLES));
                holds_without.extend(longest_holds(&without, stop, SAMPLES));
            }
            for holds in [&mut holds_with, &mut holds_without] {
                // On a busy machine no thread may have stopped in time for one of them, which other
                // tests are about.
                let samples = holds.len();
                holds.retain(|hold| *hold > Duration::ZERO);
                holds.sort_unstable();
                assert!(holds.len() * 2 > samples, "{mode} --stop {stop}: others are held, or this compares nothing");
            }
            // Ratios between runs at the same time, and this much more for what a neighbour's load
            // does to either.
            for (percent, ratio, slack) in [(50, 2, 100), (99, 3, 2_000), (100, 3, 20_000)] {
                let (one, other) = (percentile(&holds_with, percent), percentile(&holds_without, percent));
                eprintln!("{mode} --stop {stop}: p{percent} {one:?}, without it {other:?}");
                assert!(
                    one <= other * ratio + Duration::from_micros(slack),
                    "{mode} --stop {stop}: p{percent} of the longest holds is {one:?}, without it {other:?}"
                );
            }
        }
        with.await_undisturbed();
        with.end();
        without.end();
    }
}
