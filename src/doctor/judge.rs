//! What the findings come to: what a snapshot taken now, without any options, would be.

use super::host::CALLS_UNKNOWN;
use super::process::memory_is_readable;
use super::{Facts, ProcessFacts, host, own, process, waits};
use crate::model::{Diagnosis, Verdict};
use crate::sys::trial::Outcome;

/// What a filter costs that kills instead of refusing.
const KILLED: &str = "a seccomp filter kills any process that holds a thread: its threads are read in place, and those that run are \
                      left out; use --stop none";

/// Everything that follows from these facts.
pub fn diagnose(facts: &Facts) -> Diagnosis {
    let mut findings = host::findings(facts);
    findings.extend(waits::of_host(facts));
    findings.extend(own::findings(facts));
    if let Some(process) = &facts.process {
        findings.extend(process::findings(facts, process));
    }
    Diagnosis {
        process: facts.process.as_ref().map(|process| (process.pid, process.name.clone())),
        findings,
        verdict: facts.process.as_ref().map(|process| verdict(facts, process)),
    }
}

/// What is only unknown is not held against the process.
fn verdict(facts: &Facts, process: &ProcessFacts) -> Verdict {
    if let Some(refused) = &process.refused {
        return Verdict::Impossible(refused.clone());
    }
    if !process.answers {
        return Verdict::Impossible("its program's file cannot be read in time, and hangsnap would wait for it".into());
    }
    if matches!(process.attach, Outcome::Failed(_)) {
        return Verdict::Impossible("the kernel refuses to let hangsnap trace it".into());
    }
    let mut limits = Vec::new();
    match facts.own.ptrace_passes_filters {
        Outcome::Failed(_) | Outcome::Killed if !process.call_file.worked() => {
            return Verdict::Impossible(
                "a seccomp filter forbids ptrace, and its threads cannot be read in place".into(),
            );
        }
        _ if facts.own.real_time == Outcome::Killed && !process.call_file.worked() => {
            return Verdict::Impossible(
                "a seccomp filter kills any process that holds a thread, and its threads cannot be read in place"
                    .into(),
            );
        }
        Outcome::Failed(_) => limits.push(
            "a seccomp filter forbids ptrace: its threads are read in place, and those that run are left out".into(),
        ),
        Outcome::Killed => limits.push(KILLED.into()),
        // Who holds a thread does so at SCHED_FIFO if it may.
        _ if facts.own.real_time == Outcome::Killed => limits.push(KILLED.into()),
        _ => {}
    }
    if !process.traced.is_empty() {
        limits.push(format!(
            "{} of its threads are traced by something else, and left out while they run",
            process.traced.len()
        ));
    }
    if !memory_is_readable(&facts.own, process) {
        limits.push("it has no stacks: the memory of the process cannot be read".into());
    }
    if !process.call_file.worked() {
        limits.push(CALLS_UNKNOWN.into());
        if !process.uninterruptible.is_empty() {
            limits.push(format!(
                "{} of its threads are left out: they sleep uninterruptibly",
                process.uninterruptible.len()
            ));
        }
    }
    if limits.is_empty() { Verdict::Complete } else { Verdict::Limited(limits) }
}
