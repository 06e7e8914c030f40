//! What the sampler and its processes hold: descriptors and memory. A long recording ends with what
//! it began with.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::lifecycle::sampler::{Sampler, start_told};
use crate::support::{compile, hangsnap, recorder, succeed};

/// How much more memory the sampler may have at the end than after its first snapshots: room for
/// more threads at once than it had seen by then. In the long form of the storm this is 0.3 KiB for
/// a snapshot.
pub const MEMORY_SLACK_KIB: u64 = 2048;

/// The sampler and the processes that it started.
pub struct Family(pub i32);

impl Family {
    fn members(&self) -> Vec<i32> {
        let mut members = vec![self.0];
        let mut looked_at = 0;
        while let Some(parent) = members.get(looked_at).copied() {
            looked_at += 1;
            let tasks = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
            for children in tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok()) {
                members.extend(children.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()));
            }
        }
        members
    }

    /// What all of them hold at this moment; None when one ended while it was looked at.
    pub fn holdings(&self) -> Option<Holdings> {
        let members = self.members();
        let mut holdings = Holdings { processes: members.len(), descriptors: 0, watches: 0, memory_kib: 0 };
        for pid in members {
            let is_watch = |path: &Path| path.ends_with("stat") || path.ends_with("schedstat");
            for descriptor in fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten() {
                match fs::read_link(descriptor.path()).is_ok_and(|path| is_watch(&path)) {
                    true => holdings.watches += 1,
                    false => holdings.descriptors += 1,
                }
            }
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            holdings.memory_kib += resident.trim().strip_suffix(" kB")?.parse::<u64>().ok()?;
        }
        Some(holdings)
    }

    /// What they hold by many looks: the least number of descriptors, because some are open for the
    /// moment of one sample only, and the median of the memory. When one of them is being replaced
    /// they hold less; such looks do not count.
    pub fn keep(&self) -> Holdings {
        let mut looks: Vec<Holdings> = (0..300)
            .filter_map(|_| {
                std::thread::sleep(Duration::from_millis(1));
                self.holdings()
            })
            .collect();
        let processes = looks.iter().map(|look| look.processes).max().expect("it was there to be looked at");
        looks.retain(|look| look.processes == processes);
        looks.sort_unstable_by_key(|look| look.memory_kib);
        let memory_kib = looks[looks.len() / 2].memory_kib;
        let descriptors = looks.iter().filter(|look| look.is_complete(memory_kib)).map(|look| look.descriptors).min();
        let descriptors = descriptors.expect("the median is one of them");
        let watches = looks.iter().map(|look| look.watches).max().unwrap_or_default();
        Holdings { processes, descriptors, watches, memory_kib }
    }
}

/// Open descriptors and resident memory of the sampler's family.
#[derive(Debug)]
pub struct Holdings {
    pub processes: usize,
    pub descriptors: usize,
    /// Two for each thread that is at rest at the moment: they come and go with those.
    pub watches: usize,
    pub memory_kib: u64,
}

impl Holdings {
    /// Whether all processes have grown up, when this much memory is usual. One that has just been
    /// started has less.
    pub fn is_complete(&self, usual_kib: u64) -> bool {
        self.memory_kib > usual_kib / 20 * 19
    }
}

/// The room for all of one stack, set aside when it was met, stayed for as long as the recording
/// went on.
#[test]
fn a_deep_stack_that_was_met_once_does_not_stay_in_memory() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = compile("gcc", "dives.c", &["-O1", "-g"]);
    for stop in ["auto", "all", "none"] {
        let (mut victim, mut input) = start_told(&mut Command::new(&program));
        let pid = victim.pid();
        let mut step = |wanted: &str| {
            input.write_all(b".").expect("it waits for the next step");
            while victim.line().trim() != wanted {}
        };
        let file = directory.path().join(stop);
        let mut sampler = Sampler::start(recorder(&pid, "5ms").args(["--stop", stop, "-o"]).arg(&file));
        let family = Family(sampler.pid().as_raw());
        let mut holds_when_it_is = |deep: bool| {
            sampler.more_samples(20);
            let shown = succeed(hangsnap().arg("show").arg(&file));
            assert_eq!(shown.contains("1023 more frames like this"), deep, "--stop {stop}: {shown}");
            family.keep().memory_kib
        };
        let before = holds_when_it_is(false);
        step("deep");
        holds_when_it_is(true);
        step("back");
        let after = holds_when_it_is(false);
        eprintln!("--stop {stop}: {before} KiB before, {after} KiB afterwards");
        assert!(after <= before + MEMORY_SLACK_KIB, "--stop {stop}: {before} KiB before, {after} KiB afterwards");
        sampler.signal(Signal::SIGINT);
        sampler.end();
    }
}
