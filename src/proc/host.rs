//! What the machine is called and which boot this is.

use std::{fs, thread};

/// The machine a recording is made on.
pub struct Host {
    /// Its host name.
    pub name: String,
    /// As `uname -r` prints it.
    pub kernel: String,
    /// A name for the time since the machine was started; monotonic times compare only within one.
    pub boot_id: String,
}

impl Host {
    /// What cannot be read (a container may hide it) is left empty.
    pub fn read() -> Self {
        let line = |path| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        Self {
            name: line("/proc/sys/kernel/hostname"),
            kernel: line("/proc/sys/kernel/osrelease"),
            boot_id: line("/proc/sys/kernel/random/boot_id"),
        }
    }
}

/// How many threads of this machine run or wait for a CPU (proc_loadavg(5)). None where that is
/// hidden.
pub fn runnable_threads() -> Option<u32> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split_whitespace().nth(3)?.split_once('/')?.0.parse().ok()
}

/// Whether a CPU that this process may use is left over while the calling thread works. False where
/// that is hidden.
pub fn has_idle_cpu() -> bool {
    let cpus = thread::available_parallelism().map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(1));
    runnable_threads().is_some_and(|runnable| runnable < cpus)
}

/// Whether /proc shows the processes that this one can see: it may have been mounted for another
/// PID namespace, where the same number is another process.
pub fn is_our_own() -> bool {
    let ourselves = fs::read_link("/proc/self").ok().and_then(|path| path.to_str()?.parse().ok());
    ourselves == Some(std::process::id())
}

/// The share of the last ten seconds, in millionths, in which some tasks of the host waited for
/// `cpu`, `memory` or `io` (`some avg10` of /proc/pressure). None where the kernel keeps no
/// account.
pub fn pressure(resource: &str) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/pressure/{resource}")).ok()?;
    let some = text.lines().find_map(|line| line.strip_prefix("some avg10="))?;
    let percent: f64 = some.split_whitespace().next()?.parse().ok()?;
    // It is between 0 and 100.
    Some((percent.clamp(0.0, 100.0) * 10_000.0).round() as u32)
}

/// How many CPUs there are, at least one.
pub fn cpus() -> u64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    let is_cpu =
        |line: &&str| line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    u64::try_from(text.lines().filter(is_cpu).count()).unwrap_or(1).max(1)
}

/// The memory of the host, in bytes.
pub fn total_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let kib: u64 =
        text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1024)
}
