//! From an id that lies in a lock to the thread that owns it, and to threads whose stacks refer to
//! a lock.
//!
//! Promises: an id is looked up as the process's own PID namespace counts. A thread that began
//! after the wait did cannot be the owner: its id was given out again, and the owner is gone.

use super::index::TICK_NS;
use super::{Proof, Resource, Scene};
use crate::model::{Owner, Pid, StartTime, Task, Thread, ThreadState, Tid};

/// Someone who holds what is waited for, or could end the wait.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    /// Who it is.
    pub who: Who,
    /// How surely that is known.
    pub proof: Proof,
}

/// Who it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[expect(missing_docs, reason = "ids and names of threads")]
pub enum Who {
    /// A thread of the same process.
    Thread(Tid),
    /// A thread of another process, or a process if it is the main thread's.
    Elsewhere { pid: Pid, tid: Tid, name: String },
    /// A thread that is not there any more, by the id that lies in the lock.
    Gone(i32),
    /// A thread that was not copied when this process was forked: it lives in the parent.
    InParent { pid: Pid, tid: Tid, name: String },
}

/// pid_max can be no more than this (proc_sys_kernel(5)): a larger number is the id of no thread.
const LARGEST_TID: i32 = 1 << 22;

/// The id that a word is, if it can be one.
pub(super) fn id(word: u32) -> Option<i32> {
    i32::try_from(word).ok().filter(|id| (1..=LARGEST_TID).contains(id))
}

impl Scene<'_> {
    /// The thread of the process that has this id in its own PID namespace.
    pub(super) fn thread_of_inner(&self, inner: i32) -> Option<&Thread> {
        let pairs = &self.facts().inner_tids;
        let is_inside = self.snapshot.process.inner_pid != self.snapshot.process.id.pid.0;
        let tid = match self.index.inner_tid(inner) {
            Some(tid) => tid,
            // Ids of another namespace mean nothing here.
            None if is_inside || !pairs.is_empty() => return None,
            None => Tid(inner),
        };
        let place = self.snapshot.threads.binary_search_by_key(&tid, |thread| thread.tid).ok()?;
        self.snapshot.threads.get(place)
    }

    /// Who the thread of this id is, which a lock names as its owner and `waiter` waits for.
    pub(super) fn owner(&self, inner: i32, waiter: &Thread, is_private: bool) -> Who {
        if let Some(thread) = self.thread_of_inner(inner) {
            let has_exited = matches!(thread.status.state, ThreadState::Zombie | ThreadState::Dead);
            return match !has_exited && self.began_before_the_wait(thread.status.start, waiter) {
                true => Who::Thread(thread.tid),
                false => Who::Gone(inner),
            };
        }
        let facts = self.facts();
        let parent = facts.parent.as_ref().map(|parent| parent.pid);
        match self.index.owner(inner) {
            Some(Owner { task: Some((tid, Task { pid, name, start, .. })), .. })
                if self.began_before_the_wait(*start, waiter) =>
            {
                let (pid, tid, name) = (*pid, *tid, name.clone());
                match is_private {
                    // It began after the threads were listed.
                    _ if pid == self.snapshot.process.id.pid => Who::Thread(tid),
                    // No other process can have a lock in this memory: it was locked when it was
                    // copied.
                    true if Some(pid) == parent => Who::InParent { pid, tid, name },
                    true => Who::Gone(inner),
                    false => Who::Elsewhere { pid, tid, name },
                }
            }
            _ => Who::Gone(inner),
        }
    }

    /// Whether a thread that began then was there when the other went to sleep. Where it is not
    /// known since when that one sleeps, it was.
    fn began_before_the_wait(&self, began: StartTime, waiter: &Thread) -> bool {
        let Some(slept_since) = self.facts().last_ran(waiter.tid) else { return true };
        // Start times count from boot, with the time that the host was suspended; where it was,
        // both clocks differ, and a thread seems to have begun later than it did.
        let began_ns = began.0.saturating_mul(TICK_NS);
        self.index.was_suspended || began_ns <= slept_since.saturating_add(5 * TICK_NS)
    }

    /// The threads whose stacks refer to a lock, in order.
    pub fn referrers(&self, resource: &Resource) -> &[Tid] {
        resource.address.map_or(&[], |address| self.index.referrers(address))
    }
}

impl Holder {
    pub(super) fn proved(who: Who) -> Self {
        Self { who, proof: Proof::Proved }
    }
}
