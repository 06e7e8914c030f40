//! What is looked up for each thread of a snapshot, found at once: a process may have ten thousand
//! threads, and a file may bring any number of facts.
//!
//! Promises: of facts that contradict each other the first counts. Decides nothing.

use std::cell::OnceCell;
use std::collections::HashMap;

use super::Calls;
use crate::model::{Owner, RuntimeAddress, Snapshot, Tid};

/// Clock ticks a second, in which start times count (USER_HZ), in nanoseconds.
pub(super) const TICK_NS: u64 = 10_000_000;

pub(super) struct Index<'a> {
    inner_tids: HashMap<i32, Tid>,
    thread_pointers: HashMap<RuntimeAddress, i32>,
    owners: HashMap<i32, &'a Owner>,
    /// The threads whose stacks refer to each lock, in order, each once.
    referrers: HashMap<RuntimeAddress, Vec<Tid>>,
    /// Whether the host was suspended: start times count that, and the monotonic clock does not.
    pub(super) was_suspended: bool,
    /// The threads inside of the allocator that do not wait for its lock; looked for when asked.
    in_allocator: OnceCell<Vec<Tid>>,
}

impl<'a> Index<'a> {
    pub(super) fn of(snapshot: &'a Snapshot) -> Self {
        let facts = &snapshot.wait_facts;
        let mut referrers: HashMap<RuntimeAddress, Vec<Tid>> = HashMap::new();
        for reference in &facts.references {
            referrers.entry(reference.lock).or_default().push(reference.tid);
        }
        for tids in referrers.values_mut() {
            tids.sort_unstable();
            tids.dedup();
        }
        let latest = snapshot.taken.monotonic_ns.saturating_add(TICK_NS);
        let mut starts = snapshot.threads.iter().map(|thread| thread.status.start.0.saturating_mul(TICK_NS));
        Self {
            inner_tids: facts.inner_tids.iter().rev().copied().collect(),
            thread_pointers: facts.thread_pointers.iter().rev().copied().collect(),
            owners: facts.owners.iter().rev().map(|owner| (owner.inner, owner)).collect(),
            referrers,
            was_suspended: starts.any(|start| start > latest),
            in_allocator: OnceCell::new(),
        }
    }

    pub(super) fn inner_tid(&self, inner: i32) -> Option<Tid> {
        self.inner_tids.get(&inner).copied()
    }

    pub(super) fn thread_of_pointer(&self, pointer: u64) -> Option<i32> {
        self.thread_pointers.get(&RuntimeAddress(pointer)).copied()
    }

    pub(super) fn owner(&self, inner: i32) -> Option<&'a Owner> {
        self.owners.get(&inner).copied()
    }

    pub(super) fn referrers(&self, lock: RuntimeAddress) -> &[Tid] {
        self.referrers.get(&lock).map_or(&[], Vec::as_slice)
    }

    pub(super) fn in_allocator(&self, find: impl FnOnce() -> Vec<Tid>) -> &[Tid] {
        self.in_allocator.get_or_init(find)
    }
}

/// The threads of whose calls this holds.
pub(super) fn threads_whose(snapshot: &Snapshot, calls: &[Calls<'_>], is: impl Fn(&Calls<'_>) -> bool) -> Vec<Tid> {
    snapshot.threads.iter().zip(calls).filter(|(_, calls)| is(calls)).map(|(thread, _)| thread.tid).collect()
}
