//! Signals that arrive while threads are held are delivered once, in order and whole; a target that
//! was stopped by somebody else stays stopped.

use std::process::Command;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Counters, states_and_tracers};
use crate::lifecycle::sampler::{PATIENCE, Sampler};
use crate::support::{Victim, compile, hangsnap, long_form, recorder, succeed, until};

const HANDLED: u64 = 0;
const OUT_OF_ORDER: u64 = 1;
const WRONG_ORIGIN: u64 = 2;

fn pid_of(victim: &Victim) -> Pid {
    Pid::from_raw(i32::try_from(victim.child.id()).expect("a pid"))
}

/// Queues a numbered real-time signal.
fn queue(pid: Pid, number: u64) {
    let value = libc::sigval { sival_ptr: std::ptr::without_provenance_mut(usize::try_from(number).expect("small")) };
    // SAFETY: sigqueue takes its arguments by value; the pointer is a number that nothing follows.
    let result = unsafe { libc::sigqueue(pid.as_raw(), libc::SIGRTMIN(), value) };
    assert_eq!(Errno::result(result), Ok(0));
}

#[test]
fn signals_that_arrive_during_holds_are_delivered_once_in_order_and_with_their_origin() {
    for stop in ["auto", "all"] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let shared = directory.path().join("counters");
        let victim = Victim::start(Command::new(compile("gcc", "signals.c", &["-O1", "-g", "-pthread"])).arg(&shared));
        let counters = Counters::open(&shared);
        let file = directory.path().join("signals.hangsnap");
        let mut sampler =
            Sampler::start(recorder(&victim.pid(), "1ms").args(["--keep", "stacks", "--stop", stop, "-o"]).arg(&file));
        sampler.line_with("#1 ");
        let mut sent = 0;
        let signals = if long_form() { 100_000 } else { 10_000 };
        while sent < signals {
            for _ in 0..4 {
                sent += 1;
                queue(pid_of(&victim), sent);
            }
            let begun = Instant::now();
            while counters.get(HANDLED) < sent {
                assert!(begun.elapsed() < PATIENCE, "{} of {sent} signals arrived", counters.get(HANDLED));
                std::thread::yield_now();
            }
        }
        sampler.signal(Signal::SIGINT);
        let samples = sampler.end().snapshots();
        eprintln!("--stop {stop}: {sent} signals during {samples} samples: {:?}", counters.all());
        assert_eq!(counters.get(HANDLED), sent);
        assert_eq!(counters.get(OUT_OF_ORDER), 0);
        assert_eq!(counters.get(WRONG_ORIGIN), 0);
    }
}

fn all_are(victim: &Victim, wanted: char) -> bool {
    states_and_tracers(victim).iter().all(|&(state, tracer)| state == wanted && tracer == 0)
}

fn start_counting(directory: &std::path::Path) -> (Victim, Counters) {
    let shared = directory.join("counters");
    let program = compile("gcc", "counters.c", &["-O1", "-g", "-pthread"]);
    let victim = Victim::start(Command::new(program).arg(&shared));
    (victim, Counters::open(&shared))
}

fn await_progress(counters: &Counters) {
    let before = counters.all();
    until("every thread of the target runs", PATIENCE, || {
        counters.all().iter().zip(&before).all(|(now, before)| now > before)
    });
}

#[test]
fn a_target_that_is_stopped_is_sampled_and_stays_stopped_until_it_is_continued() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (victim, counters) = start_counting(directory.path());
    for (round, stop) in ["auto", "all"].into_iter().enumerate() {
        kill(pid_of(&victim), Signal::SIGSTOP).expect("it is there");
        until("all its threads have stopped", PATIENCE, || all_are(&victim, 'T'));
        let before = counters.all();
        let printed = succeed(hangsnap().args(["--pid", &victim.pid(), "--stop", stop]));
        assert!(printed.contains("run at ") || printed.contains("run in "), "its stacks can be had:\n{printed}");
        assert!(!printed.contains("Not seen"), "nothing is lost:\n{printed}");
        assert_eq!(printed.matches("\"  stopped").count(), counters.all().len(), "as many threads as that:\n{printed}");
        let file = directory.path().join(format!("{round}.hangsnap"));
        succeed(
            recorder(&victim.pid(), "1ms")
                .args(["--stop", stop, "--keep", "stacks", "--count", "100", "-o"])
                .arg(&file),
        );
        assert!(all_are(&victim, 'T'), "still stopped, by nobody's tracing: {:?}", states_and_tracers(&victim));
        assert_eq!(counters.all(), before, "it has not run for a moment");
        kill(pid_of(&victim), Signal::SIGCONT).expect("it is there");
        await_progress(&counters);
    }
}

#[test]
fn a_stop_and_a_continue_that_arrive_while_it_is_sampled_take_effect() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (victim, counters) = start_counting(directory.path());
    for stop in ["auto", "all"] {
        let file = directory.path().join(format!("{stop}.hangsnap"));
        let mut sampler =
            Sampler::start(recorder(&victim.pid(), "1ms").args(["--keep", "stacks", "--stop", stop, "-o"]).arg(&file));
        sampler.line_with("#1 ");
        for _ in 0..50 {
            kill(pid_of(&victim), Signal::SIGSTOP).expect("it is there");
            let mut before = counters.all();
            // While it is sampled a stopped thread shows as traced now and then, and so does one
            // that runs: what distinguishes them is that nothing is counted from one look to the
            // next.
            until("it has stopped", PATIENCE, || {
                let stopped = states_and_tracers(&victim).iter().all(|(state, _)| matches!(state, 'T' | 't'));
                let now = counters.all();
                stopped && std::mem::replace(&mut before, now.clone()) == now
            });
            kill(pid_of(&victim), Signal::SIGCONT).expect("it is there");
            await_progress(&counters);
        }
        kill(pid_of(&victim), Signal::SIGSTOP).expect("it is there");
        sampler.line_with("#");
        sampler.signal(Signal::SIGINT);
        sampler.end().in_order();
        until("all its threads have stopped", PATIENCE, || all_are(&victim, 'T'));
        kill(pid_of(&victim), Signal::SIGCONT).expect("it is there");
        await_progress(&counters);
    }
}
