//! How much of the host's memory hangsnap takes while it records many processes that share
//! libraries.

use std::fs;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::support::{Victim, compile, hangsnap, victim_source};

const TARGETS: usize = 50;
const SAMPLES: &str = "5";
/// What is promised, in KiB.
const MOST: u64 = 64 << 10;

/// The ids of a process and all its descendants.
fn family(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(pid) = found.get(next) {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
        let children = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
        let children: Vec<u32> =
            children.flat_map(|list| list.split_whitespace().map(str::parse).collect::<Vec<_>>()).flatten().collect();
        found.extend(children);
        next += 1;
    }
    found
}

/// The number after a name in one of the files of /proc/PID, in KiB. None once the process is
/// gone.
fn kib(pid: u32, file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

/// A mix of small programs and large ones; of Python's, threads wait in the middle of calls through
/// nine libraries.
fn target(number: usize, sleeper: &std::path::Path) -> Victim {
    match number % 5 {
        0 => Victim::start(Command::new("node").args(["-e", "console.log('ready'); setInterval(() => {}, 1e6)"])),
        1 => Victim::start(&mut Command::new(sleeper)),
        _ => Victim::start(Command::new("python3").arg(victim_source("libraries.py"))),
    }
}

#[test]
fn fifty_targets_that_share_libraries_take_less_than_64_mib() {
    let sleeper = compile("gcc", "sleeper.c", &["-O1", "-g", "-pthread"]);
    let targets: Vec<Victim> = (0..TARGETS).map(|number| target(number, &sleeper)).collect();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut sampler = hangsnap();
    sampler.args(targets.iter().flat_map(|target| ["--pid".into(), target.pid()]));
    sampler.args(["--every", "1s", "--count", SAMPLES, "-o"]).arg(directory.path());
    let mut sampler = sampler.stdout(Stdio::null()).spawn().expect("hangsnap can be started");
    let (mut peaks, mut shares) = (0, 0);
    let status = loop {
        if let Some(status) = sampler.try_wait().expect("it is our child") {
            break status;
        }
        // The most that each has had so far, pages counted in each that has them; and pages shared
        // with others by share.
        let all = family(sampler.id());
        peaks = peaks.max(all.iter().filter_map(|pid| kib(*pid, "status", "VmHWM")).sum());
        shares = shares.max(all.iter().filter_map(|pid| kib(*pid, "smaps_rollup", "Pss")).sum());
        thread::sleep(Duration::from_millis(5));
    };
    assert!(status.success(), "{status}");
    let recorded = fs::read_dir(directory.path()).expect("the recordings").count();
    assert_eq!(recorded, TARGETS);
    println!(
        "{TARGETS} targets: at most {peaks} KiB resident, {shares} KiB by shares; at most {MOST} KiB are promised"
    );
    assert!(peaks > 1 << 10 && shares > 1 << 10, "nothing was measured");
    assert!(peaks < MOST, "{peaks} KiB");
}
