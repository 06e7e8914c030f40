//! What names a process, a thread and a file's contents.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A process id as seen from hangsnap's own PID namespace.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Pid(pub i32);

/// A thread id as seen from hangsnap's own PID namespace. The main thread's equals the process id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Tid(pub i32);

impl Pid {
    /// The main thread of this process.
    pub fn main_thread(self) -> Tid {
        Tid(self.0)
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Tid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// When a process or thread was created, in clock ticks since boot: field 22 of `stat` in
/// proc_pid_stat(5). Together with the id it distinguishes a process from a later one that was
/// given the same number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct StartTime(pub u64);

/// One process and no other: a pid alone is reused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct ProcessId {
    /// Its id.
    pub pid: Pid,
    /// When it was created.
    pub start: StartTime,
}

/// The contents of an `NT_GNU_BUILD_ID` note: bytes that name one output of the linker, usually 20
/// of them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct BuildId(pub Vec<u8>);

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
