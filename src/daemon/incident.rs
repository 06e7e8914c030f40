//! An incident: what was seen, from which snapshot to which, and where it is kept.

use std::path::PathBuf;
use std::time::Duration;

use crate::model::Process;

/// An incident whose samples have been taken.
#[derive(Clone, Debug)]
pub(super) struct Incident {
    /// The number of the target.
    pub target: u64,
    /// The selector of the target, as the user wrote it.
    pub label: String,
    /// What it is.
    pub process: Process,
    /// Which trigger has fired.
    pub trigger: String,
    /// What it saw.
    pub reason: String,
    /// When it fired, in nanoseconds since 1970.
    pub at_ns: i64,
    /// From when it fired to when the first sample was there.
    pub latency: Duration,
    /// What was seen of the process in the minute before, a line a second.
    pub before: Vec<String>,
}

/// The same, once it was stored.
#[derive(Clone, Debug)]
pub(super) struct StoredIncident {
    /// What happened.
    pub incident: Incident,
    /// The recording.
    pub recording: PathBuf,
    /// The last snapshot of it.
    pub last_number: u64,
    /// From the first to the last snapshot of it, in nanoseconds since 1970.
    pub times_ns: (i64, i64),
}
