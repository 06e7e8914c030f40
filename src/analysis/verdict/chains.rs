//! Queues: threads that wait for a lock, whose holder waits for something else, and so on to the end.
//!
//! Promises: the end of a chain is accused, whatever it does, and not the thread with the longest
//! queue. A queue counts only if its threads were at rest over all that was looked at: threads that
//! take turns at a lock are none.

use std::collections::BTreeMap;

use super::cycles::party;
use super::graph::{Graph, Node};
use super::rest::Rest;
use super::{Fault, Level, Link, Party, Process, Verdict};
use crate::analysis::waits::{Kind, Limit, Proof, Wait, Who};

/// Chains longer than this are taken to go round.
const LONGEST: usize = 100_000;

/// Locks whose owners are gone.
pub(super) fn abandoned(processes: &[Process<'_>], graph: &Graph) -> Vec<Verdict> {
    let mut by_owner: BTreeMap<(usize, Who), Vec<Node>> = BTreeMap::new();
    for (at, number, wait) in all_waits(processes) {
        let gone = wait.holders.iter().find(|holder| matches!(holder.who, Who::Gone(_) | Who::InParent { .. }));
        if let Some(holder) = gone.filter(|_| wait.resource.kind.is_lock()) {
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
            level: if wait.limit == Limit::Timed { Level::Waits } else { Level::Stuck },
            proof: if rests.is_some() { Proof::Proved } else { Proof::Inferred },
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
    let is_accused = |node: Node| {
        party(processes, node).is_some_and(|party| {
            found.iter().any(|verdict| verdict.accused.contains(&party) && !is_only_stopped(verdict))
        })
    };
    let mut queues: BTreeMap<Node, Vec<Node>> = BTreeMap::new();
    // Holders in processes that were not looked at.
    let mut outside: BTreeMap<Party, Vec<Node>> = BTreeMap::new();
    for (at, number, wait) in all_waits(processes) {
        let node = (at, number);
        let is_lock = wait.resource.kind.is_lock() && wait.resource.kind != Kind::Gil;
        if !is_lock || wait.limit == Limit::Timed || !matches!(processes[at].rest[number], Rest::Rests { .. }) {
            continue;
        }
        match end_of(processes, graph, node) {
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
pub(super) fn queued(processes: &[Process<'_>], graph: &Graph, verdict: &Verdict) -> usize {
    let reaches = |node: Node| {
        let mut at = node;
        for _ in 0..LONGEST.min(1024) {
            let Some((next, _)) = graph.next(at) else { return false };
            if party(processes, next).is_some_and(|party| verdict.accused.contains(&party)) {
                return true;
            }
            at = next;
        }
        false
    };
    let is_member = |node| party(processes, node).is_some_and(|party| verdict.accused.contains(&party));
    let waiting = all_waits(processes).map(|(at, number, _)| (at, number));
    waiting.filter(|node| !is_member(*node) && reaches(*node)).count()
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

enum End {
    Here(Node),
    Outside(Party),
}

fn end_of(processes: &[Process<'_>], graph: &Graph, from: Node) -> Option<End> {
    let mut at = from;
    for _ in 0..LONGEST {
        let process = processes.get(at.0)?;
        let wait = process.waits.get(at.1)?.as_ref();
        let is_lock = wait.is_some_and(|wait| wait.resource.kind.is_lock() || wait.resource.kind == Kind::Thread);
        match graph.next(at) {
            Some((next, _)) if next == from => return None,
            Some((next, _)) if is_lock => at = next,
            _ => {
                let holder = wait.filter(|_| is_lock).and_then(|wait| wait.holders.first());
                return match holder.map(|holder| &holder.who) {
                    Some(Who::Elsewhere { pid, tid, name }) => {
                        Some(End::Outside(Party { pid: Some(*pid), tid: *tid, name: name.clone() }))
                    }
                    _ => Some(End::Here(at)),
                };
            }
        }
    }
    None
}

fn convoy(processes: &[Process<'_>], graph: &Graph, end: Node, queue: Vec<Node>) -> Option<Verdict> {
    let process = processes.get(end.0)?;
    let rest = *process.rest.get(end.1)?;
    let wait = process.waits.get(end.1)?.as_ref();
    // A lock of which no holder is known ends a chain as well: then nobody can be accused.
    if wait.is_some_and(|wait| wait.resource.kind.is_lock()) {
        return None;
    }
    let what = match (wait, rest) {
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
    // Threads that take turns sleep with the lock as well, and let go of it afterwards.
    let ends_by_itself = wait.is_some_and(|wait| wait.limit == Limit::Timed);
    let is_stuck = matches!(rest, Rest::Rests { .. }) && !ends_by_itself;
    Some(Verdict {
        fault: Fault::Convoy,
        level: if is_stuck { Level::Stuck } else { Level::Waits },
        proof,
        holder: Some(accused.clone()),
        accused: vec![accused],
        resource,
        because: format!("it holds the lock, and {what}{place}"),
        queued: queue.len(),
        since_ns: rests.min(),
        chain,
    })
}

fn held_outside(processes: &[Process<'_>], graph: &Graph, holder: Party, queue: Vec<Node>) -> Option<Verdict> {
    let chain: Vec<Link> = queue.iter().filter_map(|node| link(processes, graph, *node)).collect();
    let rests = queue.iter().filter_map(|node| processes[node.0].rest[node.1].since_ns());
    Some(Verdict {
        fault: Fault::Convoy,
        level: Level::Stuck,
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
