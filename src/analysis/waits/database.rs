//! Waits for locks of a database server, as its shared memory says: of PostgreSQL.
//!
//! Promises: only where the thread is in the function in which PostgreSQL waits for such a lock,
//! for a backend may have been given it since it was read. Those who have it are proved; those who
//! only stand before it in the queue are inferred, for the server may change their order.

use super::{Calls, Holder, Kind, Proof, Resource, Scene, Wait, Who};
use crate::model::{DatabaseLock, Task, Thread};

/// The wait of a thread that sleeps for a lock of the server.
pub(super) fn read(scene: &Scene<'_>, thread: &Thread, calls: &Calls<'_>) -> Option<Wait> {
    let process = scene.snapshot.process.id.pid;
    let lock = scene.facts().database_locks.iter().find(|lock| lock.waiter.pid == process)?;
    (thread.tid == process.main_thread() && calls.has("ProcSleep")).then(|| Wait {
        holders: holders(lock),
        has_owner_field: true,
        ..Wait::for_what(resource(lock))
    })
}

/// What a lock of the server is called.
pub fn resource(lock: &DatabaseLock) -> Resource {
    Resource {
        address: Some(lock.address),
        ..Resource::named(Kind::DatabaseLock, format!("{} of {}", lock.mode, lock.of))
    }
}

fn holders(lock: &DatabaseLock) -> Vec<Holder> {
    let holder = |task: &Task, proof| Holder {
        who: Who::Elsewhere { pid: task.pid, tid: task.pid.main_thread(), name: task.name.clone() },
        proof,
    };
    let having = lock.holders.iter().map(|task| holder(task, Proof::Proved));
    having.chain(lock.ahead.iter().map(|task| holder(task, Proof::Inferred))).collect()
}
