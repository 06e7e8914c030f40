//! Retention: which segments of a recording that is being written are removed, so that it can be
//! written for ever.
//!
//! Whole segments are removed, oldest first, once they are older than the limit, or when all of
//! them together take more room than the limit. The segment that is being written stays, and so do
//! pinned ones. Pinned segments do not count, or a few pins would leave no room for new ones. Age
//! is counted by CLOCK_MONOTONIC. Segments of earlier runs (see `earlier`) go first, and their
//! directory with the last of them. Their recording is claimed meanwhile; one that another process
//! holds is left for the next time.

use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::claim::Claim;
use super::{Error, index, layout};

/// A segment that has been ended.
pub(super) struct Past {
    pub(super) path: PathBuf,
    /// With its index.
    pub(super) bytes: u64,
    pub(super) age: Age,
    pub(super) is_of_earlier_run: bool,
}

/// For how long a segment has been ended: so long before some moment, and all the time since.
pub(super) struct Age {
    pub(super) before: Duration,
    pub(super) since: Instant,
}

impl Age {
    /// Of one that ends just now.
    pub(super) fn new() -> Self {
        Self { before: Duration::ZERO, since: Instant::now() }
    }

    fn at(&self, now: Instant) -> Duration {
        self.before.saturating_add(now.saturating_duration_since(self.since))
    }
}

/// What came of removing one.
#[derive(PartialEq, Eq)]
enum Removal {
    Gone,
    /// Somebody else is at its recording.
    Busy,
    /// It is pinned, or cannot be removed.
    Stays,
}

impl Past {
    fn is_pinned(&self) -> bool {
        layout::pin_of(&self.path).symlink_metadata().is_ok()
    }

    /// Removes it, unless it is pinned. What cannot be removed now is tried again when the next
    /// segment has ended.
    fn remove(&self) -> Removal {
        let Some(recording) = self.path.parent().filter(|_| self.is_of_earlier_run) else {
            return self.remove_undisturbed();
        };
        let _claim = match Claim::new(recording) {
            Ok(claim) => claim,
            Err(Error::BeingWritten { .. }) => return Removal::Busy,
            Err(_) if !self.path.exists() => return Removal::Gone,
            Err(_) => return Removal::Stays,
        };
        let removal = self.remove_undisturbed();
        if removal == Removal::Gone {
            // Fails unless this was all that was left in it.
            let _ = fs::remove_dir(recording);
        }
        removal
    }

    /// The same where no other process is at its recording.
    fn remove_undisturbed(&self) -> Removal {
        let if_gone = |is_gone| if is_gone { Removal::Gone } else { Removal::Stays };
        if self.is_pinned() {
            return if_gone(!self.path.exists());
        }
        // Who pins it makes the pin first and then looks for the segment; here it gets another name
        // first, and then the pin is looked for. So one of both sees the other, however they meet.
        let leaving = layout::leaving(&self.path);
        if fs::rename(&self.path, &leaving).is_err() {
            return if_gone(!self.path.exists());
        }
        if !self.is_pinned() {
            // Before the segment: an index alone would suggest a segment that is lost.
            index::remove(&self.path);
            if fs::remove_file(&leaving).is_ok() {
                return Removal::Gone;
            }
        }
        // Should this fail too, the file stays under the other name.
        if_gone(fs::rename(&leaving, &self.path).is_err())
    }
}

pub(super) struct Retention {
    /// For all segments but the one being written.
    max_bytes: u64,
    /// Whether those of earlier runs count.
    earlier_count: bool,
    keep_for: Option<Duration>,
    past: VecDeque<Past>,
}

impl Retention {
    pub(super) fn new(max_bytes: u64, earlier_count: bool, keep_for: Option<Duration>) -> Self {
        Self { max_bytes, earlier_count, keep_for, past: VecDeque::new() }
    }

    /// A segment has been ended: others may have to go for the next one.
    pub(super) fn add(&mut self, ended: Past) {
        self.past.push_back(ended);
        self.make_room();
    }

    /// Puts what earlier runs left, oldest first, before what this one has ended.
    pub(super) fn add_earlier(&mut self, segments: Vec<Past>) {
        segments.into_iter().rev().for_each(|past| self.past.push_front(past));
        self.make_room();
    }

    fn make_room(&mut self) {
        let counts = |past: &Past| (self.earlier_count || !past.is_of_earlier_run) && !past.is_pinned();
        let mut bytes: u64 = self.past.iter().filter(|past| counts(past)).map(|past| past.bytes).sum();
        self.past.retain(|past| {
            if bytes <= self.max_bytes || !counts(past) {
                return true;
            }
            let stays = match past.remove() {
                Removal::Gone => false,
                Removal::Busy => true,
                // What an earlier run left, as another user perhaps, and cannot be removed must not
                // cost this one its own.
                Removal::Stays if past.is_of_earlier_run && !past.is_pinned() => false,
                Removal::Stays => return true,
            };
            bytes = bytes.saturating_sub(past.bytes);
            stays
        });
    }

    /// Removes what has become too old.
    pub(super) fn expire(&mut self, now: Instant) {
        let Some(keep_for) = self.keep_for else { return };
        self.past.retain(|past| past.age.at(now) <= keep_for || past.remove() != Removal::Gone);
    }
}
