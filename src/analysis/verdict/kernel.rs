//! Threads that wait for something outside of the process, or may not run.
//!
//! Promises: these are said as waits and not as faults, for a healthy process waits so, too; but a
//! process that may not run, and a FUSE server that does not answer, end no wait by themselves.

use std::collections::BTreeMap;

use super::rest::Rest;
use super::{Fault, Level, Link, Party, Process, Verdict};
use crate::analysis::waits::{Holder, Kind, Limit, Proof, Wait, Who};

/// A wait is worth a word of its own when it has lasted this long, in nanoseconds.
const A_WHILE: i64 = 500_000_000;

/// Processes that are stopped, traced or frozen: no thread of theirs is at fault.
pub(super) fn not_allowed_to_run(processes: &[Process<'_>]) -> Vec<Verdict> {
    let mut found: BTreeMap<(usize, Fault), Vec<usize>> = BTreeMap::new();
    for (at, process) in processes.iter().enumerate() {
        for (number, wait) in process.waits.iter().enumerate() {
            let fault = match wait.as_ref().map(|wait| wait.resource.kind) {
                Some(Kind::Stop) => Fault::Stopped,
                Some(Kind::Tracer) => Fault::Traced,
                Some(Kind::Freezer) => Fault::Frozen,
                _ => continue,
            };
            found.entry((at, fault)).or_default().push(number);
        }
    }
    let verdict = |((at, fault), threads): ((usize, Fault), Vec<usize>)| {
        let process = processes.get(at)?;
        let wait = process.waits[*threads.first()?].as_ref()?;
        let because = match fault {
            Fault::Stopped => "a signal stopped the process: `kill -CONT` lets it go on",
            Fault::Traced => "its tracer holds it",
            _ => "its control group is frozen",
        };
        let mut verdict = with_wait(process, &threads, wait, fault, Level::Stuck, because.into());
        verdict.proof = Proof::Proved;
        Some(verdict)
    };
    found.into_iter().filter_map(verdict).collect()
}

/// Waits for what is outside of the process, of threads that have been in them for a while.
pub(super) fn waits(process: &Process<'_>) -> Vec<Verdict> {
    let mut groups: BTreeMap<(Fault, &crate::analysis::waits::Resource), Vec<usize>> = BTreeMap::new();
    for (number, wait) in process.waits.iter().enumerate() {
        let Some(wait) = wait else { continue };
        if let Some(fault) = fault(process, number, wait)
            && has_lasted(process, number)
        {
            groups.entry((fault, &wait.resource)).or_default().push(number);
        }
    }
    let verdict = |((fault, _), threads): ((Fault, _), Vec<usize>)| {
        let wait = process.waits[*threads.first()?].as_ref()?;
        let level = if fault == Fault::Fuse { Level::Stuck } else { Level::Waits };
        let because = match (fault, wait.is_writing) {
            (Fault::Peer, true) => "the other end does not read what is sent",
            (Fault::Peer, false) => "the other end does not answer",
            (Fault::Fuse, _) => "the server of the file system does not answer",
            (Fault::FileLock, _) => "another holds the lock of the file",
            (Fault::Child, _) => "a child has not ended",
            (Fault::Disk, _) => "the kernel has not finished the call",
            _ => "nothing has come",
        };
        Some(with_wait(process, &threads, wait, fault, level, because.into()))
    };
    groups.into_iter().filter_map(verdict).collect()
}

fn has_lasted(process: &Process<'_>, number: usize) -> bool {
    let taken = process.snapshot.taken.realtime_ns;
    match process.rest[number] {
        Rest::Rests { since_ns } => taken.saturating_sub(since_ns) >= A_WHILE,
        Rest::Runs { .. } | Rest::Moves | Rest::Unknown => false,
    }
}

/// What a wait in a call is a case of; None for those that idle threads are in.
fn fault(process: &Process<'_>, number: usize, wait: &Wait) -> Option<Fault> {
    let calls = process.observation.calls.get(number)?;
    let is_resolver = calls.has("getaddrinfo") || calls.has("res_nquery") || calls.has("gethostbyname_r");
    match wait.resource.kind {
        Kind::FileLock => Some(Fault::FileLock),
        Kind::Child => Some(Fault::Child),
        Kind::Fuse => Some(Fault::Fuse),
        Kind::Disk => Some(Fault::Disk),
        Kind::Pipe | Kind::Socket if wait.is_writing => Some(Fault::Peer),
        // A FIFO without another end; a server of names.
        Kind::Pipe if wait.resource.name.contains("FIFO") => Some(Fault::Peer),
        Kind::Socket | Kind::Descriptors | Kind::File if is_resolver => Some(Fault::Peer),
        _ => None,
    }
}

fn with_wait(
    process: &Process<'_>,
    threads: &[usize],
    wait: &Wait,
    fault: Fault,
    level: Level,
    because: String,
) -> Verdict {
    // Of several any could end the wait.
    let holder = match wait.holders.as_slice() {
        [Holder { who: Who::Elsewhere { pid, tid, name }, .. }] => {
            Some(Party { pid: Some(*pid), tid: *tid, name: name.clone() })
        }
        _ => None,
    };
    let chain: Vec<Link> = threads
        .iter()
        .filter_map(|number| {
            let thread = process.snapshot.threads.get(*number)?;
            Some(Link {
                waiter: process.party(thread),
                resource: wait.resource.clone(),
                holder: holder.clone(),
                place: process.place(*number),
                proof: Proof::Proved,
            })
        })
        .collect();
    let since = threads.iter().filter_map(|number| process.rest[*number].since_ns()).min();
    Verdict {
        fault,
        level: if wait.limit == Limit::Timed { Level::Waits } else { level },
        proof: wait.holders.first().map_or(Proof::Proved, |holder| holder.proof),
        accused: chain.iter().map(|link| link.waiter.clone()).collect(),
        holder,
        resource: Some(wait.resource.clone()),
        chain,
        because,
        queued: 0,
        since_ns: since,
    }
}
