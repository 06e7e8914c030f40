//! What happens to a target between samples: it executes another program, starts processes, ends.

use super::Sample;
use crate::model::{Pid, ThreadState};
use crate::proc::{self, Lineage, ProcDir};
use crate::process::Target;

/// Something worth saying of a target.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the comment on each says what its fields are")]
pub enum Event {
    /// It runs another program now, and is still the same process.
    Executed { executable: String, name: String },
    /// It has started these processes, which are not sampled.
    Forked(Vec<(Pid, String)>),
    /// It has ended; these processes that have come from it go on.
    Ended { successors: Vec<(Pid, String)> },
    /// It is still there and can no longer be looked at.
    Lost { why: String },
}

/// After this many samples all threads are asked again what they have started.
const ALL_AGAIN: u32 = 16;

/// What was known of a target when it was looked at last.
pub(super) struct TargetWatch {
    images: u64,
    children: Vec<Pid>,
    lineage: Option<Lineage>,
    /// Samples that it was looked at in.
    looks: u32,
}

impl TargetWatch {
    pub(super) fn new(target: &Target, first: &Sample) -> Self {
        let children = target.directory.children().unwrap_or_default();
        Self { images: first.images, children, lineage: Lineage::of(&target.directory).ok(), looks: 0 }
    }

    /// What has happened since, by what a new sample says of the process. A thread that has not run
    /// has started nothing; but one that was not seen may have, and has left it to another.
    pub(super) fn look(&mut self, target: &Target, sample: &Sample) -> Vec<Event> {
        let process = &sample.captured.process;
        let mut events = Vec::new();
        if std::mem::replace(&mut self.images, sample.images) != sample.images {
            self.lineage = Lineage::of(&target.directory).ok().or_else(|| self.lineage.take());
            events.push(Event::Executed { executable: process.executable.clone(), name: process.name.clone() });
        }
        self.looks = self.looks.wrapping_add(1);
        let have_run = sample.captured.threads.iter().map(|thread| thread.tid);
        let children: Vec<Pid> = match self.looks % ALL_AGAIN {
            0 => target.directory.children().unwrap_or_default(),
            _ => have_run.filter_map(|tid| target.directory.children_of(tid).ok()).flatten().collect(),
        };
        let new: Vec<Pid> = children.iter().copied().filter(|pid| !self.children.contains(pid)).collect();
        if !new.is_empty() {
            events.push(Event::Forked(named(new)));
        }
        // A process that is ending has given its children away already; they are still the ones it
        // started, as are those of threads that rest.
        self.children.retain(|pid| !children.contains(pid) && is_running(*pid));
        self.children.extend(children);
        events
    }

    /// The target has ended. A program that makes itself a daemon ends and leaves another process
    /// that does the work.
    pub(super) fn ended(&self) -> Event {
        let mut successors = self.lineage.as_ref().map(Lineage::successors).unwrap_or_default();
        let others = self.children.iter().copied().filter(|pid| is_running(*pid) && !successors.contains(pid));
        let others: Vec<Pid> = others.collect();
        successors.extend(others);
        Event::Ended { successors: named(successors) }
    }
}

fn is_running(pid: Pid) -> bool {
    let state = ProcDir::open(pid).and_then(|directory| directory.state());
    state.is_ok_and(|state| !matches!(state, ThreadState::Zombie | ThreadState::Dead))
}

fn named(pids: Vec<Pid>) -> Vec<(Pid, String)> {
    pids.into_iter().map(|pid| (pid, proc::thread_name(pid.main_thread()))).collect()
}
