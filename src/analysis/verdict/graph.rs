//! Who waits for whom: threads of all processes as one graph.
//!
//! Promises: an edge is there only where the thread at its end would have to do something for the
//! wait to end: the holder of a lock, each reader of a rwlock, the thread whose end is waited for.
//! A wait for a child or for another end of a pipe has none: any thread or handler there could end
//! it.

use std::collections::{HashMap, HashSet};

use super::{Party, Process};
use crate::analysis::waits::{Holder, Kind, Limit, Proof, Resource, Scene, Wait, Who};
use crate::model::{Pid, Tid};

/// A thread: the number of its process, and its own number in the snapshot.
pub(super) type Node = (usize, usize);

/// Edges from each thread to those that it waits for.
pub(super) struct Graph {
    edges: HashMap<Node, Edges>,
    nodes: HashMap<(Pid, Tid), Node>,
}

#[derive(Default)]
struct Edges {
    ends: Vec<(Node, Proof)>,
    /// Whether just one of the ends is right, not known which.
    is_one_of: bool,
    /// Whether the wait ends by itself.
    is_timed: bool,
    /// Whether the thread ran meanwhile. What it waited for when it was seen held at that moment
    /// only: threads that take a lock in turn own it one after the other.
    has_run: bool,
}

impl Graph {
    pub(super) fn of(processes: &[Process<'_>]) -> Self {
        let mut nodes = HashMap::new();
        for (at, process) in processes.iter().enumerate() {
            let pid = process.snapshot.process.id.pid;
            for (number, thread) in process.snapshot.threads.iter().enumerate() {
                nodes.insert((pid, thread.tid), (at, number));
            }
        }
        let mut graph = Self { edges: HashMap::new(), nodes };
        for (at, process) in processes.iter().enumerate() {
            for (number, wait) in process.waits.iter().enumerate() {
                let Some(wait) = wait.as_ref().filter(|wait| has_edges(wait)) else { continue };
                let ends =
                    wait.holders.iter().filter_map(|holder| Some((graph.node(process, &holder.who)?, holder.proof)));
                // A file's lock is a process's, not a thread's.
                let is_sure = |(end, _): &(Node, Proof)| {
                    wait.resource.kind != Kind::FileLock || processes[end.0].snapshot.threads.len() == 1
                };
                // Who only stands before another in a queue of PostgreSQL's may be made to let it
                // pass.
                let has_it =
                    |(_, proof): &(Node, Proof)| wait.resource.kind != Kind::DatabaseLock || *proof == Proof::Proved;
                let ends: Vec<_> = ends.filter(is_sure).filter(has_it).collect();
                if !ends.is_empty() {
                    let is_timed = wait.limit == Limit::Timed;
                    let has_run = process.has_run(number);
                    graph.edges.insert((at, number), Edges { ends, is_one_of: wait.is_one_of, is_timed, has_run });
                }
            }
        }
        graph
    }

    /// The thread that this is, if its process is one of those looked at.
    pub(super) fn node(&self, process: &Process<'_>, who: &Who) -> Option<Node> {
        let key = match who {
            Who::Thread(tid) => (process.snapshot.process.id.pid, *tid),
            Who::Elsewhere { pid, tid, .. } => (*pid, *tid),
            Who::Gone(_) | Who::InParent { .. } => return None,
        };
        self.nodes.get(&key).copied()
    }

    pub(super) fn node_of(&self, party: &Party) -> Option<Node> {
        self.nodes.get(&(party.pid?, party.tid)).copied()
    }

    pub(super) fn edges(&self, node: Node) -> &[(Node, Proof)] {
        self.edges.get(&node).map_or(&[], |edges| &edges.ends)
    }

    /// The thread that this one waits for, if it is known which.
    pub(super) fn next(&self, node: Node) -> Option<(Node, Proof)> {
        let edges = self.edges.get(&node)?;
        if edges.is_one_of && edges.ends.len() > 1 { None } else { edges.ends.first().copied() }
    }

    /// The threads that can never go on, whatever others do: each waits for one that cannot, and
    /// where it is not known which of several holds a lock, none of them can. (The largest such
    /// set: threads that might go on are taken out until none is left that might.)
    ///
    /// With `timed`, waits that end by themselves count as if they did not.
    fn stuck(&self, timed: bool) -> HashSet<Node> {
        let waits_for_ever = self.edges.iter().filter(|(_, edges)| (timed || !edges.is_timed) && !edges.has_run);
        let mut stuck: HashSet<Node> = waits_for_ever.map(|(node, _)| *node).collect();
        let mut waiters: HashMap<Node, Vec<Node>> = HashMap::new();
        for (node, edges) in &self.edges {
            edges.ends.iter().for_each(|(end, _)| waiters.entry(*end).or_default().push(*node));
        }
        let might_go_on = |node: &Node, stuck: &HashSet<Node>| {
            let Edges { ends, is_one_of, .. } = &self.edges[node];
            match is_one_of {
                true => ends.iter().any(|(end, _)| !stuck.contains(end)),
                false => ends.iter().all(|(end, _)| !stuck.contains(end)),
            }
        };
        let mut open: Vec<Node> = self.edges.keys().copied().collect();
        while let Some(node) = open.pop() {
            if stuck.contains(&node) && might_go_on(&node, &stuck) {
                stuck.remove(&node);
                open.extend(waiters.get(&node).into_iter().flatten());
            }
        }
        stuck
    }

    /// Cycles of threads that wait for each other and can never go on, each in its order. Of cycles
    /// that share threads there is one.
    pub(super) fn cycles(&self) -> Vec<Vec<Node>> {
        let stuck = self.stuck(false);
        self.components(&stuck).into_iter().map(|component| self.cycle_in(&component)).collect()
    }

    /// Cycles of threads that wait for each other until one of them gives up.
    pub(super) fn timed_cycles(&self) -> Vec<Vec<Node>> {
        if !self.edges.values().any(|edges| edges.is_timed) {
            return Vec::new();
        }
        let stuck = self.stuck(false);
        let passing: HashSet<Node> = self.stuck(true).difference(&stuck).copied().collect();
        self.components(&passing).into_iter().map(|component| self.cycle_in(&component)).collect()
    }

    /// One cycle of a component, by the likeliest edge from each thread to the next.
    fn cycle_in(&self, component: &[Node]) -> Vec<Node> {
        let inside: HashSet<Node> = component.iter().copied().collect();
        let mut places: HashMap<Node, usize> = HashMap::new();
        let mut path = Vec::new();
        let mut node = component.first().copied();
        while let Some(at) = node {
            if let Some(place) = places.insert(at, path.len()) {
                return path.split_off(place);
            }
            path.push(at);
            node = self.edges(at).iter().map(|(end, _)| *end).find(|end| inside.contains(end));
        }
        path
    }

    /// Strongly connected components of the threads in `among` that have more than one thread or an
    /// edge to itself (Tarjan 1972, without recursion).
    fn components(&self, among: &HashSet<Node>) -> Vec<Vec<Node>> {
        let mut from: Vec<Node> = among.iter().copied().collect();
        from.sort_unstable();
        let (mut index, mut low): (HashMap<Node, usize>, HashMap<Node, usize>) = Default::default();
        let (mut open, mut cycles): (Vec<Node>, Vec<Vec<Node>>) = Default::default();
        let mut is_open: HashMap<Node, bool> = HashMap::new();
        for start in from {
            if index.contains_key(&start) {
                continue;
            }
            let mut path = vec![(start, 0)];
            while let Some((node, next)) = path.pop() {
                if next == 0 {
                    let number = index.len();
                    index.insert(node, number);
                    low.insert(node, number);
                    open.push(node);
                    is_open.insert(node, true);
                }
                if let Some((end, _)) = self.edges(node).get(next) {
                    path.push((node, next + 1));
                    if !among.contains(end) {
                        continue;
                    }
                    match index.get(end) {
                        None => path.push((*end, 0)),
                        Some(number) if is_open.get(end) == Some(&true) => {
                            let least = low[&node].min(*number);
                            low.insert(node, least);
                        }
                        Some(_) => {}
                    }
                    continue;
                }
                if let Some((caller, _)) = path.last() {
                    let least = low[caller].min(low[&node]);
                    low.insert(*caller, least);
                }
                if low[&node] == index[&node] {
                    let mut members = Vec::new();
                    while let Some(member) = open.pop() {
                        is_open.insert(member, false);
                        members.push(member);
                        if member == node {
                            break;
                        }
                    }
                    let is_own = self.edges(node).iter().any(|(end, _)| *end == node);
                    if members.len() > 1 || is_own {
                        members.sort_unstable();
                        cycles.push(members);
                    }
                }
            }
        }
        cycles
    }
}

/// Whether those who hold what is waited for have to let go of it themselves. Of another end of a
/// pipe, or of a child, any thread or signal handler of its process could end the wait, and so
/// could any other process that has it open.
fn has_edges(wait: &Wait) -> bool {
    wait.resource.kind.is_lock() || wait.resource.kind == Kind::Thread
}

/// Adds holders that no word names: threads on whose stacks the lock's address lies, and the one
/// thread that can hold a lock that is held.
pub(super) fn infer_holders(scene: &Scene<'_>, waits: &mut [Option<Wait>]) {
    let mut waiters: HashMap<Resource, Vec<Tid>> = HashMap::new();
    for (thread, wait) in scene.snapshot.threads.iter().zip(&*waits) {
        if let Some(wait) = wait
            && wait.resource.kind.is_lock()
        {
            waiters.entry(wait.resource.clone()).or_default().push(thread.tid);
        }
    }
    let mut candidates: HashMap<&Resource, Candidates> = HashMap::new();
    let mut inferred: Vec<Option<Vec<Holder>>> = Vec::new();
    for (thread, wait) in scene.snapshot.threads.iter().zip(&*waits) {
        let is_sought = |wait: &&Wait| {
            wait.holders.is_empty()
                && !wait.has_owner_field
                && wait.is_private
                && wait.resource.kind.is_lock()
                && wait.resource.address.is_some()
        };
        let sought = wait.as_ref().filter(is_sought).map(|wait| &wait.resource);
        inferred.push(sought.and_then(|resource| {
            let queue = waiters.get(resource)?;
            let found = candidates.entry(resource).or_insert_with(|| candidates_for(scene, resource, queue, waits));
            Some(found.for_waiter(thread.tid))
        }));
    }
    for (wait, holders) in waits.iter_mut().zip(inferred) {
        if let (Some(wait), Some(holders)) = (wait, holders) {
            wait.is_one_of = holders.len() > 1;
            wait.holders = holders;
        }
    }
}

/// Where any of more threads than this may hold a lock, it is not known at all who does.
const MOST_CANDIDATES: usize = 64;

/// Those who may hold a lock that does not say who does: one of them does, the likeliest first.
#[derive(Default)]
struct Candidates {
    holders: Vec<Holder>,
    /// Whether it is any of them but the one that waits.
    is_another: bool,
    /// Where none is left then, it is any of these but the one that waits.
    otherwise: Vec<Holder>,
}

impl Candidates {
    fn of(tids: impl IntoIterator<Item = Tid>, proof: Proof) -> Self {
        let holder = |tid| Holder { who: Who::Thread(tid), proof };
        Self { holders: tids.into_iter().take(MOST_CANDIDATES + 2).map(holder).collect(), ..Self::default() }
    }

