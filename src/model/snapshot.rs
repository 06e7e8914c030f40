//! A process at one moment, and the recording such moments belong to.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::pattern::is_like;
use super::{
    Acquired, Frame, GeneratedCode, MemoryPiece, Module, Moment, NamedCode, Notice, Place, ProcessId, Thread, Tid,
    WaitFacts, is_called,
};

/// Which threads may be held, and which at the same time. The least intrusive comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum StopMode {
    /// None: threads that wait are read in place, those that run are not seen.
    None,
    /// One at a time, and only where that does not disturb the thread: one that a stop would wake
    /// from its system call is read in place. Stacks are each right, but of slightly different
    /// moments.
    OneAtATime,
    /// Every thread at once: one moment for all.
    All,
}

/// A moment on both clocks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Timestamp {
    /// Nanoseconds since 1970-01-01 UTC; steps when the clock is set.
    pub realtime_ns: i64,
    /// Nanoseconds of CLOCK_MONOTONIC; comparable within one boot.
    pub monotonic_ns: u64,
}

impl Timestamp {
    /// How long after `earlier` this was, by CLOCK_MONOTONIC. Zero if it was not after.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.monotonic_ns.saturating_sub(earlier.monotonic_ns))
    }
}

/// What is reported of the whole process.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Process {
    /// Its id and when it began.
    pub id: ProcessId,
    /// Its pid in its own PID namespace; the same as `id.pid` outside containers.
    pub inner_pid: i32,
    /// `comm` of the main thread.
    pub name: String,
    /// The path of its program, in its own mount namespace.
    pub executable: String,
    /// The arguments it was started with.
    pub command: Vec<String>,
}

/// Every thread of one process at one moment, with what could not be seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// Counts from 1 within a recording; a gap is a sample that was skipped.
    pub number: u64,
    /// When the snapshot began.
    pub taken: Timestamp,
    /// The process as a whole.
    pub process: Process,
    /// How it was taken; less intrusive than asked for where a bound was reached.
    pub stop: StopMode,
    /// From before the first thread was asked to stop until after the last was let go. Zero when
    /// none was.
    pub window: Duration,
    /// How long taking the snapshot took in all, what was read of /proc included.
    pub took: Duration,
    /// What the process had loaded.
    pub modules: Vec<Module>,
    /// In the order of their ids.
    pub threads: Vec<Thread>,
    /// What was copied of the process's memory for no thread in particular.
    pub memory: Vec<MemoryPiece>,
    /// What the process said of code in no file, at each address that a frame is looked up by, in
    /// the order of addresses. Only the process knows them, and only while it runs.
    pub generated: Vec<GeneratedCode>,
    /// What files say that their paths do not lead to, at each address that a frame in them is
    /// looked up by, as far as they could be read. In the order of modules and addresses.
    pub named: Vec<NamedCode>,
    /// What the threads' waits are about.
    pub wait_facts: Arc<WaitFacts>,
    /// What could not be seen, or was seen in another way, and why.
    pub notices: Vec<Notice>,
}

impl Snapshot {
    /// The longest time for which any one thread was held. Zero when none was.
    pub fn longest_hold(&self) -> Duration {
        self.threads.iter().filter_map(|thread| thread.acquired.time()).max().unwrap_or_default()
    }

    /// Of the notices, those of something that is missing.
    pub fn losses(&self) -> impl Iterator<Item = &Notice> {
        self.notices.iter().filter(|notice| notice.is_loss())
    }

    /// Takes out what may be confidential: all copied memory, the words of
    /// its command line, and the registers that copies of memory go through (x87 and SSE). General
    /// registers, addresses and names of programs, threads and files stay.
    pub fn redact(&mut self) {
        self.process.command.clear();
        self.memory.clear();
        Arc::make_mut(&mut self.wait_facts).redact();
        for thread in &mut self.threads {
            thread.memory.clear();
            thread.registers.floating = None;
        }
    }

    /// The snapshot as another one of the same recording refers to it.
    pub fn moment(&self) -> Moment {
        Moment { number: self.number, realtime_ns: self.taken.realtime_ns }
    }

    /// Adds to its number, and to those of the snapshots that it refers to.
    pub fn count_on(&mut self, more: u64) {
        self.number = self.number.saturating_add(more);
        for thread in &mut self.threads {
            if let Acquired::UnchangedSince(since) = &mut thread.acquired {
                since.number = since.number.saturating_add(more);
            }
        }
    }

    /// The module a frame lies in.
    pub fn module_of(&self, frame: &Frame) -> Option<&Module> {
        match frame.place() {
            Place::InModule { module, .. } => self.modules.get(module.0 as usize),
            Place::Outside(_) => None,
        }
    }

    /// The generated code that a frame lies in.
    pub fn generated_code(&self, frame: &Frame) -> Option<&GeneratedCode> {
        let number = self.generated.binary_search_by_key(&frame.outside()?, |code| code.address).ok()?;
        self.generated.get(number)
    }

    /// What was kept of the file that a frame lies in.
    pub fn named_code(&self, frame: &Frame) -> Option<&NamedCode> {
        if self.named.is_empty() {
            return None;
        }
        let place = frame.inside()?;
        let number = self.named.binary_search_by_key(&place, |code| (code.module, code.address)).ok()?;
        self.named.get(number)
    }

    /// The threads of this id, or of this name or one that is like it.
    pub fn threads_called<'a>(&'a self, wanted: &'a str) -> impl Iterator<Item = &'a Thread> {
        let tid = wanted.parse().ok().map(Tid);
        let is_wanted = move |name: &str| is_called(name, wanted) || is_like(name, wanted);
        self.threads.iter().filter(move |thread| Some(thread.tid) == tid || is_wanted(&thread.status.name))
    }
}

/// What all snapshots of one recording share. Empty where that is damaged.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Recording {
    /// The version of hangsnap that wrote it.
    pub version: String,
    /// The name of the machine.
    pub host: String,
    /// The kernel's release, as `uname -r` prints it.
    pub kernel: String,
    /// /proc/sys/kernel/random/boot_id: monotonic times compare only within one boot.
    pub boot_id: String,
    /// `x86_64`.
    pub machine: String,
    /// The time between samples; None for a single snapshot.
    pub interval: Option<Duration>,
}
