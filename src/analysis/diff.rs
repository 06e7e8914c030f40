//! Two snapshots of one process, thread by thread.

use std::collections::{HashMap, VecDeque};

use super::history::{History, Streak};
use super::signature::{self, Signatures};
use crate::model::{Frame, Moment, Snapshot, StartTime, Thread, Tid};

/// What became of a thread from the earlier snapshot to the later.
#[derive(Clone, Copy, PartialEq, Debug)]
#[expect(missing_docs, reason = "what is in each is said above it")]
pub enum Change<'a> {
    /// It is in the earlier one only.
    Gone(&'a Thread),
    /// It is in the later one only.
    New(&'a Thread),
    /// Its stack is the same, and has been for as long as the streak says.
    Same { thread: &'a Thread, streak: Streak, sameness: Sameness },
    /// Its stack is another. Callers are compared before callees: the frames named are the
    /// outermost ones that differ, None where one stack is the other's beginning.
    Moved { before: &'a Thread, after: &'a Thread, was: Option<&'a Frame>, is: Option<&'a Frame>, common: usize },
    /// One of the snapshots could not capture it, so nothing can be said.
    Unseen(&'a Thread),
}

/// What it means that a stack is the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "what is in each is said above it")]
pub enum Sameness {
    /// The thread has not run from the one snapshot to the other, nor since this one.
    NotRun(Moment),
    /// It was found in the same place: in between it may have been anywhere. How often it has run
    /// for as long as the streak lasts, if that is known.
    Found { ran: Option<u64> },
}

/// One thread's change.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct ThreadChange<'a> {
    /// Its id, as hangsnap counts.
    pub tid: Tid,
    /// What became of it.
    pub change: Change<'a>,
}

/// All changes between two snapshots, in the order of the threads' ids.
pub struct Comparison<'a> {
    /// The earlier one.
    pub before: &'a Snapshot,
    /// The later one.
    pub after: &'a Snapshot,
    /// In the order of the ids.
    pub changes: Vec<ThreadChange<'a>>,
}

/// Compares two snapshots. `history` holds every snapshot of the recording up to `after`.
pub fn compare<'a>(before: &'a Snapshot, after: &'a Snapshot, history: &History) -> Comparison<'a> {
    let mut signatures = Signatures::default();
    let modules = (signatures.modules(before), signatures.modules(after));
    let mut earlier = Earlier::of(before, before.process.id == after.process.id);
    let mut changes: Vec<ThreadChange<'a>> = Vec::new();
    for thread in &after.threads {
        let was = earlier.take(thread);
        let change = match was {
            None => Change::New(thread),
            Some(was) if !was.is_captured() || !thread.is_captured() => Change::Unseen(thread),
            Some(was) => match first_difference(&modules, was, thread) {
                None => {
                    let streak = history.streak(after, thread).unwrap_or_else(|| Streak::begin(after, thread));
                    Change::Same { thread, streak, sameness: sameness(before, after, streak) }
                }
                Some((was_frame, is_frame, common)) => {
                    Change::Moved { before: was, after: thread, was: was_frame, is: is_frame, common }
                }
            },
        };
        changes.push(ThreadChange { tid: thread.tid, change });
    }
    changes.extend(earlier.left().map(|thread| ThreadChange { tid: thread.tid, change: Change::Gone(thread) }));
    changes.sort_by_key(|change| (change.tid, matches!(change.change, Change::New(_))));
    Comparison { before, after, changes }
}

fn sameness(before: &Snapshot, after: &Snapshot, streak: Streak) -> Sameness {
    let (since, was) = (streak.not_run_since, before.moment());
    // Numbers are of one recording, and the two may be of two.
    let is_before = since.number <= was.number && since.realtime_ns <= was.realtime_ns;
    match before.process.id == after.process.id {
        true if is_before => Sameness::NotRun(since),
        true => Sameness::Found { ran: streak.ran },
        // How often one of them has run says nothing of the other.
        false => Sameness::Found { ran: None },
    }
}

/// The threads of the earlier snapshot, each until it is found in the later one: by its id and when
/// it began, or, in a snapshot of another process, by its name. Of several of one name the first is
/// found first.
struct Earlier<'a> {
    same_process: bool,
    threads: HashMap<(Tid, StartTime, &'a str), VecDeque<&'a Thread>>,
}

impl<'a> Earlier<'a> {
    fn of(snapshot: &'a Snapshot, same_process: bool) -> Self {
        let mut threads: HashMap<_, VecDeque<&'a Thread>> = HashMap::new();
        for thread in &snapshot.threads {
            threads.entry(key(thread, same_process)).or_default().push_back(thread);
        }
        Self { same_process, threads }
    }

    fn take(&mut self, thread: &'a Thread) -> Option<&'a Thread> {
        self.threads.get_mut(&key(thread, self.same_process))?.pop_front()
    }

    fn left(self) -> impl Iterator<Item = &'a Thread> {
        self.threads.into_values().flatten()
    }
}

fn key(thread: &Thread, same_process: bool) -> (Tid, StartTime, &str) {
    match same_process {
        true => (thread.tid, thread.status.start, ""),
        false => (Tid(0), StartTime(0), &thread.status.name),
    }
}

type Difference<'a> = (Option<&'a Frame>, Option<&'a Frame>, usize);

/// The outermost frames that differ and how many frames outside them agree; None when all agree.
fn first_difference<'a>(
    (before, after): &(Vec<u32>, Vec<u32>),
    was: &'a Thread,
    is: &'a Thread,
) -> Option<Difference<'a>> {
    let (old, new) = (&was.stack.frames, &is.stack.frames);
    let common = old
        .iter()
        .rev()
        .zip(new.iter().rev())
        .take_while(|(old, new)| signature::of_frame(before, old) == signature::of_frame(after, new))
        .count();
    if common == old.len() && common == new.len() {
        return None;
    }
    let outermost_different = |frames: &'a [Frame]| frames.len().checked_sub(common + 1).map(|at| &frames[at]);
    Some((outermost_different(old), outermost_different(new), common))
}
