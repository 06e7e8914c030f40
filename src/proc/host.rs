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

/// Whether /proc tells of the processes that this one can see: it may have been mounted for another
/// PID namespace, where the same number is another process.
pub fn is_our_own() -> bool {
    let ourselves = fs::read_link("/proc/self").ok().and_then(|path| path.to_str()?.parse().ok());
    ourselves == Some(std::process::id())
}
