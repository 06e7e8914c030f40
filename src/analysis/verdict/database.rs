//! Backends of a database server that wait for each other, where only one was looked at.
//!
//! Promises: the cycle goes through processes that have what the next one waits for, as the
//! server's shared memory said at one moment, and the one that was looked at has not run since the
//! sample before. Those that only stand before others in a queue are in none: the server may let
//! them pass.

use std::collections::{HashMap, HashSet};

use super::{Fault, Level, Link, Party, Process, Verdict};
use crate::analysis::waits::{Kind, Proof, lock_of_database};
use crate::model::{DatabaseLock, Pid, Task};

/// Deadlocks of backends that are not accused of one yet.
pub(super) fn deadlocks(processes: &[Process<'_>], found: &[Verdict]) -> Vec<Verdict> {
    let mut verdicts: Vec<Verdict> = Vec::new();
    for process in processes {
        let pid = process.snapshot.process.id.pid;
        let is_known = |verdicts: &[Verdict]| {
            verdicts.iter().any(|verdict| verdict.fault == Fault::Deadlock && verdict.accuses(pid, pid.main_thread()))
        };
        if !is_known(found) && !is_known(&verdicts) {
            verdicts.extend(deadlock(process, pid));
        }
    }
    verdicts
}

fn deadlock(process: &Process<'_>, pid: Pid) -> Option<Verdict> {
    let main = process.snapshot.threads.binary_search_by_key(&pid.main_thread(), |thread| thread.tid).ok()?;
    let wait = process.waits.get(main)?.as_ref().filter(|wait| wait.resource.kind == Kind::DatabaseLock)?;
    let since_ns = process.rest.get(main)?.since_ns()?;
    let locks = &process.snapshot.wait_facts.database_locks;
    let locks: HashMap<Pid, &DatabaseLock> = locks.iter().map(|lock| (lock.waiter.pid, lock)).collect();
    let cycle = cycle(&locks, pid)?;
    let party = |task: &Task| Party { pid: Some(task.pid), tid: task.pid.main_thread(), name: task.name.clone() };
    let next = cycle.iter().cycle().skip(1);
    let chain: Vec<Link> = cycle
        .iter()
        .zip(next)
        .map(|(lock, next)| Link {
            waiter: party(&lock.waiter),
            resource: lock_of_database(lock),
            holder: Some(party(&next.waiter)),
            place: (lock.waiter.pid == pid).then(|| process.place(main)).flatten(),
            proof: Proof::Proved,
        })
        .collect();
    Some(Verdict {
        fault: if chain.len() == 1 { Fault::SelfDeadlock } else { Fault::Deadlock },
        level: Level::Stuck,
        proof: Proof::Proved,
        accused: chain.iter().map(|link| link.waiter.clone()).collect(),
        holder: chain.first().and_then(|link| link.holder.clone()),
        resource: Some(wait.resource.clone()),
        because: "each holds what the next one waits for".into(),
        queued: 0,
        since_ns: Some(since_ns),
        chain,
    })
}

/// The locks on a way from a process through those who hold them back to itself.
fn cycle<'l>(locks: &HashMap<Pid, &'l DatabaseLock>, from: Pid) -> Option<Vec<&'l DatabaseLock>> {
    let mut seen = HashSet::from([from]);
    let mut path: Vec<(&DatabaseLock, usize)> = vec![(locks.get(&from)?, 0)];
    while let Some((lock, next)) = path.pop() {
        let Some(holder) = lock.holders.get(next) else { continue };
        path.push((lock, next + 1));
        if holder.pid == from {
            return Some(path.into_iter().map(|(lock, _)| lock).collect());
        }
        if let Some(lock) = locks.get(&holder.pid).filter(|_| seen.insert(holder.pid)) {
            path.push((lock, 0));
        }
    }
    None
}
