//! Queues: threads that wait for a lock, whose holder waits for something else, and so on to the
//! end.
//!
//! Promises: the end of a chain is accused, whatever it does, and not the thread with the longest
//! queue. A queue counts only if its threads were at rest over all that was looked at: threads that
//! take turns at a lock are none. An owner is gone only if it was in the sample before as well.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use super::cycles::party;
use super::graph::{Graph, Node};
use super::rest::Rest;
use super::{Fault, Level, Link, Party, Process, Verdict};
use crate::analysis::waits::{Kind, Limit, Proof, Scene, Wait, Who, time_asked};

/// Locks whose owners are gone.
pub(super) fn abandoned(processes: &[Process<'_>], graph: &Graph) -> Vec<Verdict> {
    let mut by_owner: BTreeMap<(usize, Who), Vec<Node>> = BTreeMap::new();
    let before: Vec<Option<Scene<'_>>> = processes.iter().map(Process::scene_before).collect();
    for (at, number, wait) in all_waits(processes) {
        let gone = wait.holders.iter().find(|holder| matches!(holder.who, Who::Gone(_) | Who::InParent { .. }));
        let Some(holder) = gone.filter(|_| wait.resource.kind.is_lock()) else { continue };
        // Threads come and go between a look at the lock and one at the threads.
        let thread = &processes[at].snapshot.threads[number];
        let is_confirmed = before[at].as_ref().is_none_or(|scene| {
            scene.wait_of(thread).is_some_and(|wait| wait.holders.iter().any(|before| before.who == holder.who))
        });
        if is_confirmed && !processes[at].has_run(number) {
            by_owner.entry((at, holder.who.clone())).or_default().push((at, number));
        }
    }
    let verdict = |((at, who), waiters): ((usize, Who), Vec<Node>)| {
        let process = processes.get(at)?;
        let rests: Option<Vec<i64>> = waiters.iter().map(|node| process.rest[node.1].since_ns()).collect();
        let (_, first) = *waiters.first()?;
        let wait = process.waits[first].as_ref()?;
        let (holder, because) = match who {
            Who::InParent { pid, tid, name } => (
                Party { pid: Some(pid), tid, name },
                "the lock was held by another thread when this process was forked, and that thread is in the parent only",
            ),
            Who::Gone(tid) => (
                Party { pid: None, tid: crate::model::Tid(tid), name: String::new() },
                "the thread that owns the lock is gone, and did not unlock it",
            ),
            Who::Thread(_) | Who::Elsewhere { .. } => return None,
        };
        let chain = waiters.iter().filter_map(|node| link(processes, graph, *node)).collect::<Vec<_>>();
        let chain: Vec<Link> = chain.into_iter().map(|link| Link { holder: Some(holder.clone()), ..link }).collect();
        Some(Verdict {
            fault: Fault::AbandonedLock,
            level: if wait.limit == Limit::Timed || rests.is_none() { Level::Waits } else { Level::Stuck },
            proof: if rests.is_some() { Proof::Proved } else { Proof::Guessed },
            accused: chain.iter().map(|link| link.waiter.clone()).collect(),
            holder: Some(holder),
            resource: Some(wait.resource.clone()),
            because: because.into(),
            queued: 0,
            since_ns: rests.and_then(|rests| rests.into_iter().min()),
            chain,
        })
    };
    by_owner.into_iter().filter_map(verdict).collect()
}

/// Threads that wait for a lock, and the end of their chain that is in no verdict yet.
pub(super) fn convoys(processes: &[Process<'_>], graph: &Graph, found: &[Verdict]) -> Vec<Verdict> {
    let accused = found.iter().filter(|verdict| !is_only_stopped(verdict)).flat_map(|verdict| &verdict.accused);
    let accused: HashSet<&Party> = accused.collect();
    let is_accused = |node: Node| party(processes, node).is_some_and(|party| accused.contains(&party));
    let mut ends = Ends::default();
    let mut queues: BTreeMap<Node, Vec<Node>> = BTreeMap::new();
    // Holders in processes that were not looked at.
    let mut outside: BTreeMap<Party, Vec<Node>> = BTreeMap::new();
    for (at, number, wait) in all_waits(processes) {
        let node = (at, number);
        let is_lock = wait.resource.kind.is_lock() && wait.resource.kind != Kind::Gil;
        if !is_lock || wait.limit == Limit::Timed || !processes[at].rests_throughout(number) {
            continue;
        }
        match ends.of(processes, graph, node) {
            Some(End::Here(end)) if end != node && !is_accused(end) => queues.entry(end).or_default().push(node),
            Some(End::Outside(party)) if wait.resource.kind != Kind::FileLock => {
                outside.entry(party).or_default().push(node);
            }
            Some(_) | None => {}
        }
    }
    let here = queues.into_iter().filter_map(|(end, queue)| convoy(processes, graph, end, queue));
    let outside = outside.into_iter().filter_map(|(holder, queue)| held_outside(processes, graph, holder, queue));
    here.chain(outside).collect()
}

/// How many threads wait for the members of each verdict, directly or through others.
pub(super) fn queued(processes: &[Process<'_>], graph: &Graph, waiters: &Waiters, verdict: &Verdict) -> usize {
    let members: HashSet<Node> = verdict.accused.iter().filter_map(|party| graph.node_of(party)).collect();
    let is_waiting = |node: &Node| processes[node.0].waits.get(node.1).is_some_and(Option::is_some);
    let mut open: Vec<Node> = members.iter().copied().collect();
    let mut seen = members;
    let mut count = 0;
    while let Some(node) = open.pop() {
        for waiter in waiters.get(&node).into_iter().flatten() {
            if seen.insert(*waiter) {
                count += usize::from(is_waiting(waiter));
                open.push(*waiter);
            }
        }
    }
    count
}

/// The threads that wait for each.
pub(super) type Waiters = HashMap<Node, Vec<Node>>;

pub(super) fn waiters(processes: &[Process<'_>], graph: &Graph) -> Waiters {
    let mut waiters = Waiters::new();
    for (at, number, _) in all_waits(processes) {
        if let Some((next, _)) = graph.next((at, number)) {
            waiters.entry(next).or_default().push((at, number));
        }
    }
    waiters
}

fn is_only_stopped(verdict: &Verdict) -> bool {
    matches!(verdict.fault, Fault::Stopped | Fault::Traced | Fault::Frozen)
}

fn all_waits<'p>(processes: &'p [Process<'_>]) -> impl Iterator<Item = (usize, usize, &'p Wait)> {
    let of = |(at, process): (usize, &'p Process<'_>)| {
        process.waits.iter().enumerate().filter_map(move |(number, wait)| Some((at, number, wait.as_ref()?)))
    };
    processes.iter().enumerate().flat_map(of)
}

/// A holder that asked for a sleep of this time is taken to be stuck with the lock.
const A_LONG_SLEEP: Duration = Duration::from_secs(10);

#[derive(Clone)]
enum End {
    Here(Node),
    Outside(Party),
}

/// Where chains end, each thread of them looked at once. None for one that goes round.
#[derive(Default)]
struct Ends(HashMap<Node, Option<End>>);

impl Ends {
    fn of(&mut self, processes: &[Process<'_>], graph: &Graph, from: Node) -> Option<End> {
        let (mut path, mut at) = (Vec::new(), from);
        let end = loop {
            if let Some(known) = self.0.get(&at) {
                break known.clone();
            }
            // Until its end is known: who comes here again goes round.
            self.0.insert(at, None);
            path.push(at);
            match step(processes, graph, at) {
                Step::To(next) => at = next,
                Step::End(end) => break end,
            }
        };
        for node in path {
            self.0.insert(node, end.clone());
        }
        end
    }
}

enum Step {
    To(Node),
    End(Option<End>),
}

fn step(processes: &[Process<'_>], graph: &Graph, at: Node) -> Step {
    let wait = processes.get(at.0).and_then(|process| process.waits.get(at.1)).and_then(Option::as_ref);
    let wait = wait.filter(|wait| wait.resource.kind.is_lock() || wait.resource.kind == Kind::Thread);
    // Who only stands before it in a queue does not have the lock.
    let is_queue = |wait: &Wait| wait.resource.kind == Kind::DatabaseLock;
    let holder =
        wait.and_then(|wait| wait.holders.first().filter(|holder| !is_queue(wait) || holder.proof == Proof::Proved));
    match (graph.next(at), holder.map(|holder| &holder.who)) {
        (Some((next, _)), _) if wait.is_some() => Step::To(next),
        (_, Some(Who::Elsewhere { pid, tid, name })) => {
            Step::End(Some(End::Outside(Party { pid: Some(*pid), tid: *tid, name: name.clone() })))
        }
        _ => Step::End(Some(End::Here(at))),
    }
}

fn convoy(processes: &[Process<'_>], graph: &Graph, end: Node, queue: Vec<Node>) -> Option<Verdict> {
    let process = processes.get(end.0)?;
    let rest = *process.rest.get(end.1)?;
    let wait = process.waits.get(end.1)?.as_ref();
    // A lock without a known holder ends a chain as well: then there is none to accuse.
    if wait.is_some_and(|wait| wait.resource.kind.is_lock()) {
        return None;
    }
    let what = match (wait, rest) {
        (Some(wait), _) if wait.resource.kind == Kind::Time => "sleeps".into(),
        (Some(wait), _) => format!("waits for {}", wait.resource),
        (None, Rest::Runs { .. }) => "runs all the time".into(),
        (None, _) => "runs".into(),
    };
    let place = process.place(end.1).map(|place| format!(" in {place}")).unwrap_or_default();
    let chain: Vec<Link> = queue.iter().filter_map(|node| link(processes, graph, *node)).collect();
    // The end is what matters, and is proved if the link to it is.
    let direct = queue.iter().filter_map(|node| graph.next(*node)).filter(|(next, _)| *next == end);
    let proof = direct.map(|(_, proof)| proof).min()?;
    let accused = party(processes, end)?;
    let resource = chain.iter().find(|link| link.holder.as_ref() == Some(&accused)).map(|link| link.resource.clone());
    let rests = queue.iter().filter_map(|node| processes[node.0].rest[node.1].since_ns());
    // Threads that take turns sleep with the lock as well, and let go of it afterwards. One that
    // asked for a long sleep keeps the others for as long. A holder that waits for events has them
    // by design, as where threads take turns at accepting connections.
    let asked = process.snapshot.threads.get(end.1).and_then(|thread| time_asked(thread, process.snapshot.taken));
    let keeps_it = wait.is_some_and(|wait| match wait.resource.kind {
        Kind::Time => asked.is_some_and(|asked| asked >= A_LONG_SLEEP),
        kind => wait.limit == Limit::Never && (wait.is_writing || !kind.is_idle()),
    });
    let is_stuck = keeps_it && process.rests_throughout(end.1);
    Some(Verdict {
        fault: Fault::Convoy,
        // That a lock's address lies on a stack does not make its thread the holder.
        level: if is_stuck && proof == Proof::Proved { Level::Stuck } else { Level::Waits },
        proof,
        holder: Some(accused.clone()),
        accused: vec![accused],
        resource,
        because: match proof {
            Proof::Proved => format!("it holds the lock, and {what}{place}"),
            Proof::Inferred | Proof::Guessed => format!("it may hold the lock, and {what}{place}"),
        },
        queued: queue.len(),
        // It has lasted since both have been where they are.
        since_ns: rests.min().zip(rest.since_ns()).map(|(queued, held)| queued.max(held)),
        chain,
    })
}

fn held_outside(processes: &[Process<'_>], graph: &Graph, holder: Party, queue: Vec<Node>) -> Option<Verdict> {
    let chain: Vec<Link> = queue.iter().filter_map(|node| link(processes, graph, *node)).collect();
    let rests = queue.iter().filter_map(|node| processes[node.0].rest[node.1].since_ns());
    Some(Verdict {
        fault: Fault::Convoy,
        // What the holder does was not looked at.
        level: Level::Waits,
        proof: Proof::Proved,
        accused: vec![holder.clone()],
        resource: chain.first().map(|link| link.resource.clone()),
        holder: Some(holder),
        because: "another process holds the lock".into(),
        queued: queue.len(),
        since_ns: rests.min(),
        chain,
    })
}

/// A waiting thread, with the first that it waits for.
pub(super) fn link(processes: &[Process<'_>], graph: &Graph, node: Node) -> Option<Link> {
    let process = processes.get(node.0)?;
    let wait = process.waits.get(node.1)?.as_ref()?;
    let edge = graph.next(node);
    let holder = match (edge, wait.holders.first().map(|holder| &holder.who)) {
        (Some((end, _)), _) => party(processes, end),
        (None, Some(Who::Elsewhere { pid, tid, name } | Who::InParent { pid, tid, name })) => {
            Some(Party { pid: Some(*pid), tid: *tid, name: name.clone() })
        }
        (None, _) => None,
    };
    Some(Link {
        waiter: party(processes, node)?,
        resource: wait.resource.clone(),
        holder,
        place: process.place(node.1),
        proof: edge.map_or(Proof::Proved, |(_, proof)| proof),
    })
}
