//! When threads were given a CPU for the last time: `se.exec_start` in /proc/PID/task/TID/sched.
//!
//! The kernel writes it on the clock of the CPU that the thread ran on, without the time that the
//! CPU spent in interrupts and that a hypervisor took from it. These clocks are apart from each
//! other and lag CLOCK_MONOTONIC, so a thread of ours goes to each CPU in question to compare them
//! now. A thread that ran long ago ran earlier than what comes of that, never later: a wait is not
//! made longer than it was. The file is there where the kernel has CONFIG_SCHED_DEBUG, and anyone
//! may read it. It has to be read before a thread is held: a hold makes it run.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid as NixPid;

use crate::model::{Acquired, LastRan, Pid, Thread, Tid};
use crate::sys::clock;

/// A thread that ran more recently than this shows nothing that two samples do not.
const A_WHILE_NS: u64 = 100_000_000;
/// Ten thousand threads take a fifth of a second.
const PATIENCE: Duration = Duration::from_millis(120);

/// When a thread had run last, on the clock of the CPU that it ran on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RawLastRan {
    tid: Tid,
    exec_start_ns: u64,
}

/// Of all threads of a process, when they had run last.
pub fn last_ran(pid: Pid) -> Vec<RawLastRan> {
    /// Threads that are worth a thread of ours; the kernel writes much into each file.
    const A_SHARE: usize = 100;
    const MOST_SHARES: usize = 4;
    let begun = Instant::now();
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let tid = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok().map(Tid);
    let tids: Vec<Tid> = entries.flatten().filter_map(tid).collect();
    let read = |tids: &[Tid]| {
        let in_time = tids.iter().take_while(|_| begun.elapsed() <= PATIENCE);
        let one = |tid: &Tid| {
            let exec_start_ns = exec_start(&format!("/proc/{pid}/task/{tid}/sched"))?;
            Some(RawLastRan { tid: *tid, exec_start_ns })
        };
        in_time.filter_map(one).collect::<Vec<_>>()
    };
    let cpus = thread::available_parallelism().map_or(1, usize::from).min(MOST_SHARES);
    let shares = (tids.len() / A_SHARE).clamp(1, cpus);
    let mut parts = tids.chunks(tids.len().div_ceil(shares).max(1));
    let first = parts.next().unwrap_or_default();
    thread::scope(|scope| {
        let others: Vec<_> = parts.map(|part| scope.spawn(|| read(part))).collect();
        let mut found = read(first);
        found.extend(others.into_iter().flat_map(|other| other.join().unwrap_or_default()));
        found
    })
}

/// Those of them that had not run for a while, and have not since unless we held them.
pub fn not_run_since(pid: Pid, raw: &[RawLastRan], threads: &[Thread]) -> Vec<LastRan> {
    let find = |tid: Tid| threads.binary_search_by_key(&tid, |thread| thread.tid).ok().and_then(|at| threads.get(at));
    let cpu = |thread: &Thread| thread.status.scheduling.last_cpu;
    let cpus: BTreeSet<u32> = raw.iter().filter_map(|raw| cpu(find(raw.tid)?)).collect();
    let clocks = clocks(&cpus);
    let begun = Instant::now();
    let last_ran = |raw: &RawLastRan| {
        let thread = find(raw.tid)?;
        let (now_ns, monotonic_ns) = clocks.get(&cpu(thread)?)?;
        let is_still = match thread.acquired {
            Acquired::Held(_) => true,
            Acquired::ReadInPlace if begun.elapsed() < PATIENCE => {
                exec_start(&format!("/proc/{pid}/task/{}/sched", raw.tid)) == Some(raw.exec_start_ns)
            }
            Acquired::ReadInPlace | Acquired::UnchangedSince(_) | Acquired::NotCaptured => false,
        };
        let ago = now_ns.saturating_sub(raw.exec_start_ns);
        (is_still && ago >= A_WHILE_NS)
            .then(|| LastRan { tid: raw.tid, monotonic_ns: monotonic_ns.saturating_sub(ago) })
    };
    let mut found: Vec<LastRan> = raw.iter().filter_map(last_ran).collect();
    found.sort_unstable_by_key(|ran| ran.tid);
    found
}

/// The present on the clocks of these CPUs and on CLOCK_MONOTONIC, as far as we may run on them.
fn clocks(cpus: &BTreeSet<u32>) -> HashMap<u32, (u64, u64)> {
    let cpus = cpus.clone();
    let read = |cpu: u32| {
        let mut only = CpuSet::new();
        only.set(cpu as usize).ok()?;
        sched_setaffinity(NixPid::from_raw(0), &only).ok()?;
        // The kernel notes the time when it gives a thread a CPU, and then at its ticks;
        // there may be none while a thread runs alone.
        thread::sleep(Duration::from_micros(1));
        let monotonic_ns = clock::timestamp().monotonic_ns;
        Some((cpu, (exec_start("/proc/thread-self/sched")?, monotonic_ns)))
    };
    // A thread of its own, for it stays where it went last.
    let walk = move || -> HashMap<u32, (u64, u64)> {
        let begun = Instant::now();
        cpus.iter().take_while(|_| begun.elapsed() < PATIENCE).filter_map(|cpu| read(*cpu)).collect()
    };
    let (done, clocks) = crossbeam_channel::bounded(1);
    thread::spawn(move || {
        // Fails only if the caller waits no longer: a CPU that others have all of does not hold us
        // up.
        let _ = done.send(walk());
    });
    clocks.recv_timeout(2 * PATIENCE).unwrap_or_default()
}

/// Nanoseconds on the scheduler's clock.
fn exec_start(path: &str) -> Option<u64> {
    // The line is the third; what the first read returns has all of it.
    let mut bytes = [0; 1024];
    let length = File::open(path).ok()?.read(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(bytes.get(..length)?);
    let line = text.lines().find(|line| line.starts_with("se.exec_start"))?;
    let (whole, fraction) = line.rsplit(':').next()?.trim().split_once('.')?;
    let fraction: u64 = fraction.get(..6)?.parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_of_each_cpu_runs() {
        // Kernels without CONFIG_SCHED_DEBUG do not say.
        if exec_start("/proc/thread-self/sched").is_none() {
            println!("SKIPPED: this kernel does not say when threads ran last");
            return;
        }
        let cpus = BTreeSet::from([0]);
        let (before, after) = (clocks(&cpus), clocks(&cpus));
        let (Some(before), Some(after)) = (before.get(&0), after.get(&0)) else {
            println!("SKIPPED: we may not run on CPU 0");
            return;
        };
        assert!(before.0 < after.0 && before.1 < after.1, "{before:?} {after:?}");
    }
}
