//! The origin of a segment: a segment of another recording is not taken for one of this.
//!
//! All segments of a recording are of one process, on one host, in one boot. A change of these from
//! one segment to the next is reported. The segments are read all the same, because only their
//! owner knows which of them belong elsewhere. Two recordings of the same process differ in their
//! snapshot numbers only, which `check` looks at.

use std::path::Path;

use super::Damage;
use crate::model::{Pid, ProcessId, Recording, StartTime};

/// What is known of that. Snapshots say more than an index does.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Origin {
    pub(super) recording: Option<Recording>,
    pub(super) pid: Option<Pid>,
    pub(super) start: Option<StartTime>,
}

impl Origin {
    pub(super) fn new(recording: Option<Recording>, process: Option<ProcessId>) -> Self {
        Self { recording, pid: process.map(|id| id.pid), start: process.map(|id| id.start) }
    }

    /// Goes on to the next segment, and returns what is to be said of that if it does not belong to
    /// the one before. `last` is the number of the last snapshot before it.
    pub(super) fn go_on_to(&mut self, next: Self, segment: &Path, last: u64) -> Option<Damage> {
        let how = next.breaks_with(self);
        *self = next.or(std::mem::take(self));
        how.map(|how| Damage::stranger(segment.into(), last, &how))
    }

    /// With what is not known of this taken from the one before.
    fn or(self, before: Self) -> Self {
        Self {
            recording: self.recording.or(before.recording),
            pid: self.pid.or(before.pid),
            start: self.start.or(before.start),
        }
    }

    /// How a segment gives away that it is not of the recording that the one before it is of.
    fn breaks_with(&self, before: &Self) -> Option<String> {
        if let (Some(was), Some(is)) = (&before.recording, &self.recording) {
            if was.host != is.host {
                return Some(format!("recorded on {}, and the one before it on {}", is.host, was.host));
            }
            if was.boot_id != is.boot_id {
                return Some("and the machine was restarted between it and the one before it".into());
            }
        }
        if let (Some(was), Some(is)) = (before.pid, self.pid)
            && was != is
        {
            return Some(format!("of process {is}, and the one before it is of {was}"));
        }
        let (was, is) = before.start.zip(self.start)?;
        (was != is).then(|| "of a process that was started at another time than that of the one before it".into())
    }
}
