//! What each thread does, in one word, with its evidence.

use std::collections::{HashMap, HashSet};

use super::rest::Rest;
use super::runtimes::Runtime;
use super::spinning::{is_alike, yields};
use super::{Fault, Level, Party, Process, Verdict};
use crate::analysis::waits::{Kind, Wait};
use crate::model::{Thread, ThreadState};

/// What a thread does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum State {
    Stuck,
    Spinning,
    Waiting,
    Progressing,
    Idle,
    /// It could not be captured, or a runtime's own threads run on it that were not looked at.
    Unknown,
}

impl State {
    /// What it calls itself, or what the process does.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stuck => "stuck",
            Self::Spinning => "spinning",
            Self::Waiting => "waiting",
            Self::Progressing => "progressing",
            Self::Idle => "idle",
            Self::Unknown => "unknown",
        }
    }
}

/// One thread and what it does.
#[derive(Clone, PartialEq, Debug)]
pub struct ThreadVerdict {
    /// The thread.
    pub thread: Party,
    /// What it does.
    pub state: State,
    /// What it waits for; None for one that runs.
    pub wait: Option<Wait>,
    /// The innermost function of the program's own.
    pub place: Option<String>,
    /// The function that its thread began with.
    pub root: Option<String>,
    /// Since when it has not run, in nanoseconds since 1970.
    pub since_ns: Option<i64>,
    /// How that is known.
    pub evidence: String,
}

/// The threads that verdicts name.
pub(super) struct Named<'v> {
    /// With the first verdict that says that they are stuck.
    stuck: HashMap<&'v Party, &'v Verdict>,
    /// Those in chains, and all that are accused.
    any: HashSet<&'v Party>,
}

impl<'v> Named<'v> {
    pub(super) fn of(verdicts: &'v [Verdict]) -> Self {
        let mut named = Self { stuck: HashMap::new(), any: HashSet::new() };
        for verdict in verdicts {
            if verdict.level == Level::Stuck {
                verdict.accused.iter().for_each(|party| _ = named.stuck.entry(party).or_insert(verdict));
            }
            named.any.extend(verdict.accused.iter().chain(verdict.chain.iter().map(|link| &link.waiter)));
        }
        named
    }
}

pub(super) fn of(process: &Process<'_>, named: &Named<'_>) -> Vec<ThreadVerdict> {
    let has_exited = |thread: &Thread| matches!(thread.status.state, ThreadState::Zombie | ThreadState::Dead);
    let threads = process.snapshot.threads.iter().enumerate().filter(|(_, thread)| !has_exited(thread));
    threads.map(|(number, thread)| one(process, named, number, thread)).collect()
}

fn one(process: &Process<'_>, named: &Named<'_>, number: usize, thread: &Thread) -> ThreadVerdict {
    let party = process.party(thread);
    let wait = process.waits[number].clone();
    let rest = process.rest[number];
    let accused = named.stuck.get(&party);
    let is_in_chain = named.any.contains(&party);
    let has_runtime = matches!(process.runtime, Some(Runtime::Go | Runtime::Java | Runtime::Node | Runtime::Tokio));
    let state = match (accused, &wait, rest) {
        (Some(verdict), ..) if verdict.fault == Fault::BusyLoop => State::Spinning,
        (Some(_), ..) => State::Stuck,
        _ if is_in_chain => State::Waiting,
        (None, None, _) if !thread.is_captured() && thread.status.worker.is_none() => State::Unknown,
        // It looks now and then whether it has to give up, and sleeps on.
        (None, Some(wait), Rest::Moves) if wait.amid.is_some() && is_where_it_was(process, thread, number) => {
            State::Waiting
        }
        (None, _, Rest::Runs { .. } | Rest::Moves) if yields(process, number) => State::Spinning,
        (None, _, Rest::Runs { .. } | Rest::Moves) => State::Progressing,
        (None, Some(wait), _) if is_idle(wait) => {
            if has_runtime {
                State::Unknown
            } else {
                State::Idle
            }
        }
        (None, Some(_), _) => State::Waiting,
        // It sleeps, and not in a call: what for is not known.
        (None, None, Rest::Rests { .. }) => State::Unknown,
        (None, None, Rest::Unknown) => State::Progressing,
    };
    let samples = process.observation.samples.len();
    let covered = |since_ns: i64| {
        process.observation.samples.iter().filter(|sample| sample.taken.realtime_ns >= since_ns).count()
    };
    let evidence = match rest {
        Rest::Rests { since_ns } if covered(since_ns) > 1 => {
            format!("no time slice over {} samples", covered(since_ns))
        }
        Rest::Rests { .. } => "the kernel says when it ran last".into(),
        Rest::Runs { share } => format!("running in {samples} of {samples} samples, {:.0}% of a CPU", share * 100.0),
        Rest::Moves => "it ran between the samples".into(),
        Rest::Unknown => "seen once".into(),
    };
    let calls = process.observation.calls.get(number);
    let root = calls.and_then(|calls| calls.root()).map(|call| call.name().to_owned());
    ThreadVerdict {
        thread: party,
        state,
        wait,
        place: process.place(number),
        root: root.filter(|name| !name.is_empty()),
        since_ns: rest.since_ns(),
        evidence,
    }
}

/// Whether it had the same functions on its stack in each sample.
fn is_where_it_was(process: &Process<'_>, thread: &Thread, number: usize) -> bool {
    let Some(now) = process.observation.calls.get(number) else { return false };
    let mut earlier = process.observation.samples.iter().zip(&process.observation.earlier);
    earlier.all(|(sample, calls)| {
        let at = sample.threads.binary_search_by_key(&thread.tid, |other| other.tid);
        at.ok().and_then(|at| calls.get(at)).is_some_and(|before| is_alike(before, now))
    })
}

/// Whether a thread that waits so may just have nothing to do.
fn is_idle(wait: &Wait) -> bool {
    (wait.resource.kind.is_idle() || wait.resource.kind == Kind::Time) && !wait.is_writing && wait.amid.is_none()
}
