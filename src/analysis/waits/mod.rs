//! What each thread of a snapshot waits for, and who could end the wait.
//!
//! Reads a thread's system call, the functions on its stack and the words that were copied with it.
//! The function decides what a word means: the same 2 is a locked mutex in one and an unrelated
//! count in another (`functions` is the table; each family of locks is a file). Promises: an owner
//! is *proved* only where the kernel or a field of the lock itself names it, and that thread can be
//! it: it exists, and had begun before the wait. Whatever is not understood is a wait for something
//! unknown, never a guess that looks like knowledge. Does not judge: that is `verdict`'s.

mod calls;
mod database;
mod functions;
mod futex;
mod glibc;
mod index;
mod kernel;
mod midst;
mod musl;
mod owners;
mod reading;
mod rust;

use std::fmt;

pub use calls::{Call, Calls};
pub use database::resource as lock_of_database;
pub use kernel::time_asked;
pub use owners::{Holder, Who};

use crate::model::{RuntimeAddress, Snapshot, SystemCall, Thread, ThreadState, WaitFacts};
use futex::Futex;
use index::Index;

/// How surely something is known. The surest is the least.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Proof {
    /// The kernel says so, or a field of the lock that only its owner writes.
    Proved,
    /// References on stacks, or that no other thread is left.
    Inferred,
    /// It looks like it.
    Guessed,
}

impl Proof {
    /// What it calls itself, or what the process does.
    pub fn name(self) -> &'static str {
        match self {
            Self::Proved => "proved",
            Self::Inferred => "inferred",
            Self::Guessed => "guessed",
        }
    }
}

/// What kind of thing is waited for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Kind {
    Mutex,
    Rwlock,
    /// A lock of a stdio stream.
    StdioLock,
    /// A lock inside the C library, such as malloc's.
    InternalLock,
    Condvar,
    Semaphore,
    Barrier,
    /// Initialization that another thread does.
    Once,
    /// The end of a thread.
    Thread,
    Channel,
    Future,
    /// A thread that parks itself until another unparks it.
    Parker,
    /// Python's global interpreter lock.
    Gil,
    /// A word without anything more known.
    Futex,
    FileLock,
    /// A lock of PostgreSQL's, in the memory that its backends share.
    DatabaseLock,
    Pipe,
    Socket,
    Child,
    /// A file or device that answers when it likes.
    File,
    Disk,
    Fuse,
    /// Any of several descriptors.
    Descriptors,
    Connections,
    Time,
    Signal,
    /// It may not run: stopped by job control, by a tracer, or frozen.
    Stop,
    Tracer,
    Freezer,
    /// Another call.
    Call,
}

impl Kind {
    /// A noun for a reader.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mutex => "mutex",
            Self::Rwlock => "rwlock",
            Self::StdioLock => "stdio lock",
            Self::InternalLock => "lock of the C library",
            Self::Condvar => "condvar",
            Self::Semaphore => "semaphore",
            Self::Barrier => "barrier",
            Self::Once => "once",
            Self::Thread => "thread",
            Self::Channel => "channel",
            Self::Future => "future",
            Self::Parker => "parker",
            Self::Gil => "GIL",
            Self::Futex => "futex",
            Self::FileLock => "file lock",
            Self::DatabaseLock => "lock of PostgreSQL",
            Self::Pipe => "pipe",
            Self::Socket => "socket",
            Self::Child => "child",
            Self::File => "file",
            Self::Disk => "disk",
            Self::Fuse => "FUSE file system",
            Self::Descriptors => "descriptors",
            Self::Connections => "connections",
            Self::Time => "time",
            Self::Signal => "signal",
            Self::Stop => "SIGCONT",
            Self::Tracer => "tracer",
            Self::Freezer => "freezer",
            Self::Call => "system call",
        }
    }

    /// The noun as one of several, or as what there is only one of.
    pub fn with_article(self) -> String {
        let noun = self.name();
        match self {
            Self::Descriptors => "events".into(),
            Self::Connections | Self::Time | Self::Stop => noun.into(),
            Self::Gil | Self::Tracer | Self::Freezer | Self::Disk => format!("the {noun}"),
            Self::Thread => "the end of a thread".into(),
            _ => format!("a {noun}"),
        }
    }

    /// Whether it is a lock: one thread holds it, or several as readers, and has to let it go.
    pub fn is_lock(self) -> bool {
        matches!(
            self,
            Self::Mutex
                | Self::Rwlock
                | Self::StdioLock
                | Self::InternalLock
                | Self::Once
                | Self::Gil
                | Self::FileLock
                | Self::DatabaseLock
        )
    }

    /// Whether a thread that waits for it may just have nothing to do.
    pub fn is_idle(self) -> bool {
        matches!(
            self,
            Self::Condvar
                | Self::Connections
                | Self::Descriptors
                | Self::File
                | Self::Parker
                | Self::Pipe
                | Self::Semaphore
                | Self::Signal
                | Self::Socket
                | Self::Channel
                | Self::Futex
        )
    }

    /// Whether only a thread that has the same memory can end the wait.
    pub fn is_in_memory(self) -> bool {
        self.is_lock() && !matches!(self, Self::FileLock | Self::DatabaseLock)
            || matches!(
                self,
                Self::Condvar
                    | Self::Semaphore
                    | Self::Barrier
                    | Self::Thread
                    | Self::Channel
                    | Self::Future
                    | Self::Parker
                    | Self::Futex
            )
    }
}

