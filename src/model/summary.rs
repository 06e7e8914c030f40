//! What a list says of a snapshot.

use std::sync::Arc;
use std::time::Duration;

use super::{Pid, Snapshot, Timestamp};

/// A snapshot without what is in it: enough to list it, and to find it by number or time. It is
/// stored in front of the snapshot, so that neither takes unpacking.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Summary {
    /// The snapshot's number in its recording.
    pub number: u64,
    /// When it was taken.
    pub taken: Timestamp,
    /// The process's id.
    pub pid: Pid,
    /// `comm` of the main thread. Those of a recording share it: a list may have a million.
    pub program: Arc<str>,
    /// How many threads are in it.
    pub threads: usize,
    /// How many of them have not run since the snapshot before; None where that is not known.
    pub not_run: Option<usize>,
    /// As in `Snapshot::longest_hold`.
    pub longest_hold: Duration,
    /// As in `Snapshot::window`.
    pub window: Duration,
    /// How many things the snapshot says it could not see.
    pub losses: usize,
}

/// Of a snapshot by itself: what takes the one before is not known.
impl From<&Snapshot> for Summary {
    fn from(snapshot: &Snapshot) -> Self {
        Self {
            number: snapshot.number,
            taken: snapshot.taken,
            pid: snapshot.process.id.pid,
            program: snapshot.process.name.as_str().into(),
            threads: snapshot.threads.len(),
            not_run: None,
            longest_hold: snapshot.longest_hold(),
            window: snapshot.window,
            losses: snapshot.losses().count(),
        }
    }
}
