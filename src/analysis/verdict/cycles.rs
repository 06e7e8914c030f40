//! Threads that wait for each other, or for themselves.
//!
//! Promises: a cycle is proved only if each of its edges is, and each member was at rest over the
//! time in which the locks were read, so that all edges held at one moment. Of threads that ran
//! there is none. Where that is not known, as of threads that were seen once, the locks may have
//! been read at different moments, between which threads had them in turn: it is a guess, and no
//! fault.

use std::collections::HashSet;

use super::graph::{Graph, Node};
use super::{Fault, Level, Link, Party, Process, Verdict};
use crate::analysis::waits::{Kind, Proof, Wait, Who};
use crate::model::Tid;

pub(super) fn find(processes: &[Process<'_>], graph: &Graph) -> Vec<Verdict> {
    let for_ever = graph.cycles().into_iter().filter_map(|members| cycle(processes, graph, members));
    let timed = graph.timed_cycles().into_iter().filter_map(|members| {
        let found = cycle(processes, graph, members)?;
        let because = "each holds what the next one waits for, until a wait among them ends by its limit".into();
        Some(Verdict { level: Level::Waits, because, ..found })
    });
    for_ever.chain(timed).collect()
}

/// Whether another thread keeps the address of a lock and waits for something else: it may be about
/// to unlock what it has not locked, which POSIX leaves undefined for a mutex that checks nothing,
/// and programs do. One that waits for the lock, or for the thread, never gets there.
fn may_be_unlocked_by_another(process: &Process<'_>, number: usize) -> bool {
    let Some(wait) = process.waits.get(number).and_then(Option::as_ref) else { return false };
    let own = process.snapshot.threads[number].tid;
    let is_held_up = |tid: Tid| {
        let place = process.snapshot.threads.binary_search_by_key(&tid, |thread| thread.tid);
        let other = place.ok().and_then(|place| process.waits.get(place)).and_then(Option::as_ref);
        let waits_for_it = |other: &Wait| other.holders.iter().any(|holder| holder.who == Who::Thread(own));
        other.is_some_and(|other| other.resource == wait.resource || waits_for_it(other))
    };
    let references = &process.snapshot.wait_facts.references;
    let mut of_lock = references.iter().filter(|found| Some(found.lock) == wait.resource.address);
    wait.resource.kind == Kind::Mutex && of_lock.any(|found| found.tid != own && !is_held_up(found.tid))
}

fn cycle(processes: &[Process<'_>], graph: &Graph, members: Vec<Node>) -> Option<Verdict> {
    let inside: HashSet<Node> = members.iter().copied().collect();
    let (mut proof, mut level) = (Proof::Proved, Level::Stuck);
    let mut since_ns = Some(i64::MIN);
    let mut chain = Vec::new();
    for (place, node) in members.iter().enumerate() {
        let process = processes.get(node.0)?;
        let wait = process.waits.get(node.1)?.as_ref()?;
        let next = members[(place + 1) % members.len()];
        let edge = graph.edges(*node).iter().filter(|(end, _)| inside.contains(end));
        let edge = edge.min_by_key(|(end, proof)| (*end != next, *proof))?;
        let rest = process.rest.get(node.1)?.since_ns();
        proof = proof.max(edge.1);
        if rest.is_none() {
            (proof, level) = (Proof::Guessed, Level::Waits);
        }
        if members.len() == 1 && may_be_unlocked_by_another(process, node.1) {
            (proof, level) = (Proof::Guessed, Level::Waits);
        }
        since_ns = since_ns.zip(rest).map(|(since, rest)| since.max(rest));
        chain.push(Link {
            waiter: party(processes, *node)?,
            resource: wait.resource.clone(),
            holder: party(processes, edge.0),
            place: process.place(node.1),
            proof: edge.1,
        });
    }
    // First the link that says most: of a writer, for who it waits for has the lock; of a lock
    // whose address is known.
    let says_most = |(link, node): &(&Link, &Node)| {
        let is_writing = processes[node.0].waits[node.1].as_ref().is_some_and(|wait| wait.is_writing);
        (is_writing, link.resource.kind.is_lock(), link.resource.address.is_some())
    };
    let first =
        chain.iter().zip(&members).enumerate().max_by_key(|(at, link)| (says_most(link), std::cmp::Reverse(*at)));
    let first = first.map_or(0, |(at, _)| at);
    chain.rotate_left(first);
    let is_alone = members.len() == 1;
    let is_lock_only = chain.iter().all(|link| link.resource.kind != Kind::Thread);
    Some(Verdict {
        fault: if is_alone { Fault::SelfDeadlock } else { Fault::Deadlock },
        level,
        proof,
        accused: chain.iter().map(|link| link.waiter.clone()).collect(),
        holder: chain.first().and_then(|link| link.holder.clone()),
        resource: chain.first().map(|link| link.resource.clone()),
        because: match (is_alone, is_lock_only) {
            (true, _) if proof == Proof::Proved => "it waits for what it holds itself".into(),
            (true, _) => "no other thread can hold what it waits for".into(),
            (false, true) => "each holds what the next one waits for".into(),
            (false, false) => "each waits for the next one".into(),
        },
        queued: 0,
        since_ns: since_ns.filter(|since| *since != i64::MIN),
        chain,
    })
}

pub(super) fn party(processes: &[Process<'_>], node: Node) -> Option<Party> {
    let process = processes.get(node.0)?;
    Some(process.party(process.snapshot.threads.get(node.1)?))
}
