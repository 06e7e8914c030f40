//! What the daemon takes of the host while it looks at many threads, and while programs restart in
//! a loop.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::daemon::Daemon;
use crate::support::{Victim, compile, long_form};

const TARGETS: usize = 50;
const THREADS: &str = "100";
/// What is to be held: MiB.
const MEMORY: u64 = 96;
/// The share of one CPU that is aimed at. It is not reached yet where threads wake each second: the
/// tracer takes most of it, as it does for the sampler. So it is printed, and not held to.
const CPU: f64 = 0.02;

/// The CPU time in seconds, the highest memory in KiB and the descriptors of a process and of those
/// that it has started.
fn taken(pid: u32) -> (f64, u64, usize) {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it is there");
    let children: String =
        tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok()).collect();
    let pids = children.split_whitespace().map(|pid| pid.parse().expect("a pid")).chain([pid]);
    let (mut cpu, mut memory, mut descriptors) = (0.0, 0, 0);
    for pid in pids {
        // A child may have ended meanwhile.
        let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { continue };
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
        memory += peak.unwrap_or(0_u64);
        descriptors += fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
        let of_task = |task: fs::DirEntry| fs::read_to_string(task.path().join("schedstat")).ok();
        let ns = tasks.filter_map(|task| of_task(task.ok()?)?.split(' ').next()?.parse::<f64>().ok());
        cpu += ns.sum::<f64>() / 1e9;
    }
    (cpu, memory, descriptors)
}

#[test]
fn fifty_targets_of_a_hundred_threads_cost_little() {
    let program = compile("gcc", "many.c", &["-O1", "-g", "-pthread"]);
    let victims: Vec<Victim> = (0..TARGETS).map(|_| Victim::start(Command::new(&program).arg(THREADS))).collect();
    let daemon = Daemon::start("every = \"5s\"\n[[target]]\nname = \"many-gcc*\"\non-hang = \"for=60s\"\n");
    daemon.until("all are sampled twice", |status| {
        status["targets"].as_array().is_some_and(|targets| {
            targets.len() == TARGETS && targets.iter().all(|target| target["snapshots"].as_u64() >= Some(2))
        })
    });
    let length = Duration::from_secs(if long_form() { 600 } else { 30 });
    let (begun, (before, ..)) = (Instant::now(), taken(daemon.pid()));
    std::thread::sleep(length);
    let (after, memory, descriptors) = taken(daemon.pid());
    let share = (after - before) / begun.elapsed().as_secs_f64();
    println!(
        "{TARGETS} targets of {THREADS} threads every 5 s: {:.2}% of a CPU (the aim is {}%), {} MiB at most (at most {MEMORY}), \
         {descriptors} descriptors",
        share * 100.0,
        CPU * 100.0,
        memory >> 10
    );
    let skipped = daemon.status()["targets"]
        .as_array()
        .map(|targets| targets.iter().filter_map(|target| target["skipped"].as_u64()).sum::<u64>());
    assert_eq!(skipped, Some(0));
    assert!(memory >> 10 <= MEMORY, "{memory} KiB");
    drop(victims);
}

/// A shell that starts a program again and again.
struct Loop(Child);

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_program_that_restarts_in_a_loop_is_said_once_and_its_recordings_are_bounded() {
    let place = tempfile::tempdir().expect("a directory");
    let program = place.path().join("crashing");
    fs::copy(compile("gcc", "sleeper.c", &["-O1", "-g", "-pthread"]), &program).expect("it can be copied");
    let script = format!("while :; do timeout -s KILL 0.3 {}; done", program.display());
    let shell = Command::new("sh").args(["-c", &script]).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let _shell = Loop(shell.expect("sh is there"));
    let most = 5;
    let mut daemon = Daemon::start(&format!(
        "every = \"100ms\"\nmax-targets = {most}\n[[target]]\nexe = \"{}\"\n",
        program.display()
    ));
    daemon.line_with("is started again and again");
    let (_, _, before) = taken(daemon.pid());
    std::thread::sleep(Duration::from_secs(5));
    let (_, _, after) = taken(daemon.pid());
    let said = daemon.said().iter().filter(|line| line.contains("again and again")).count();
    assert!(said <= 2, "{:?}", daemon.said());
    assert!(daemon.files("hangsnap").len() <= most + 1, "{:?}", daemon.files("hangsnap"));
    assert!(after <= before + 4, "{before} descriptors, then {after}");
}