    fn for_waiter(&self, waiter: Tid) -> Vec<Holder> {
        let is_other = |holder: &&Holder| !self.is_another || holder.who != Who::Thread(waiter);
        let mut holders: Vec<Holder> = self.holders.iter().filter(is_other).cloned().collect();
        if holders.is_empty() {
            holders = self.otherwise.iter().filter(is_other).cloned().collect();
        }
        if holders.len() > MOST_CANDIDATES { Vec::new() } else { holders }
    }
}

/// `queue` are the threads that wait for it, in order.
fn candidates_for(scene: &Scene<'_>, resource: &Resource, queue: &[Tid], waits: &[Option<Wait>]) -> Candidates {
    let is_queued = |tid: &Tid| queue.binary_search(tid).is_ok();
    // A reader may hold what a writer waits for, and wait elsewhere itself.
    let all_referrers: Vec<Tid> = scene.referrers(resource).iter().filter(|tid| !is_queued(tid)).copied().collect();
    let wait_of = |tid: &Tid| {
        let place = scene.snapshot.threads.binary_search_by_key(tid, |thread| thread.tid).ok()?;
        waits.get(place)?.as_ref()
    };
    // A thread that has the lock among its own variables and waits for the others to end is
    // likelier to keep the address than the lock, where others are left that can have it.
    let joins = |tid: &Tid| wait_of(tid).is_some_and(|wait| wait.resource.kind == Kind::Thread);
    let mut referrers: Vec<Tid> = all_referrers.iter().filter(|tid| !joins(tid)).copied().collect();
    let may_be_queued = resource.kind == Kind::Rwlock && queue.len() > 1;
    if referrers.is_empty() && !may_be_queued {
        referrers = all_referrers;
    }
    match referrers.as_slice() {
        [only] => return Candidates::of([*only], Proof::Inferred),
        [] => {}
        several => {
            // A thread that only keeps the address, such as one that waits for work, does not hold
            // the lock as surely as one that waits for another lock, or sleeps in the middle of
            // something.
            let waits_for_lock = |tid: &&Tid| wait_of(tid).is_some_and(|wait| wait.resource.kind.is_lock());
            let mut of_lock: Vec<Tid> = several.iter().filter(waits_for_lock).copied().collect();
            if of_lock.is_empty() {
                return Candidates::of(several.iter().copied(), Proof::Guessed);
            }
            let proof = if of_lock.len() == several.len() { Proof::Inferred } else { Proof::Guessed };
            // It was held when the first that waits for it went to sleep: who fell asleep early is
            // likelier to have it.
            of_lock.sort_by_key(|tid| scene.facts().last_ran(*tid).unwrap_or(u64::MAX));
            return Candidates::of(of_lock, proof);
        }
    }
    // No other stack refers to it. It may be one of the waiters itself, which has it as a reader or
    // has begun to take it; or the one other thread that there is.
    let is_joining =
        |place: usize| waits.get(place).and_then(Option::as_ref).is_some_and(|wait| wait.resource.kind == Kind::Thread);
    let mut others = scene
        .snapshot
        .threads
        .iter()
        .enumerate()
        .filter(|(place, thread)| !is_queued(&thread.tid) && !is_joining(*place))
        .map(|(_, thread)| thread.tid);
    match (others.next(), others.next(), queue) {
        (None, _, [only]) => Candidates::of([*only], Proof::Inferred),
        // One that reads waits for the writer in the queue, which waits for it.
        (None, _, [_, _, ..]) if may_be_queued => {
            let is_reader = |tid: &&Tid| wait_of(tid).is_some_and(|wait| !wait.is_writing);
            let readers: Vec<Tid> = queue.iter().filter(is_reader).copied().collect();
            let all = Candidates::of(queue.iter().copied(), Proof::Inferred).holders;
            Candidates { is_another: true, otherwise: all, ..Candidates::of(readers, Proof::Inferred) }
        }
        (Some(other), None, _) => {
            // One that has nothing to do hardly keeps a lock: who had it may have ended, or
            // forgotten it.
            let is_idle = wait_of(&other).is_some_and(|wait| wait.resource.kind.is_idle());
            Candidates::of([other], if is_idle { Proof::Guessed } else { Proof::Inferred })
        }
        _ => Candidates::default(),
    }
}
