//! Waits that no thread is left to end: a wake-up that was lost, and processes whose threads all
//! wait for each other.
//!
//! Promises: a wake-up is lost only where the word differs from what the thread went to sleep for
//! in two samples between which the thread did not run, so that no waker was just on its way. That
//! none is left is said only where each thread of the process waits, without a limit, for what a
//! thread of this process alone can do: one that sleeps, polls, serves or runs could do it.

use std::collections::BTreeSet;

use super::rest::{Rest, same};
use super::runtimes::Runtime;
use super::{Fault, Level, Link, Process, Verdict};
use crate::analysis::waits::{Kind, Limit, Proof, Wait};

pub(super) fn lost_wakeups(process: &Process<'_>) -> Vec<Verdict> {
    let is_lost = |number: &usize| {
        let Some(wait) = process.waits[*number].as_ref() else { return false };
        wait.is_word_other && wait.limit == Limit::Never && is_other_before(process, *number)
    };
    let threads: Vec<usize> = (0..process.waits.len()).filter(is_lost).collect();
    if threads.is_empty() {
        return Vec::new();
    }
    let because = "the word it waits for has changed, and no thread has woken it".into();
    // Another thread could still be on its way to wake them, however slowly.
    let is_alone = process.waits.iter().all(Option::is_some)
        && process.waits.iter().flatten().all(|wait| wait.resource.kind.is_in_memory() && wait.limit == Limit::Never);
    let proof = if is_alone { Proof::Proved } else { Proof::Inferred };
    let level = if is_alone { Level::Stuck } else { Level::Waits };
    let verdict = verdict(process, &threads, Fault::LostWakeup, proof, because);
    verdict.map(|verdict| Verdict { level, ..verdict }).into_iter().collect()
}

/// Whether the word was as it is now in an earlier sample since which the thread has not run.
fn is_other_before(process: &Process<'_>, number: usize) -> bool {
    let Rest::Rests { since_ns } = process.rest[number] else { return false };
    let thread = &process.snapshot.threads[number];
    let earlier = process.observation.samples.iter().rev().skip(1);
    let mut earlier = earlier.take_while(|sample| sample.taken.realtime_ns >= since_ns);
    earlier.any(|sample| same(sample, thread).is_some_and(|before| before.memory == thread.memory))
}

pub(super) fn nobody_left(process: &Process<'_>) -> Option<Verdict> {
    if matches!(process.runtime, Some(Runtime::Go | Runtime::Java | Runtime::Node)) || process.waits.is_empty() {
        // They schedule what they run on threads of their own, and wake them by other means.
        return None;
    }
    let waits: Vec<&Wait> = process.waits.iter().flatten().collect();
    let is_closed = |wait: &&Wait| {
        let kind = wait.resource.kind;
        kind.is_in_memory() && kind != Kind::Gil && wait.limit == Limit::Never && wait.is_private
    };
    let is_at_rest = process.rest.iter().all(|rest| matches!(rest, Rest::Rests { .. }));
    if waits.len() != process.waits.len() || !waits.iter().all(is_closed) || !is_at_rest {
        return None;
    }
    // A thread that waits for the end of another is stuck because that one is.
    let is_leaf = |number: &usize| waits[*number].resource.kind != Kind::Thread || waits[*number].holders.is_empty();
    let mut leaves: Vec<usize> = (0..waits.len()).filter(is_leaf).collect();
    // The main thread waits for the others in most programs, in Python by a lock as well.
    let main = process.snapshot.process.id.pid.main_thread();
    let is_main = |number: &usize| process.snapshot.threads[*number].tid == main;
    leaves.sort_by_key(is_main);
    let workers = leaves.iter().filter(|number| !is_main(number)).count();
    let things: BTreeSet<_> = leaves.iter().map(|number| &waits[*number].resource).collect();
    let kinds: BTreeSet<Kind> = things.iter().map(|thing| thing.kind).collect();
    let all_are = |kind| kinds.iter().all(|other| *other == kind);
    let calls = process.observation.calls;
    let is_interpreter = calls.iter().any(|calls| calls.has("PyThread_acquire_lock_timed"));
    let fault = match leaves.len() {
        // Python's locks are semaphores with one slot: threads that wait for several of them hold
        // what the others wait for.
        2.. if is_interpreter && things.len() > 1 && workers > 1 => Fault::Deadlock,
        2.. if is_interpreter => Fault::LostWakeup,
        2.. if kinds.iter().all(|kind| kind.is_lock()) && things.len() > 1 => Fault::Deadlock,
        2.. if all_are(Kind::Semaphore) => Fault::PoolExhausted,
        _ => Fault::LostWakeup,
    };
    let because = match fault {
        Fault::PoolExhausted => "every thread waits for a semaphore, and none is left that could post one",
        Fault::Deadlock => "all threads wait for locks, and no thread is left that could let one go",
        _ => "every thread of the process waits for another, and none is left that could wake them",
    };
    // An interpreter's threads may just have nothing to do; a signal's handler could wake a thread.
    let is_sure = !is_interpreter && process.runtime != Some(Runtime::Python) && !catches_signals(process);
    let verdict =
        verdict(process, &leaves, fault, if is_sure { Proof::Inferred } else { Proof::Guessed }, because.into())?;
    Some(Verdict { level: if is_sure { Level::Stuck } else { Level::Waits }, ..verdict })
}

/// Whether the process has handlers for signals that others send. Those of faults, and the two that
/// the C library keeps for itself, wake no thread.
fn catches_signals(process: &Process<'_>) -> bool {
    const FAULTS: [u32; 7] = [4, 5, 6, 7, 8, 11, 31];
    const OF_THE_LIBRARY: [u32; 2] = [32, 33];
    let others = FAULTS.iter().chain(&OF_THE_LIBRARY).fold(u64::MAX, |mask, signal| mask & !(1 << (signal - 1)));
    process.snapshot.threads.iter().any(|thread| match thread.status.signals {
        Some(sets) => sets.caught.0 & others != 0,
        None => true,
    })
}

fn verdict(process: &Process<'_>, threads: &[usize], fault: Fault, proof: Proof, because: String) -> Option<Verdict> {
    let chain: Vec<Link> = threads
        .iter()
        .filter_map(|number| {
            let thread = process.snapshot.threads.get(*number)?;
            let wait = process.waits.get(*number)?.as_ref()?;
            Some(Link {
                waiter: process.party(thread),
                resource: wait.resource.clone(),
                holder: None,
                place: process.place(*number),
                proof,
            })
        })
        .collect();
    let since = threads.iter().filter_map(|number| process.rest[*number].since_ns()).max();
    Some(Verdict {
        fault,
        level: Level::Stuck,
        proof,
        accused: chain.iter().map(|link| link.waiter.clone()).collect(),
        holder: None,
        resource: chain.first().map(|link| link.resource.clone()),
        because,
        queued: process.waits.len().saturating_sub(threads.len()),
        since_ns: since,
        chain,
    })
}
