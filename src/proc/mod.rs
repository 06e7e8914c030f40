//! What /proc says of a process, its threads and its memory map, by way of the procfs crate.
//!
//! Promises: what identifies a process is read through a directory that was opened once, so that it
//! is about one process even if the pid is reused. Lists and links go by the pid, and are about the
//! process that has it now. Text need not be UTF-8, and all of it is kept (`model::text_of`).
//!
//! Does not interpret: which mappings make a module and which threads to hold is decided elsewhere.
//! Does not read the memory of a held thread: `sys` does.

mod host;
mod lineage;
mod maps;
mod process;
mod rights;
mod thread;
mod vitals;
mod watch;

pub use host::{Host, cpus, has_idle_cpu, is_our_own, pressure, runnable_threads, total_memory};
pub use lineage::Lineage;
pub use maps::{Backing, Mapping, MemoryMap};
pub use process::{ImageId, ProcDir, TracerOf, names_matching, thread_name};
pub use rights::{
    Capabilities, Capability, Credentials, Ids, Limits, UserNamespace, counts_runs, has_thread_file, hidden_processes,
    real_time_budget, security_label, yama_scope,
};
pub use thread::{BlockedCall, RunCount, ThreadDir};
pub use vitals::{Kin, Vitals, kin_of, vitals_of};
pub use watch::Watch;

use procfs::ProcError;

/// Why something of /proc could not be read.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error, serde::Serialize, serde::Deserialize)]
#[expect(missing_docs, reason = "the message of each says what it is")]
pub enum Error {
    /// The process or thread has ended.
    #[error("no such process or thread")]
    Gone,
    #[error("permission denied")]
    NotPermitted,
    #[error("{0}")]
    Other(String),
}

impl From<ProcError> for Error {
    fn from(error: ProcError) -> Self {
        match error {
            ProcError::NotFound(_) => Self::Gone,
            ProcError::PermissionDenied(_) => Self::NotPermitted,
            ProcError::Io(error, _) => error.into(),
            other => Self::Other(other.to_string()),
        }
    }
}

impl From<nix::errno::Errno> for Error {
    fn from(errno: nix::errno::Errno) -> Self {
        std::io::Error::from(errno).into()
    }
}

impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        match error.raw_os_error() {
            // A file below /proc/PID that was opened while the process lived answers ESRCH once it
            // is gone.
            Some(libc::ESRCH | libc::ENOENT) => Self::Gone,
            Some(libc::EACCES | libc::EPERM) => Self::NotPermitted,
            _ => Self::Other(error.to_string()),
        }
    }
}
