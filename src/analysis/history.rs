//! Since when each thread has had the stack it has, gathered snapshot by snapshot.

use std::collections::HashMap;

use super::signature::{Signatures, StackNumber};
use crate::model::{ProcessId, Snapshot, StartTime, Thread, Tid, Timestamp};

/// A run of snapshots in which a thread had one and the same stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Streak {
    /// When the first snapshot of the run was taken: the stack is at least that old.
    pub since: Timestamp,
    /// How many snapshots show it, the last one included.
    pub samples: u64,
    /// How many snapshots since then could not capture the thread.
    pub unseen: u64,
}

/// One thread and no other.
type ThreadKey = (ProcessId, Tid, StartTime);

/// What has been seen of each thread up to the last snapshot that was added.
#[derive(Default)]
pub struct History {
    signatures: Signatures,
    threads: HashMap<ThreadKey, (StackNumber, Streak)>,
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
                if let Some((stack, streak)) = past {
                    self.threads.insert(key, (stack, Streak { unseen: streak.unseen + 1, ..streak }));
                }
                continue;
            }
            let stack = self.signatures.stack(&modules, &thread.stack);
            let streak = match past {
                Some((same, streak)) if same == stack => Streak { samples: streak.samples + 1, ..streak },
                _ => Streak { since: snapshot.taken, samples: 1, unseen: 0 },
            };
            self.threads.insert(key, (stack, streak));
        }
    }

    /// The run of snapshots that the thread's stack has lasted, up to the last snapshot added, which this one must be.
    pub fn streak(&self, snapshot: &Snapshot, thread: &Thread) -> Option<Streak> {
        self.threads.get(&key(snapshot, thread)).map(|(_, streak)| *streak)
    }
}

fn key(snapshot: &Snapshot, thread: &Thread) -> ThreadKey {
    (snapshot.process.id, thread.tid, thread.status.start)
}
