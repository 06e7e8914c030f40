//! What is known of languages that run their own threads, and Python's global lock.
//!
//! Promises: a program that runs goroutines, virtual threads or tasks is never called idle on the
//! word of its native threads. The holder of the GIL is named only where one thread is left that
//! can be it.

use super::rest::Rest;
use super::{Fault, Level, Link, Process, Verdict};
use crate::analysis::waits::{Calls, Kind, Proof};
use crate::model::Snapshot;

/// A runtime whose own threads are not seen in native stacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Runtime {
    Go,
    Java,
    Node,
    Python,
    Tokio,
}

pub(super) fn of(snapshot: &Snapshot, calls: &[Calls<'_>]) -> Option<Runtime> {
    let has_file = |part: &str| snapshot.modules.iter().any(|module| module.path.contains(part));
    let mentions = |part: &str| calls.iter().any(|calls| calls.mentions(part));
    if mentions("runtime.mcall") || mentions("runtime.goexit") || mentions("runtime.futexsleep") {
        return Some(Runtime::Go);
    }
    match () {
        () if has_file("libjvm.so") => Some(Runtime::Java),
        () if snapshot.process.executable.ends_with("/node") || has_file("libnode.so") => Some(Runtime::Node),
        () if has_file("libpython") || snapshot.process.executable.contains("/python") => Some(Runtime::Python),
        () if mentions("tokio::runtime") => Some(Runtime::Tokio),
        () => None,
    }
}

pub(super) fn remarks(process: &Process<'_>) -> Option<String> {
    let inside = match process.runtime? {
        Runtime::Go => "goroutines",
        Runtime::Java => "virtual threads and monitors",
        Runtime::Node => "promises and timers",
        Runtime::Tokio => "async tasks",
        Runtime::Python => return None,
    };
    let id = process.snapshot.process.id.pid;
    Some(format!(
        "{inside} of {} ({id}) were not looked at: they may be stuck where no thread is",
        process.snapshot.process.name
    ))
}

/// Threads that wait for the GIL, and the one that keeps it.
pub(super) fn gil(process: &Process<'_>) -> Option<Verdict> {
    let is_waiting = |number: usize| process.waits[number].as_ref().is_some_and(|wait| wait.resource.kind == Kind::Gil);
    let numbers = 0..process.snapshot.threads.len();
    let waiters: Vec<usize> = numbers.clone().filter(|number| is_waiting(*number)).collect();
    let first = *waiters.first()?;
    // A thread lets go of the GIL before it waits for a lock of Python's.
    let runs_python = |number: &usize| {
        let calls = &process.observation.calls[*number];
        calls.has("PyEval_EvalFrameDefault") && !calls.has("PyThread_acquire_lock_timed")
    };
    let mut others = numbers.filter(|number| !is_waiting(*number) && runs_python(number));
    let (holder, None) = (others.next()?, others.next()) else { return None };
    let holds = match process.rest[holder] {
        // It sleeps, and still no other thread got it.
        Rest::Rests { .. } => "sleeps with it",
        Rest::Runs { .. } | Rest::Moves | Rest::Unknown => return None,
    };
    let accused = process.party(&process.snapshot.threads[holder]);
    let place = process.place(holder).map(|place| format!(" in {place}")).unwrap_or_default();
    let chain = waiters.iter().filter_map(|number| {
        Some(Link {
            waiter: process.party(&process.snapshot.threads[*number]),
            resource: process.waits[*number].as_ref()?.resource.clone(),
            holder: Some(accused.clone()),
            place: process.place(*number),
            proof: Proof::Inferred,
        })
    });
    Some(Verdict {
        fault: Fault::Gil,
        level: Level::Stuck,
        proof: Proof::Inferred,
        chain: chain.collect(),
        holder: Some(accused.clone()),
        accused: vec![accused],
        resource: process.waits[first].as_ref().map(|wait| wait.resource.clone()),
        because: format!("it holds Python's GIL and {holds}{place}"),
        queued: waiters.len(),
        since_ns: process.rest[holder].since_ns(),
    })
}
