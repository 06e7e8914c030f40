//! What can be known of a whole process by one look that costs microseconds: its parent, its state,
//! its CPU time, its size.
//!
//! Promises: nothing here waits for the process: none of it takes the lock of its memory map. CPU
//! time comes from the process's own clock (clock_getcpuclockid(3)), in nanoseconds, so a thread
//! that had a CPU for some microseconds is seen; anyone may read it.

use std::time::Duration;

use nix::time::ClockId;
use procfs::FromRead;
use procfs::process::Stat;

use crate::model::{Pid, StartTime, ThreadState};

/// Where a process comes from, and whether it is one that can be looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kin {
    /// Which process has started it, or has taken it over.
    pub parent: Pid,
    /// When it was created.
    pub start: StartTime,
    /// Whether it is a thread of the kernel (PF_KTHREAD; linux/sched.h).
    pub is_of_kernel: bool,
    /// Whether it only waits for its parent.
    pub has_ended: bool,
}

/// A process at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vitals {
    /// When it was created.
    pub start: StartTime,
    /// The state of its main thread.
    pub state: ThreadState,
    /// CPU time of all threads, those that have ended too.
    pub cpu: Duration,
    /// How many threads it has.
    pub threads: u64,
    /// Bytes of memory that are resident.
    pub resident: u64,
}

/// Reads where a process comes from. None when there is no such process.
pub fn kin_of(pid: Pid) -> Option<Kin> {
    const PF_KTHREAD: u32 = 0x0020_0000;
    let stat = stat(pid)?;
    let ended = matches!(ThreadState::from_letter(stat.state), ThreadState::Zombie | ThreadState::Dead);
    Some(Kin {
        parent: Pid(stat.ppid),
        start: StartTime(stat.starttime),
        is_of_kernel: stat.flags & PF_KTHREAD != 0,
        // A main thread that has ended may have siblings that run on.
        has_ended: ended && stat.num_threads <= 1,
    })
}

/// Looks at a process. None when there is no such process.
pub fn vitals_of(pid: Pid) -> Option<Vitals> {
    let stat = stat(pid)?;
    let clock = ClockId::pid_cpu_clock_id(nix::unistd::Pid::from_raw(pid.0)).ok()?;
    Some(Vitals {
        start: StartTime(stat.starttime),
        state: ThreadState::from_letter(stat.state),
        cpu: Duration::from(clock.now().ok()?),
        threads: u64::try_from(stat.num_threads).unwrap_or(0),
        resident: stat.rss.saturating_mul(procfs::page_size()),
    })
}

fn stat(pid: Pid) -> Option<Stat> {
    let bytes = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    // Only the name need not be UTF-8, and it is not looked at here.
    Stat::from_read(String::from_utf8_lossy(&bytes).as_bytes()).ok()
}
