//! `hangsnap.verdict/1`: the answer as data, verdicts first. Fields are only added.

use std::io::{self, Write};

use serde::Serialize;

use crate::analysis::verdict::{Judged, Judgement, Level, Link, Party, State, ThreadVerdict, Verdict};
use crate::analysis::waits::{Holder, Resource, Who};
use crate::model::Pid;

#[derive(Serialize)]
struct Document<'a> {
    format: &'static str,
    answer: &'static str,
    verdicts: Vec<VerdictFields<'a>>,
    threads: Vec<ThreadFields<'a>>,
    processes: Vec<ProcessFields<'a>>,
    remarks: &'a [String],
}

#[derive(Serialize)]
struct VerdictFields<'a> {
    kind: &'static str,
    level: &'static str,
    proof: &'static str,
    text: &'a str,
    accused: Vec<PartyFields<'a>>,
    holder: Option<PartyFields<'a>>,
    resource: Option<ResourceFields>,
    chain: Vec<LinkFields<'a>>,
    queued: usize,
    since: Option<String>,
    seconds: Option<f64>,
}

#[derive(Serialize)]
struct PartyFields<'a> {
    /// Absent for a thread that is gone.
    pid: Option<i32>,
    tid: i32,
    name: &'a str,
}

#[derive(Serialize)]
struct ResourceFields {
    kind: &'static str,
    address: Option<String>,
    text: String,
}

#[derive(Serialize)]
struct LinkFields<'a> {
    waiter: PartyFields<'a>,
    resource: ResourceFields,
    holder: Option<PartyFields<'a>>,
    place: Option<&'a str>,
    proof: &'static str,
}

#[derive(Serialize)]
struct ThreadFields<'a> {
    pid: Option<i32>,
    tid: i32,
    name: &'a str,
    state: &'static str,
    waits_for: Option<ResourceFields>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    held_by: Vec<HolderFields<'a>>,
    amid: Option<&'a str>,
    place: Option<&'a str>,
    root: Option<&'a str>,
    since: Option<String>,
    evidence: &'a str,
}

/// One that has what is waited for, or would have to end the wait.
#[derive(Serialize)]
struct HolderFields<'a> {
    /// Absent for a thread that is gone.
    pid: Option<i32>,
    tid: i32,
    /// Absent for a thread of the same process: it is in this list, too.
    name: Option<&'a str>,
    proof: &'static str,
}

#[derive(Serialize)]
struct ProcessFields<'a> {
    pid: i32,
    name: &'a str,
    samples: usize,
    from: Option<String>,
    to: Option<String>,
}

/// Writes the answer.
pub fn verdict(out: &mut dyn Write, judgement: &Judgement) -> io::Result<()> {
    let Judgement { processes, verdicts, threads, remarks } = judgement;
    let seen_ns = processes.iter().map(|process| process.to_ns).max().unwrap_or(0);
    let document = Document {
        format: "hangsnap.verdict/1",
        answer: answer(judgement),
        verdicts: verdicts.iter().map(|verdict| verdict_fields(verdict, seen_ns)).collect(),
        threads: threads.iter().map(thread_fields).collect(),
        processes: processes.iter().map(process_fields).collect(),
        remarks,
    };
    serde_json::to_writer(&mut *out, &document)?;
    writeln!(out)
}

fn answer(judgement: &Judgement) -> &'static str {
    let has = |state: State| judgement.threads.iter().any(|thread| thread.state == state);
    match () {
        () if judgement.verdicts.iter().any(|verdict| verdict.level == Level::Stuck) => "stuck",
        () if has(State::Progressing) => "progressing",
        () if has(State::Spinning) => "spinning",
        () if !judgement.verdicts.is_empty() || has(State::Waiting) => "waiting",
        () if has(State::Unknown) || judgement.threads.is_empty() => "unknown",
        () => "idle",
    }
}

/// RFC 3339, in UTC.
fn time(realtime_ns: i64) -> Option<String> {
    jiff::Timestamp::from_nanosecond(realtime_ns.into()).ok().map(|time| time.to_string())
}

fn party(party: &Party) -> PartyFields<'_> {
    PartyFields { pid: party.pid.map(|pid| pid.0), tid: party.tid.0, name: &party.name }
}

fn resource(resource: &Resource) -> ResourceFields {
    ResourceFields {
        kind: resource.kind.name(),
        address: resource.address.map(|address| address.to_string()),
        text: resource.to_string(),
    }
}

fn link(link: &Link) -> LinkFields<'_> {
    LinkFields {
        waiter: party(&link.waiter),
        resource: resource(&link.resource),
        holder: link.holder.as_ref().map(party),
        place: link.place.as_deref(),
        proof: link.proof.name(),
    }
}

fn verdict_fields(verdict: &Verdict, seen_ns: i64) -> VerdictFields<'_> {
    let lasted = verdict.since_ns.map(|since| seen_ns.saturating_sub(since).max(0));
    VerdictFields {
        kind: verdict.fault.name(),
        level: if verdict.level == Level::Stuck { "stuck" } else { "waits" },
        proof: verdict.proof.name(),
        text: &verdict.because,
        accused: verdict.accused.iter().map(party).collect(),
        holder: verdict.holder.as_ref().map(party),
        resource: verdict.resource.as_ref().map(resource),
        chain: verdict.chain.iter().map(link).collect(),
        queued: verdict.queued,
        since: verdict.since_ns.and_then(time),
        seconds: lasted.map(|lasted| lasted as f64 / 1e9),
    }
}

fn holder<'a>(holder: &'a Holder, own: Option<Pid>) -> HolderFields<'a> {
    let (pid, tid, name) = match &holder.who {
        Who::Thread(tid) => (own, tid.0, None),
        Who::Elsewhere { pid, tid, name } | Who::InParent { pid, tid, name } => (Some(*pid), tid.0, Some(&**name)),
        Who::Gone(tid) => (None, *tid, None),
    };
    HolderFields { pid: pid.map(|pid| pid.0), tid, name, proof: holder.proof.name() }
}

fn thread_fields(thread: &ThreadVerdict) -> ThreadFields<'_> {
    ThreadFields {
        pid: thread.thread.pid.map(|pid| pid.0),
        tid: thread.thread.tid.0,
        name: &thread.thread.name,
        state: thread.state.name(),
        waits_for: thread.wait.as_ref().map(|wait| resource(&wait.resource)),
        held_by: thread.wait.iter().flat_map(|wait| &wait.holders).map(|one| holder(one, thread.thread.pid)).collect(),
        amid: thread.wait.as_ref().and_then(|wait| wait.amid),
        place: thread.place.as_deref(),
        root: thread.root.as_deref(),
        since: thread.since_ns.and_then(time),
        evidence: &thread.evidence,
    }
}

fn process_fields(process: &Judged) -> ProcessFields<'_> {
    ProcessFields {
        pid: process.pid.0,
        name: &process.name,
        samples: process.samples,
        from: time(process.from_ns),
        to: time(process.to_ns),
    }
}
