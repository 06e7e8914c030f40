//! Which threads of one or more processes hang, since when, on what, and who holds it.
//!
//! Promises: a verdict says how it is known, and is no surer than its least sure part. Edges are
//! taken together only where the threads were at rest over the time in which their locks were read:
//! `rest`. Nothing is called stuck that only waits: not a pool without work, not a wait that ends
//! by itself, not a thread that may not run. What could not be seen lowers what is said, and proves
//! nothing.

mod alone;
mod chains;
mod cycles;
mod database;
mod graph;
mod kernel;
mod rest;
mod runtimes;
mod spinning;
mod states;

use std::collections::HashSet;

use crate::analysis::waits::{Calls, Proof, Resource, Scene, Wait};
use crate::model::{Pid, Snapshot, Thread, ThreadState, Tid};
use graph::Graph;
use rest::Rest;

pub use states::{State, ThreadVerdict};

/// What is wrong, or looks so.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Fault {
    Deadlock,
    SelfDeadlock,
    AbandonedLock,
    LostWakeup,
    PoolExhausted,
    Convoy,
    Gil,
    BusyLoop,
    Stopped,
    Traced,
    Frozen,
    Fuse,
    Disk,
    FileLock,
    Peer,
    Child,
}

impl Fault {
    /// As scripts read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Deadlock => "deadlock",
            Self::SelfDeadlock => "self-deadlock",
            Self::AbandonedLock => "abandoned-lock",
            Self::LostWakeup => "lost-wakeup",
            Self::PoolExhausted => "pool-exhausted",
            Self::Convoy => "convoy",
            Self::Gil => "gil",
            Self::BusyLoop => "busy-loop",
            Self::Stopped => "stopped",
            Self::Traced => "traced",
            Self::Frozen => "frozen",
            Self::Fuse => "fuse",
            Self::Disk => "waits-for-disk",
            Self::FileLock => "waits-for-file-lock",
            Self::Peer => "waits-for-peer",
            Self::Child => "waits-for-child",
        }
    }
}

/// Whether it is a fault, or a wait that a healthy process may have, too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Level {
    Stuck,
    Waits,
}

/// A thread or process that a verdict is about.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Party {
    /// None for one that is gone: then only its id is known.
    pub pid: Option<Pid>,
    /// Its id, as hangsnap counts.
    pub tid: Tid,
    /// What it calls itself, or what the process does.
    pub name: String,
}

/// One thread of a chain: what it waits for, and who holds that.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Link {
    /// The thread that waits.
    pub waiter: Party,
    /// What is waited for.
    pub resource: Resource,
    /// Who holds it, if that is known.
    pub holder: Option<Party>,
    /// The innermost function of the program's own that the waiter is in, with its line.
    pub place: Option<String>,
    /// How surely that is known.
    pub proof: Proof,
}

/// One answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// What is wrong, or looks so.
    pub fault: Fault,
    /// Whether it is a fault.
    pub level: Level,
    /// How surely that is known.
    pub proof: Proof,
    /// Those at fault, or who wait.
    pub accused: Vec<Party>,
    /// Who holds it, if that is known.
    pub holder: Option<Party>,
    /// What is waited for.
    pub resource: Option<Resource>,
    /// Who waits for whom.
    pub chain: Vec<Link>,
    /// What else there is to say, a clause without its subject.
    pub because: String,
    /// How many threads wait for the accused, directly or through others.
    pub queued: usize,
    /// Since when it has lasted at least, in nanoseconds since 1970.
    pub since_ns: Option<i64>,
}

/// What is known of one process: its samples, the oldest first, and its last one read.
pub struct Observation<'a> {
    /// Its samples.
    pub samples: Vec<&'a Snapshot>,
    /// The functions of each thread of the last sample.
    pub calls: &'a [Calls<'a>],
    /// The same of the samples before it, for threads that run.
    pub earlier: Vec<&'a [Calls<'a>]>,
    /// Since when each thread of the last sample has provably not run, if the recording knows: in
    /// nanoseconds since 1970.
    pub not_run_since: Vec<Option<i64>>,
}

/// All that can be said of some processes.
pub struct Judgement {
    /// Those that were looked at.
    pub processes: Vec<Judged>,
    /// The worst first.
    pub verdicts: Vec<Verdict>,
    /// All of them.
    pub threads: Vec<ThreadVerdict>,
    /// What was not looked at, or could not be: sentences.
    pub remarks: Vec<String>,
}

/// A process that was looked at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Judged {
    /// Its process.
    pub pid: Pid,
    /// What it calls itself, or what the process does.
    pub name: String,
    /// How many samples were taken of it.
    pub samples: usize,
    /// When the first was taken, in nanoseconds since 1970.
    pub from_ns: i64,
    /// When the last was.
    pub to_ns: i64,
}

/// One process as the rules see it.
struct Process<'a> {
    observation: &'a Observation<'a>,
    snapshot: &'a Snapshot,
    waits: Vec<Option<Wait>>,
    rest: Vec<Rest>,
    runtime: Option<runtimes::Runtime>,
}

impl<'a> Process<'a> {
    fn of(observation: &'a Observation<'a>) -> Option<Self> {
        let snapshot = *observation.samples.last()?;
        let scene = Scene::new(snapshot, observation.calls);
        let mut waits = scene.waits();
        graph::infer_holders(&scene, &mut waits);
        let rest = rest::of(observation, snapshot);
        let runtime = runtimes::of(snapshot, observation.calls);
        Some(Self { observation, snapshot, waits, rest, runtime })
    }

