//! A host whose CPUs are all busy, and processes with more running threads than it has CPUs: each
//! thread is captured when its turn comes, none is held for longer than it may be, and what was not
//! held although it was to be is said.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::states_and_tracers;
use crate::support::{Victim, compile, hangsnap, succeed, until};

/// `--max-hold` as it is by default, and a millisecond.
const LONGEST_HOLD: Duration = Duration::from_millis(10 + 1);
const PATIENCE: Duration = Duration::from_secs(20);

/// Processes that only compute, a number of them for each CPU. They end when this is dropped.
struct Load(Vec<Child>);

impl Load {
    fn start(for_each_cpu: usize) -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        // Whatever happens to this test, they do not work for ever.
        let busy = || Command::new("sh").args(["-c", "ulimit -t 300; while :; do :; done"]).spawn().expect("a shell");
        Self((0..for_each_cpu * cpus).map(|_| busy()).collect())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// This many threads that run, that wait for a condition, and that wait in epoll_wait.
fn target(running: usize, waiting: usize, polling: usize) -> Victim {
    let program = compile("gcc", "saturated.c", &["-O2", "-g", "-pthread"]);
    Victim::start(Command::new(program).args([running, waiting, polling].map(|count| count.to_string())))
}

/// A snapshot as JSON, and how long it took.
fn snapshot(victim: &Victim, stop: &str) -> (Value, Duration) {
    let begun = Instant::now();
    let printed = succeed(hangsnap().args(["--pid", &victim.pid(), "--stop", stop, "--json"]));
    let took = begun.elapsed();
    (serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}")), took)
}

/// How many threads of a snapshot have this function, with a whole stack.
fn whole(snapshot: &Value, function: &str) -> usize {
    let named = |thread: &&Value| {
        let frames = thread["frames"].as_array().into_iter().flatten();
        let mut functions = frames.filter_map(|frame| frame["functions"].as_array()).flatten();
        functions.any(|found| found["name"].as_str().is_some_and(|name| name.contains(function)))
    };
    let threads = snapshot["threads"].as_array().expect("threads").iter();
    threads.filter(|thread| thread["how"] != "not-captured" && thread["incomplete"].is_null()).filter(named).count()
}

fn assert_held_briefly(snapshot: &Value, what: &str) {
    let longest = Duration::from_nanos(snapshot["longest_hold_ns"].as_u64().expect("a number"));
    assert!(longest <= LONGEST_HOLD, "{what}: a thread was held for {longest:?}");
}

fn assert_let_go(victim: &Victim, what: &str) {
    until(&format!("{what}: no thread is traced"), PATIENCE, || {
        states_and_tracers(victim).iter().all(|&(state, tracer)| !matches!(state, 't' | 'T') && tracer == 0)
    });
}

/// One tracer after the other was killed, because the thread that supervises it had lost its CPU,
/// and all threads were lost.
#[test]
fn of_a_thousand_sleeping_threads_none_is_lost_on_a_busy_host() {
    let victim = target(0, 1500, 0);
    let _load = Load::start(4);
    for stop in ["auto", "none", "all"] {
        let (found, took) = snapshot(&victim, stop);
        eprintln!("--stop {stop}: {took:?}, {}", found["notices"]);
        assert_eq!(whole(&found, "waits"), 1500, "--stop {stop}: {}", found["notices"]);
        assert_held_briefly(&found, stop);
        // What is said is said of the process; `all` says of each thread that stopped after the
        // others that it did.
        let notices = found["notices"].as_array().expect("notices").len();
        assert!(stop == "all" || notices <= 3, "--stop {stop}: {}", found["notices"]);
        assert_let_go(&victim, stop);
    }
}

/// Of 32 threads that ran 8 were captured, and of 64 six: each was waited for by itself, for less
/// time than the scheduler takes for a round.
#[test]
fn more_threads_that_run_than_there_are_cpus_are_captured_as_their_turns_come() {
    for running in [8, 32, 64, 128] {
        let victim = target(running, 0, 0);
        for stop in ["auto", "all"] {
            let (found, took) = snapshot(&victim, stop);
            eprintln!("{running} that run, --stop {stop}: {took:?}");
            let what = format!("{running} that run, --stop {stop}: {}", found["notices"]);
            assert!(whole(&found, "spins") * 100 >= running * 99, "{} captured, {what}", whole(&found, "spins"));
            assert_held_briefly(&found, &what);
            assert_let_go(&victim, &what);
        }
    }
}

#[test]
fn threads_that_run_and_threads_that_sleep_are_captured_side_by_side() {
    // Those in epoll_wait abort when they are disturbed, which `all` does.
    for (stop, polling) in [("auto", 20), ("all", 0)] {
        let victim = target(16, 50, polling);
        for load in [0, 4] {
            let _load = Load::start(load);
            let (found, took) = snapshot(&victim, stop);
            let what = format!("load {load}, --stop {stop}: {took:?}, {}", found["notices"]);
            eprintln!("{what}");
            assert_eq!(whole(&found, "waits"), 50, "{what}");
            assert_eq!(whole(&found, "polls"), polling, "{what}");
            assert!(whole(&found, "spins") >= 15, "{} that run, {what}", whole(&found, "spins"));
            assert_held_briefly(&found, &what);
            assert_let_go(&victim, &what);
        }
    }
}

/// They were interrupted together with all others, and again one by one.
#[test]
fn a_thread_that_did_not_stop_with_all_others_is_not_disturbed_again() {
    let program = compile("gcc", "saturated.c", &["-O2", "-g", "-pthread"]);
    let victim = Victim::start(Command::new(program).args(["0", "4", "0", "8"]));
    let all = ["--pid", &victim.pid(), "--stop", "all", "--json"];
    let printed = succeed(hangsnap().env("HANGSNAP_FAULT", "wait:late").args(all));
    let found: Value = serde_json::from_str(&printed).expect("JSON");
    // Those that had been disturbed twice would have ended it by now, or do so before the next.
    assert_eq!(whole(&found, "polls_twice"), 8, "{}", found["notices"]);
    assert_let_go(&victim, "after it");
    let (found, _) = snapshot(&victim, "none");
    assert_eq!((whole(&found, "polls_twice"), whole(&found, "waits")), (8, 4), "{}", found["notices"]);
}

/// What a snapshot has is in its recording, too.
#[test]
fn threads_that_run_are_recorded_on_a_busy_host() {
    let victim = target(32, 0, 0);
    let _load = Load::start(2);
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("busy.hangsnap");
    succeed(hangsnap().args(["--pid", &victim.pid(), "-o"]).arg(&file));
    let printed = succeed(hangsnap().arg("show").arg(&file).arg("--json"));
    let stored: Value = serde_json::from_str(&printed).expect("JSON");
    assert!(whole(&stored, "spins") >= 31, "{} captured: {}", whole(&stored, "spins"), stored["notices"]);
}

/// Python's threads that compute wait for its lock most of the time, in a timed wait.
#[test]
fn threads_of_python_that_compute_are_all_captured() {
    let script = "import threading\ndef busy():\n while True: pass\n\
                  for _ in range(12): threading.Thread(target=busy, daemon=True).start()\n\
                  print('ready', flush=True)\nthreading.Event().wait()\n";
    let victim = Victim::start(Command::new("python3").args(["-c", script]).stderr(Stdio::null()));
    let _load = Load::start(2);
    let (found, took) = snapshot(&victim, "auto");
    let threads = found["threads"].as_array().expect("threads");
    let captured = threads.iter().filter(|thread| thread["how"] != "not-captured").count();
    eprintln!("{captured} of {} in {took:?}: {}", threads.len(), found["notices"]);
    assert_eq!((captured, threads.len()), (13, 13), "{}", found["notices"]);
    assert_held_briefly(&found, "python");
}
