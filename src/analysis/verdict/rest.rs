//! Whether each thread has run over the time that was looked at, and since when not.
//!
//! Promises: that a thread has not run is said only where the kernel's counts are the same at both
//! ends of the time, or where the kernel says when it ran last.

use super::Observation;
use crate::model::{Acquired, Snapshot, Thread, ThreadState};

/// What one thread did over the samples.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Rest {
    /// It has not run since this time, in nanoseconds since 1970.
    Rests { since_ns: i64 },
    /// It was found running each time, with this share of a CPU in between.
    Runs { share: f64 },
    /// It ran now and then.
    Moves,
    /// Nothing is known: there is one sample only, or the kernel keeps no counts.
    Unknown,
}

impl Rest {
    pub(super) fn since_ns(self) -> Option<i64> {
        match self {
            Self::Rests { since_ns } => Some(since_ns),
            Self::Runs { .. } | Self::Moves | Self::Unknown => None,
        }
    }
}

/// For each thread of the last sample.
pub(super) fn of(observation: &Observation<'_>, last: &Snapshot) -> Vec<Rest> {
    let one = |(number, thread)| of_thread(observation, last, number, thread);
    last.threads.iter().enumerate().map(one).collect()
}

fn of_thread(observation: &Observation<'_>, last: &Snapshot, number: usize, thread: &Thread) -> Rest {
    let realtime = |monotonic_ns: u64| {
        let ago = i64::try_from(last.taken.monotonic_ns.saturating_sub(monotonic_ns)).unwrap_or(i64::MAX);
        last.taken.realtime_ns.saturating_sub(ago)
    };
    let told = last.wait_facts.last_ran(thread.tid).map(realtime);
    let recorded = observation.not_run_since.get(number).copied().flatten();
    let earlier = observation.samples.iter().rev().skip(1);
    let earlier: Vec<_> = earlier.map_while(|sample| Some((sample.taken, same(sample, thread)?))).collect();
    // From the last sample backwards, as far as it has not run: what it did before is another rest.
    let later = std::iter::once(thread).chain(earlier.iter().map(|(_, before)| *before));
    let at_rest = earlier.iter().zip(later).take_while(|((_, before), later)| has_not_run(before, later));
    let since = at_rest.last().map(|((taken, _), _)| taken.realtime_ns);
    let is_running = |thread: &Thread| thread.status.state == ThreadState::Running;
    let is_found_running = is_running(thread) && earlier.iter().all(|(_, before)| is_running(before));
    let earliest = [since, recorded.filter(|since| *since < last.taken.realtime_ns)];
    let proved = earliest.into_iter().flatten().min();
    match (proved, told, earlier.last()) {
        // The kernel's word goes back further than the samples, which confirm it.
        (Some(since_ns), told, _) => Rest::Rests { since_ns: told.map_or(since_ns, |told| told.min(since_ns)) },
        (None, Some(told), None) if thread.acquired == Acquired::ReadInPlace => Rest::Rests { since_ns: told },
        (None, _, None) => Rest::Unknown,
        (None, _, Some((taken, before))) if is_found_running => {
            let ran = thread.status.scheduling.cpu_ns.zip(before.status.scheduling.cpu_ns);
            let ran_ns = ran.map_or(0, |(now, then)| now.saturating_sub(then));
            let elapsed = last.taken.since(*taken).as_nanos().max(1);
            Rest::Runs { share: ran_ns as f64 / elapsed as f64 }
        }
        (None, _, Some(_)) => Rest::Moves,
    }
}

/// The same thread in another sample.
pub(super) fn same<'s>(sample: &'s Snapshot, thread: &Thread) -> Option<&'s Thread> {
    let place = sample.threads.binary_search_by_key(&thread.tid, |other| other.tid).ok()?;
    sample.threads.get(place).filter(|other| other.status.start == thread.status.start)
}

fn has_not_run(before: &Thread, later: &Thread) -> bool {
    if later.acquired.unchanged_since().is_some() {
        return true;
    }
    let waits = |thread: &Thread| thread.status.state != ThreadState::Running;
    let counts = before.status.scheduling.switches().zip(later.status.scheduling.switches());
    waits(before) && waits(later) && counts.is_some_and(|(before, later)| before == later)
}
