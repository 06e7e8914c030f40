//! Threads that run all the time in one small place.
//!
//! Promises: work that goes through a program is not taken for a loop: the same functions must be
//! on the stack in at least three samples, the innermost instructions lie close together, and the
//! thread was running each time and has never given its CPU up by itself. Even so it is a guess.

use super::rest::{Rest, same};
use super::{Fault, Level, Link, Process, Verdict};
use crate::analysis::waits::{Calls, Proof, Resource};
use crate::model::{Place, Thread, ThreadState};

/// The innermost instructions of a loop that waits lie within this many bytes.
const SMALL: u64 = 96;
const SAMPLES: usize = 3;
/// How often a thread gives its CPU up because it is held once.
const BY_A_HOLD: u64 = 2;
/// Functions of the C library that do no more than a system call: who polls may find work at any
/// time.
const CALLS: [&str; 12] = [
    "epoll_wait",
    "epoll_pwait",
    "poll",
    "ppoll",
    "select",
    "pselect",
    "sched_yield",
    "read",
    "recv",
    "recvfrom",
    "recvmsg",
    "syscall",
];
/// The share of a CPU that it has at least: others may have to run on it as well.
const SHARE: f64 = 0.2;

pub(super) fn find(process: &Process<'_>) -> Vec<Verdict> {
    let threads = (0..process.snapshot.threads.len()).filter(|number| is_spinning(process, *number));
    threads.filter_map(|number| verdict(process, number)).collect()
}

fn is_spinning(process: &Process<'_>, number: usize) -> bool {
    let thread = &process.snapshot.threads[number];
    let Rest::Runs { share } = process.rest[number] else { return false };
    let samples = &process.observation.samples;
    if share < SHARE || samples.len() < SAMPLES || thread.system_call.is_some() {
        return false;
    }
    // It is found at the end of a call each time, whatever goes on between the calls.
    let function = process.observation.calls[number].iter().next();
    if function.is_some_and(|call| call.is_in_libc() && CALLS.contains(&call.plain())) {
        return false;
    }
    let Some(place) = innermost(thread) else { return false };
    let (mut least, mut most) = (place.1, place.1);
    let mut seen: u64 = 1;
    for (sample, calls) in samples.iter().rev().skip(1).zip(process.observation.earlier.iter().rev()) {
        let Some(before) = same(sample, thread) else { return false };
        let Some((module, address)) = innermost(before) else {
            // No thread was held in that sample; the kernel's counts cover the time.
            if before.status.state == ThreadState::Running {
                continue;
            }
            return false;
        };
        let at = sample.threads.binary_search_by_key(&before.tid, |other| other.tid).ok();
        let then = at.and_then(|at| calls.get(at));
        let is_there = before.status.state == ThreadState::Running
            && before.system_call.is_none()
            && module == place.0
            && then.is_some_and(|then| is_alike(then, &process.observation.calls[number]));
        if !is_there {
            return false;
        }
        let voluntary = |thread: &Thread| thread.status.scheduling.voluntary_switches.unwrap_or(0);
        if voluntary(thread).saturating_sub(voluntary(before)) > BY_A_HOLD * seen {
            return false;
        }
        (least, most) = (least.min(address), most.max(address));
        seen += 1;
    }
    seen >= SAMPLES as u64 && most - least <= SMALL
}

/// Whether a thread does nothing but give its CPU to others: in each sample it was on its way into
/// or out of sched_yield(2), called by the same functions. A wait by spinning, and no fault by
/// itself.
pub(super) fn yields(process: &Process<'_>, number: usize) -> bool {
    let thread = &process.snapshot.threads[number];
    let is_yield = |calls: &Calls<'_>| calls.iter().next().is_some_and(|call| call.plain() == "sched_yield");
    let calls = &process.observation.calls[number];
    let samples = process.observation.samples.iter().zip(&process.observation.earlier);
    let mut seen = 1;
    for (sample, then) in samples {
        let Some(before) = same(sample, thread) else { return false };
        // No thread was held in that sample.
        if innermost(before).is_none() {
            continue;
        }
        let at = sample.threads.binary_search_by_key(&before.tid, |other| other.tid).ok();
        if !at.and_then(|at| then.get(at)).is_some_and(|then| is_alike(then, calls)) {
            return false;
        }
        seen += 1;
    }
    seen >= SAMPLES && is_yield(calls)
}

/// Where its own instruction is.
fn innermost(thread: &Thread) -> Option<(Option<u32>, u64)> {
    Some(match thread.stack.frames.first()?.place() {
        Place::InModule { module, address } => (Some(module.0), address.0),
        Place::Outside(address) => (None, address.0),
    })
}

/// Whether the same functions call each other.
pub(super) fn is_alike(one: &Calls<'_>, other: &Calls<'_>) -> bool {
    let names = |calls: &Calls<'_>| calls.iter().map(|call| call.name().to_owned()).collect::<Vec<_>>();
    names(one) == names(other)
}

fn verdict(process: &Process<'_>, number: usize) -> Option<Verdict> {
    let thread = process.snapshot.threads.get(number)?;
    let Rest::Runs { share } = process.rest[number] else { return None };
    let place = process.place(number);
    let waiter = process.party(thread);
    let first = process.observation.samples.first()?;
    let resource = Resource::of_loop(place.as_deref().unwrap_or("code without a name"));
    Some(Verdict {
        fault: Fault::BusyLoop,
        level: Level::Stuck,
        proof: Proof::Guessed,
        accused: vec![waiter.clone()],
        holder: None,
        resource: None,
        because: format!(
            "it was in the same few instructions{} in each of {} samples, with {:.0}% of a CPU",
            place.as_ref().map(|place| format!(" of {place}")).unwrap_or_default(),
            process.observation.samples.len(),
            share * 100.0
        ),
        queued: 0,
        since_ns: Some(first.taken.realtime_ns),
        chain: vec![Link { waiter, resource, holder: None, place, proof: Proof::Guessed }],
    })
}