    fn judged(&self) -> Judged {
        let Snapshot { process, taken, .. } = self.snapshot;
        let first = self.observation.samples.first().map_or(taken.realtime_ns, |sample| sample.taken.realtime_ns);
        Judged {
            pid: process.id.pid,
            name: process.name.clone(),
            samples: self.observation.samples.len(),
            from_ns: first,
            to_ns: taken.realtime_ns,
        }
    }

    fn party(&self, thread: &Thread) -> Party {
        Party { pid: Some(self.snapshot.process.id.pid), tid: thread.tid, name: thread.status.name.clone() }
    }

    /// Whether a thread has not run over all the time that was looked at.
    fn rests_throughout(&self, number: usize) -> bool {
        let first = self.observation.samples.first().map(|sample| sample.taken.realtime_ns);
        let since = self.rest.get(number).and_then(|rest| rest.since_ns());
        since.zip(first).is_some_and(|(since, first)| since <= first)
    }

    /// Whether a thread ran meanwhile, so that what it waited for when it was seen is past.
    fn has_run(&self, number: usize) -> bool {
        matches!(self.rest.get(number), Some(Rest::Moves | Rest::Runs { .. }))
    }

    /// The sample before the last, to be read like it.
    fn scene_before(&self) -> Option<Scene<'a>> {
        let before = self.observation.samples.len().checked_sub(2)?;
        let sample = *self.observation.samples.get(before)?;
        Some(Scene::new(sample, self.observation.earlier.get(before)?))
    }

    fn place(&self, number: usize) -> Option<String> {
        let own = self.observation.calls.get(number)?.own()?;
        let name = own.name();
        if name.is_empty() {
            return None;
        }
        let line = own.function.file.as_deref().zip(own.function.line).map(|(file, line)| {
            let file = file.rsplit('/').next().unwrap_or(file);
            format!(" at {file}:{line}")
        });
        Some(format!("{name}{}", line.unwrap_or_default()))
    }
}

/// Says what is to be said of these processes.
pub fn judge(observations: &[Observation<'_>]) -> Judgement {
    let processes: Vec<Process<'_>> = observations.iter().filter_map(Process::of).collect();
    let graph = Graph::of(&processes);
    let mut verdicts = cycles::find(&processes, &graph);
    verdicts.extend(database::deadlocks(&processes, &verdicts));
    verdicts.extend(kernel::not_allowed_to_run(&processes));
    verdicts.extend(chains::abandoned(&processes, &graph));
    verdicts.extend(chains::convoys(&processes, &graph, &verdicts));
    for process in &processes {
        verdicts.extend(alone::lost_wakeups(process));
        verdicts.extend(runtimes::gil(process));
        verdicts.extend(spinning::find(process));
        if !verdicts.iter().any(|verdict| verdict.level == Level::Stuck && verdict.is_of(process)) {
            verdicts.extend(alone::nobody_left(process));
        }
        verdicts.extend(kernel::waits(process));
    }
    drop_repeated(&mut verdicts);
    let waiters = chains::waiters(&processes, &graph);
    for verdict in verdicts.iter_mut().filter(|verdict| verdict.queued == 0) {
        verdict.queued = chains::queued(&processes, &graph, &waiters, verdict);
    }
    verdicts.sort_by_key(|verdict| (verdict.level, verdict.proof, verdict.fault, std::cmp::Reverse(verdict.queued)));
    let threads = {
        let named = states::Named::of(&verdicts);
        processes.iter().flat_map(|process| states::of(process, &named)).collect()
    };
    let remarks = processes.iter().flat_map(remarks).collect();
    let judged = processes.iter().map(Process::judged).collect();
    Judgement { processes: judged, verdicts, threads, remarks }
}

/// Takes out waits of threads that are stuck in another verdict.
fn drop_repeated(verdicts: &mut Vec<Verdict>) {
    let stuck = verdicts.iter().filter(|verdict| verdict.level == Level::Stuck);
    let stuck: HashSet<Party> = stuck.flat_map(|verdict| verdict.accused.iter().cloned()).collect();
    verdicts
        .retain(|verdict| verdict.level == Level::Stuck || !verdict.accused.iter().all(|party| stuck.contains(party)));
}

/// What is to be said beside the verdicts.
fn remarks(process: &Process<'_>) -> Vec<String> {
    let mut remarks: Vec<String> = runtimes::remarks(process).into_iter().collect();
    let unread = process.snapshot.wait_facts.unread.iter();
    remarks.extend(unread.map(|source| format!("{} could not be read: {}", source.what, source.why)));
    let has_exited = |thread: &Thread| matches!(thread.status.state, ThreadState::Zombie | ThreadState::Dead);
    let is_lost = |thread: &&Thread| !thread.is_captured() && thread.status.worker.is_none() && !has_exited(thread);
    let lost = process.snapshot.threads.iter().filter(is_lost).count();
    if lost > 0 {
        let name = &process.snapshot.process.name;
        let id = process.snapshot.process.id.pid;
        let threads = if lost == 1 { "1 thread".to_owned() } else { format!("{lost} threads") };
        remarks.push(format!("{threads} of {name} ({id}) could not be captured: nothing is said of them"));
    }
    remarks
}

impl Verdict {
    fn is_of(&self, process: &Process<'_>) -> bool {
        let pid = Some(process.snapshot.process.id.pid);
        self.accused.iter().chain(&self.holder).any(|party| party.pid == pid)
    }

    /// Whether this thread is one of those that it accuses.
    pub fn accuses(&self, pid: Pid, tid: Tid) -> bool {
        self.accused.iter().any(|party| party.pid == Some(pid) && party.tid == tid)
    }
}
