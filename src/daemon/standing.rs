//! What a target's snapshots, one after another, say of it: threads in uninterruptible sleep for
//! long, and stacks that no longer change.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use super::learned::Usual;
use crate::model::{Snapshot, StartTime, ThreadState, Tid};

/// What is known of one target from its snapshots.
pub(super) struct Standing {
    /// Since which snapshot a thread is in one uninterruptible sleep, and how often it had lost its
    /// CPU then.
    blocked: HashMap<(Tid, StartTime), (Instant, Option<u64>)>,
    stacks: u64,
    moves: Usual,
}

impl Standing {
    /// Knows nothing.
    pub(super) fn new() -> Self {
        Self { blocked: HashMap::new(), stacks: 0, moves: Usual::new(Instant::now()) }
    }

    /// Takes the next snapshot into account.
    pub(super) fn add(&mut self, snapshot: &Snapshot, now: Instant) {
        let before = std::mem::take(&mut self.blocked);
        let mut hasher = DefaultHasher::new();
        for thread in &snapshot.threads {
            let key = (thread.tid, thread.status.start);
            thread.tid.hash(&mut hasher);
            thread.stack.frames.hash(&mut hasher);
            if thread.status.state == ThreadState::Uninterruptible {
                let switches = thread.status.scheduling.switches();
                let since = before.get(&key).filter(|(_, before)| *before == switches).map_or(now, |(since, _)| *since);
                self.blocked.insert(key, (since, switches));
            }
        }
        let stacks = hasher.finish();
        if std::mem::replace(&mut self.stacks, stacks) != stacks {
            self.moves.happened(now);
        }
    }

    /// The thread that is in one uninterruptible sleep for the longest time, if for at least this
    /// long.
    pub(super) fn blocked(&self, now: Instant, least: Duration) -> Option<(Tid, Duration)> {
        let (tid, since) =
            self.blocked.iter().map(|((tid, _), (since, _))| (*tid, *since)).min_by_key(|(_, since)| *since)?;
        let lasting = now.duration_since(since);
        (lasting >= least).then_some((tid, lasting))
    }

    /// For how long all stacks are the same, if for at least this long, and usually they are not.
    pub(super) fn same_stacks(&self, now: Instant, least: Duration) -> Option<Duration> {
        self.moves.missing(now, least)
    }
}