/// A thing that is waited for. Two waits are for the same thing if these are equal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Resource {
    /// What kind of thing it is.
    pub kind: Kind,
    /// Where it lies in the process's memory, if it does.
    pub address: Option<RuntimeAddress>,
    /// What else names it: a path, the name of the other end, a thread.
    pub name: String,
}

impl Resource {
    fn at(kind: Kind, address: RuntimeAddress) -> Self {
        Self { kind, address: Some(address), name: String::new() }
    }

    /// What a thread is busy with that waits for nothing.
    pub(super) fn of_loop(place: &str) -> Self {
        Self::named(Kind::Call, format!("a loop in {place}"))
    }

    fn named(kind: Kind, name: impl Into<String>) -> Self {
        /// As long as a path can be; a file may bring more, and each of ten thousand threads has
        /// it.
        const LONGEST: usize = 4096;
        let mut name: String = name.into();
        name.truncate(name.floor_char_boundary(LONGEST));
        Self { kind, address: None, name }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let noun = self.kind.name();
        match (self.address, self.name.as_str()) {
            (Some(address), "") => write!(f, "{noun} {address}"),
            // A thread's word says nothing that its name does not.
            (Some(_), name) if self.kind == Kind::Thread => f.write_str(name),
            (Some(address), name) => write!(f, "{name} ({noun} {address})"),
            (None, "") => f.write_str(noun),
            (None, name) => f.write_str(name),
        }
    }
}

/// How the wait ends by itself, if it does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Limit {
    Never,
    /// After this time.
    Timed,
}

/// What one thread waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wait {
    /// What is waited for.
    pub resource: Resource,
    /// Those who hold it, or whose doing would end the wait. All of them have to, for a lock; any
    /// of them may, otherwise.
    pub holders: Vec<Holder>,
    /// Whether the lock has a field for its owner: then no thread is inferred to be it.
    pub has_owner_field: bool,
    /// Whether just one of them is the holder, not known which.
    pub is_one_of: bool,
    /// Whether the wait ends by itself.
    pub limit: Limit,
    /// Whether only threads of this process can end it, signals aside.
    pub is_private: bool,
    /// Whether the word does not have the value any more for which the thread went to sleep.
    pub is_word_other: bool,
    /// Whether it waits to write: data for which there is no room, or as a writer for a rwlock.
    pub is_writing: bool,
    /// What the thread is in the middle of, as a clause; then it is not idle, whatever it waits
    /// for.
    pub amid: Option<&'static str>,
}

impl Wait {
    fn for_what(resource: Resource) -> Self {
        Self {
            resource,
            holders: Vec::new(),
            has_owner_field: false,
            is_one_of: false,
            limit: Limit::Never,
            is_private: false,
            is_word_other: false,
            is_writing: false,
            amid: None,
        }
    }

    fn timed(self, is_timed: bool) -> Self {
        Self { limit: if is_timed { Limit::Timed } else { self.limit }, ..self }
    }
}

/// A snapshot with the names of its functions, as waits are read in it.
pub struct Scene<'a> {
    /// The snapshot.
    pub snapshot: &'a Snapshot,
    /// Of each thread, in the order of the snapshot.
    pub calls: &'a [Calls<'a>],
    index: Index<'a>,
}

impl<'a> Scene<'a> {
    /// Of a snapshot and the functions of each of its threads.
    pub fn new(snapshot: &'a Snapshot, calls: &'a [Calls<'a>]) -> Self {
        Self { snapshot, calls, index: Index::of(snapshot) }
    }

    /// What the waits are about.
    pub fn facts(&self) -> &'a WaitFacts {
        &self.snapshot.wait_facts
    }

    /// What each thread waits for; None for one that runs, or where that is not known.
    pub fn waits(&self) -> Vec<Option<Wait>> {
        let threads = self.snapshot.threads.iter().zip(self.calls);
        let mut waits: Vec<_> = threads.map(|(thread, calls)| self.wait(thread, calls)).collect();
        glibc::refused_by_the_kernel(self, &mut waits);
        waits
    }

    /// What a thread of another sample waited for in this one.
    pub fn wait_of(&self, thread: &Thread) -> Option<Wait> {
        let place = self.snapshot.threads.binary_search_by_key(&thread.tid, |other| other.tid).ok()?;
        let then = self.snapshot.threads.get(place).filter(|then| then.status.start == thread.status.start)?;
        self.wait(then, self.calls.get(place)?)
    }

    fn wait(&self, thread: &Thread, calls: &Calls<'a>) -> Option<Wait> {
        if let Some(wait) = kernel::not_allowed_to_run(self, thread) {
            return Some(wait);
        }
        if thread.status.state == ThreadState::Running || thread.status.worker.is_some() {
            return None;
        }
        let call: SystemCall = thread.system_call?;
        let wait = database::read(self, thread, calls).unwrap_or_else(|| match Futex::of(thread, call) {
            Some(futex) => functions::read(self, thread, calls, &futex),
            None => kernel::read(self, thread, calls, call),
        });
        let amid = match wait.resource.kind {
            Kind::DatabaseLock => Some("amid a statement"),
            _ => midst::of(calls, call.name()),
        };
        Some(Wait { amid, ..wait })
    }
}
