//! What the last snapshot of each process said, for the threads that have not run since.
//!
//! Promises: such a thread has the frames that it had, in the modules in which they lay, and says
//! since which snapshot it has not run. Its stack is not walked again.

use std::collections::HashMap;
use std::sync::Arc;

use crate::capture::UnchangedThread;
use crate::model::{
    Acquired, Frame, MemoryPiece, Module, ModuleIndex, Moment, Notice, Place, ProcessId, Reason, Snapshot, Subject,
    Thread, ThreadStatus, WaitFacts,
};

/// The last snapshots, by process.
#[derive(Default)]
pub(super) struct LastSnapshots(HashMap<ProcessId, Last>);

/// What later snapshots refer to of one.
#[derive(Default)]
pub(super) struct Last {
    /// None if there was no snapshot of the process yet.
    moment: Option<Moment>,
    modules: Vec<Module>,
    /// In the order of their ids.
    threads: Vec<Thread>,
    pub(super) wait_facts: Arc<WaitFacts>,
}

impl LastSnapshots {
    /// Keeps what the next snapshot of the process may refer to.
    pub(super) fn keep(&mut self, snapshot: Snapshot) {
        let moment = snapshot.moment();
        let Snapshot { process, modules, threads, wait_facts, .. } = snapshot;
        self.0.insert(process.id, Last { moment: Some(moment), modules, threads, wait_facts });
    }

    pub(super) fn forget(&mut self, process: ProcessId) {
        self.0.remove(&process);
    }

    pub(super) fn take(&mut self, process: ProcessId) -> Last {
        self.0.remove(&process).unwrap_or_default()
    }
}

impl Last {
    /// These threads as they are in a snapshot with these modules, to which those are added that it
    /// has no more and a frame lies in.
    pub(super) fn threads(
        self,
        unchanged: Vec<UnchangedThread>,
        modules: &mut Vec<Module>,
        notices: &mut Vec<Notice>,
    ) -> Vec<Thread> {
        let same_modules = self.modules == *modules;
        let mut before = self.threads.into_iter().peekable();
        let mut threads = Vec::with_capacity(unchanged.len());
        for UnchangedThread { tid, status, memory } in unchanged {
            while before.next_if(|thread| thread.tid < tid).is_some() {}
            let Some((thread, moment)) = before.next_if(|thread| thread.tid == tid).zip(self.moment) else {
                // The sampler asks only for what differs from those that were handed on.
                notices.push(Notice { subject: Subject::Thread(tid), reason: Reason::TracerDied });
                continue;
            };
            threads.push(as_it_rests(thread, moment, status, memory));
        }
        if !same_modules {
            let mut moved = Moved { from: &self.modules, to: modules, numbers: HashMap::new() };
            for thread in &mut threads {
                for frame in &mut Arc::make_mut(&mut thread.stack).frames {
                    *frame = Frame::new(frame.code().map(|place| moved.place(place)), frame.found());
                }
            }
        }
        threads
    }
}

/// A thread that has not run since `moment`, when it was as it is here, or since that said so
/// already.
fn as_it_rests(before: Thread, moment: Moment, status: Option<ThreadStatus>, memory: Vec<MemoryPiece>) -> Thread {
    let since = before.acquired.unchanged_since().unwrap_or(moment);
    let mut thread = Thread { acquired: Acquired::UnchangedSince(since), memory, ..before };
    if let Some(status) = status {
        thread.status = status;
    }
    thread
}

/// Whether a module is one from before. Its path changes when its file is deleted, moved or
/// unmounted.
fn is_still(now: &Module, before: &Module) -> bool {
    let place = |module: &Module| (module.bias, module.range.clone());
    now == before || (now.build_id.is_some() && now.build_id == before.build_id && place(now) == place(before))
}

/// Modules of one snapshot in another.
struct Moved<'a> {
    from: &'a [Module],
    to: &'a mut Vec<Module>,
    /// Those that were looked for already.
    numbers: HashMap<ModuleIndex, ModuleIndex>,
}

impl Moved<'_> {
    fn place(&mut self, place: Place) -> Place {
        let Place::InModule { module, address } = place else {
            return place;
        };
        let Self { from, to, numbers } = self;
        let module = *numbers.entry(module).or_insert_with(|| {
            let Some(wanted) = from.get(module.0 as usize) else {
                return module;
            };
            let found = to.iter().position(|other| is_still(other, wanted)).unwrap_or_else(|| {
                to.push(wanted.clone());
                to.len() - 1
            });
            ModuleIndex(u32::try_from(found).unwrap_or(u32::MAX))
        });
        Place::InModule { module, address }
    }
}
