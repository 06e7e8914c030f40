//! Since when each thread has had the stack it has, and since when it has not run, gathered
//! snapshot by snapshot.
//!
//! Promises: that a thread has not run is said only where the kernel's counts prove it: by the
//! sampler, which found out by them that the thread is unchanged, or because it waits in both
//! snapshots and has not been given a CPU in between.

use std::collections::HashMap;

use super::signature::{Signatures, StackNumber};
use crate::model::{Acquired, Moment, ProcessId, Snapshot, StartTime, Thread, ThreadState, Tid, Timestamp};

/// A run of snapshots in which a thread had one and the same stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Streak {
    /// When the first snapshot of the run was taken: the stack is at least that old.
    pub since: Timestamp,
    /// How many snapshots show it, the last one included.
    pub samples: u64,
    /// How many snapshots since then could not capture the thread.
    pub unseen: u64,
    /// The earliest snapshot since which it has provably not run; the last one if there is none
    /// before.
    pub not_run_since: Moment,
    /// How often it has run since the first snapshot of the run, if the kernel said.
    pub ran: Option<u64>,
    /// Whether it was held before the last snapshot: that is counted, too, as it makes a thread
    /// run.
    pub was_held: bool,
}

impl Streak {
    /// Of a thread in the first snapshot of a run.
    pub(super) fn begin(snapshot: &Snapshot, thread: &Thread) -> Self {
        Self {
            since: snapshot.taken,
            samples: 1,
            unseen: 0,
            not_run_since: thread.acquired.unchanged_since().unwrap_or(snapshot.moment()),
            ran: thread.status.scheduling.switches().map(|_| 0),
            was_held: false,
        }
    }
}

/// One thread and no other.
type ThreadKey = (ProcessId, Tid, StartTime);

/// What has been seen of each thread up to the last snapshot that was added.
#[derive(Default)]
pub struct History {
    signatures: Signatures,
    threads: HashMap<ThreadKey, Seen>,
}

/// A thread as it was when it was captured last.
#[derive(Clone, Copy)]
struct Seen {
    stack: StackNumber,
    streak: Streak,
    moment: Moment,
    acquired: Acquired,
    waits: bool,
    switches: Option<u64>,
}

impl Seen {
    fn new(snapshot: &Snapshot, thread: &Thread, stack: StackNumber) -> Self {
        Self {
            stack,
            streak: Streak::begin(snapshot, thread),
            moment: snapshot.moment(),
            acquired: thread.acquired,
            waits: thread.status.state != ThreadState::Running,
            switches: thread.status.scheduling.switches(),
        }
    }

    /// The same run of snapshots with this one, which shows the same stack.
    fn and(self, now: Self) -> Self {
        let has_not_run = match now.acquired.unchanged_since() {
            // It was looked at in the snapshot before, or has rested since an earlier one.
            Some(since) => since == self.moment || Some(since) == self.acquired.unchanged_since(),
            None => self.waits && now.waits && self.switches.is_some() && self.switches == now.switches,
        };
        let more = self.switches.zip(now.switches).map(|(before, now)| now.saturating_sub(before));
        let streak = Streak {
            samples: self.streak.samples + 1,
            not_run_since: if has_not_run { self.streak.not_run_since } else { now.streak.not_run_since },
            ran: self.streak.ran.zip(more).map(|(ran, more)| ran.saturating_add(more)),
            was_held: self.streak.was_held || self.acquired.time().is_some(),
            ..self.streak
        };
        Self { streak, ..now }
    }
}

impl History {
    /// Adds the next snapshot of a recording.
    pub fn add(&mut self, snapshot: &Snapshot) {
        let modules = self.signatures.modules(snapshot);
        let mut before = std::mem::take(&mut self.threads);
        for thread in &snapshot.threads {
            let key = key(snapshot, thread);
            let past = before.remove(&key);
            if !thread.is_captured() {
                if let Some(mut seen) = past {
                    seen.streak.unseen += 1;
                    self.threads.insert(key, seen);
                }
                continue;
            }
            let stack = self.signatures.stack(&modules, &thread.stack);
            let now = Seen::new(snapshot, thread, stack);
            let seen = past.filter(|past| past.stack == stack).map_or(now, |past| past.and(now));
            self.threads.insert(key, seen);
        }
    }

    /// The run of snapshots that the thread's stack has lasted, up to the last snapshot added,
    /// which this one must be.
    pub fn streak(&self, snapshot: &Snapshot, thread: &Thread) -> Option<Streak> {
        self.threads.get(&key(snapshot, thread)).map(|seen| seen.streak)
    }
}

fn key(snapshot: &Snapshot, thread: &Thread) -> ThreadKey {
    (snapshot.process.id, thread.tid, thread.status.start)
}
