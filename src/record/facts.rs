//! What the waits of a sample's threads are about.
//!
//! Promises: where no thread has run since the sample before, what only the process could have
//! changed is not read again; who holds its file locks and what its children do is. Of threads that
//! have not run, what is known from their stacks stays, for these are not copied again.

use std::iter;
use std::sync::Arc;

use crate::capture::StackBytes;
use crate::model::{LastRan, Process, Reference, RuntimeAddress, Thread, Tid, WaitFacts};
use crate::process::ProcessAccess;
use crate::resources::{self, Locks, RawLastRan, StackCopy};

/// What is known of the threads' stacks.
pub(super) struct Stacks<'a> {
    /// Those that were copied for this sample, in the order of the ids.
    pub(super) copied: &'a [(Tid, StackBytes)],
    /// The facts of the sample before.
    pub(super) before: &'a Arc<WaitFacts>,
}

/// The facts of a process with these threads. `last_ran` was read before any of them was held.
/// `my_proc` is where a backend of PostgreSQL has its variable of this name.
pub(super) fn of(
    process: &Process,
    threads: &[Thread],
    stacks: &Stacks<'_>,
    last_ran: &[RawLastRan],
    my_proc: Option<RuntimeAddress>,
    access: &ProcessAccess,
) -> Arc<WaitFacts> {
    let before = stacks.before;
    let is_first = !last_ran.is_empty() || before.is_empty();
    let at_rest = stacks.copied.is_empty() && !is_first;
    let read = |address, buffer: &mut [u8]| access.read_all(address, buffer);
    let mut facts = resources::facts(process, threads, before, at_rest, my_proc, read);
    facts.references = references(threads, stacks);
    facts.last_ran = match last_ran.is_empty() {
        // They were held since, or ran by themselves, if they do not say otherwise.
        true => {
            let rests = |ran: &&LastRan| thread(threads, ran.tid).is_some_and(is_unchanged);
            before.last_ran.iter().filter(rests).copied().collect()
        }
        false => resources::not_run_since(process.id.pid, last_ran, threads),
    };
    match facts == **before {
        true => before.clone(),
        false => Arc::new(facts),
    }
}

fn thread(threads: &[Thread], tid: Tid) -> Option<&Thread> {
    threads.binary_search_by_key(&tid, |thread| thread.tid).ok().and_then(|place| threads.get(place))
}

fn is_unchanged(thread: &Thread) -> bool {
    thread.acquired.unchanged_since().is_some()
}

/// Addresses of locks that threads wait for, where they lie on stacks.
fn references(threads: &[Thread], stacks: &Stacks<'_>) -> Vec<Reference> {
    let addresses = |thread: &Thread| resources::lock_addresses(thread.system_call, &thread.memory);
    let locks: Locks = threads.iter().flat_map(addresses).collect();
    let copies = stacks.copied.iter().map(|(tid, StackBytes { start, bytes, pieces, .. })| StackCopy {
        tid: *tid,
        pieces: iter::once((*start, &**bytes))
            .chain(pieces.iter().map(|piece| (piece.address.0, &*piece.bytes)))
            .collect(),
    });
    let mut found = resources::references(&locks, copies);
    let is_still = |reference: &&Reference| {
        locks.contains(&reference.lock.0)
            && stacks.copied.binary_search_by_key(&reference.tid, |(tid, _)| *tid).is_err()
            && thread(threads, reference.tid).is_some()
    };
    found.extend(stacks.before.references.iter().filter(is_still));
    found.sort_unstable();
    found
}
