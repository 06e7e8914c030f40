//! When threads were given a CPU for the last time: `se.exec_start` in /proc/PID/task/TID/sched.
//!
//! The kernel writes it on the scheduler's own clock, which runs beside CLOCK_MONOTONIC and is not
//! set; how far they are apart is seen from our own thread, which runs now. It is there where the
//! kernel has CONFIG_SCHED_DEBUG, and anyone may read it. To be read before a thread is held: a hold
//! makes it run.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use crate::model::{LastRan, Pid, Tid};
use crate::sys::clock;

/// A thread that ran more recently than this tells nothing that two samples do not.
const A_WHILE_NS: u64 = 100_000_000;
/// Ten thousand threads take a fifth of a second.
const PATIENCE: Duration = Duration::from_millis(120);

/// Of all threads of a process those that have not run for a while.
pub fn last_ran(pid: Pid) -> Vec<LastRan> {
    let begun = Instant::now();
    let Some((now_ns, monotonic_ns)) = now() else { return Vec::new() };
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        if begun.elapsed() > PATIENCE {
            break;
        }
        let tid = entry.file_name().to_str().and_then(|name| name.parse().ok()).map(Tid);
        let Some(tid) = tid else { continue };
        if let Some(ago) = exec_start(&format!("/proc/{pid}/task/{tid}/sched")).map(|ran| now_ns.saturating_sub(ran))
            && ago >= A_WHILE_NS
        {
            found.push(LastRan { tid, monotonic_ns: monotonic_ns.saturating_sub(ago) });
        }
    }
    found.sort_unstable_by_key(|ran| ran.tid);
    found
}

/// Those of them that have not run since they were read. One of which that is not known any more has.
pub fn not_run_since(pid: Pid, mut ran: Vec<LastRan>) -> Vec<LastRan> {
    let begun = Instant::now();
    let Some((now_ns, monotonic_ns)) = now() else { return Vec::new() };
    ran.retain(|ran| {
        let path = format!("/proc/{pid}/task/{}/sched", ran.tid);
        let last = exec_start(&path).filter(|_| begun.elapsed() < PATIENCE);
        let last = last.map(|last| monotonic_ns.saturating_sub(now_ns.saturating_sub(last)));
        last.is_some_and(|last| last <= ran.monotonic_ns.saturating_add(A_WHILE_NS / 2))
    });
    ran
}

/// The present on the scheduler's clock and on CLOCK_MONOTONIC.
fn now() -> Option<(u64, u64)> {
    // The kernel notes the time when it gives a thread a CPU, and then at its ticks, of which there
    // may be none while a thread runs alone.
    thread::sleep(Duration::from_micros(1));
    let monotonic_ns = clock::timestamp().monotonic_ns;
    Some((exec_start("/proc/thread-self/sched")?, monotonic_ns))
}

/// Nanoseconds on the scheduler's clock.
fn exec_start(path: &str) -> Option<u64> {
    let bytes = fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().find(|line| line.starts_with("se.exec_start"))?;
    let (whole, fraction) = line.rsplit(':').next()?.trim().split_once('.')?;
    let fraction: u64 = fraction.get(..6)?.parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_thread_ran_just_now() {
        // Kernels without CONFIG_SCHED_DEBUG do not say.
        let Some(_) = exec_start("/proc/thread-self/sched") else {
            println!("SKIPPED: this kernel does not say when threads ran last");
            return;
        };
        let me = Pid(std::process::id().cast_signed());
        assert!(
            last_ran(me).iter().all(|ran| ran.tid.0 != nix::unistd::gettid().as_raw()),
            "a thread that runs has run"
        );
    }
}
