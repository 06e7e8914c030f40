//! What makes an incident, each on a process that really comes to be so.

use std::io::Write;
use std::process::{ChildStdin, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use super::daemon::Daemon;
use crate::lifecycle::sampler::start_told;
use crate::support::{Victim, compile, sleeper};

/// From a trigger to the first sample, on a host that is not too busy for it.
const LATENCY_MS: f64 = 50.0;

fn ticks(arguments: &[&str]) -> (Victim, ChildStdin) {
    let program = compile("gcc", "ticks.c", &["-O1", "-g"]);
    start_told(Command::new(program).args(arguments).stderr(Stdio::null()))
}

fn tell(input: &mut ChildStdin, order: u8) {
    input.write_all(&[order]).expect("it reads");
}

fn reason(daemon: &Daemon) -> String {
    let status = daemon.until("there is a verdict", |status| status["incidents"][0]["verdict"].is_string());
    let incident = &status["incidents"][0];
    println!(
        "{}: first sample after {:.1} ms",
        incident["reason"],
        incident["latency_ms"].as_f64().unwrap_or_default()
    );
    incident["reason"].as_str().expect("text").to_owned()
}

#[test]
fn a_process_that_no_longer_runs_is_an_incident_and_one_that_never_did_is_none() {
    let (victim, mut input) = ticks(&[]);
    let idle = sleeper();
    let mut daemon = Daemon::start(&format!(
        "every = \"1s\"\non-hang = \"for=3s,burst=3,every=200ms\"\n[[target]]\npid = {}\n[[target]]\npid = {}\n",
        victim.pid(),
        idle.pid()
    ));
    daemon.until("it is known what is usual", |status| {
        status["targets"].as_array().is_some_and(|targets| {
            targets.len() == 2 && targets.iter().all(|target| target["snapshots"].as_u64() >= Some(12))
        })
    });
    assert!(!daemon.said().iter().any(|line| line.contains("unusual")), "{:?}", daemon.said());
    tell(&mut input, b'x');
    let (_, line) = daemon.line_with("which is unusual for it");
    assert!(line.contains(&victim.pid()), "{line}");
    assert!(reason(&daemon).contains("unusual"));
    // What sleeps as it always did is none, however long.
    std::thread::sleep(Duration::from_secs(4));
    assert!(!daemon.said().iter().any(|line| line.contains(&format!("of {}:", idle.pid()))), "{:?}", daemon.said());
}

#[test]
fn a_thread_that_stays_in_uninterruptible_sleep_is_an_incident() {
    let (victim, mut input) = ticks(&[]);
    let daemon = Daemon::start(&format!(
        "every = \"200ms\"\n[[target]]\npid = {}\non-blocked = \"for=1s,burst=2,every=100ms\"\n",
        victim.pid()
    ));
    daemon.until_targets(1);
    tell(&mut input, b'd');
    assert!(reason(&daemon).contains(&format!("thread {} is in uninterruptible sleep", victim.pid())));
}

#[test]
fn a_heartbeat_that_stops_is_an_incident() {
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("alive");
    let file = file.to_str().expect("a path");
    let (victim, mut input) = ticks(&[file]);
    let daemon = Daemon::start(&format!(
        "every = \"1s\"\n[[target]]\npid = {}\non-heartbeat = \"{file},age=1s,burst=2,every=100ms\"\n",
        victim.pid()
    ));
    daemon.until("it was seen written", |status| status["targets"][0]["snapshots"].as_u64() >= Some(3));
    tell(&mut input, b'x');
    assert!(reason(&daemon).contains("was not written for 1."));
}

#[test]
fn a_process_that_works_all_the_time_is_an_incident_and_soon_sampled() {
    let (victim, mut input) = ticks(&[]);
    let daemon = Daemon::start(&format!(
        "every = \"1s\"\n[[target]]\npid = {}\non-cpu = \"above=5%,for=1s,burst=2,every=100ms\"\n",
        victim.pid()
    ));
    daemon.until_targets(1);
    tell(&mut input, b'w');
    assert!(reason(&daemon).contains("more than 5% of a CPU"));
    // The median of several, for this host may be busy.
    let mut latencies: Vec<f64> = (0..9)
        .map(|number| {
            daemon.signal(Signal::SIGUSR1);
            let status = daemon.until("there is another", |status| {
                status["incidents"].as_array().is_some_and(|incidents| incidents.len() == number + 2)
            });
            status["incidents"][number + 1]["latency_ms"].as_f64().expect("a number")
        })
        .collect();
    latencies.sort_by(f64::total_cmp);
    println!("from a trigger to the first sample, in ms: {latencies:.1?}, median at most {LATENCY_MS}");
    assert!(latencies[latencies.len() / 2] <= LATENCY_MS, "{latencies:?}");
}

#[test]
fn more_memory_and_more_threads_than_allowed_are_incidents() {
    let victim = sleeper();
    for trigger in ["on-memory = \"above=64KiB,burst=1\"", "on-threads = \"above=1,burst=1\""] {
        let daemon = Daemon::start(&format!("every = \"1s\"\n[[target]]\npid = {}\n{trigger}\n", victim.pid()));
        assert!(reason(&daemon).contains("more than"), "{trigger}");
    }
}
