//! What the waits of a process's threads are about, beyond the threads themselves: the descriptors
//! that they wait for and who is at the other ends, file locks, children, threads of other
//! processes that own locks, and when each thread ran last.
//!
//! Promises: facts only, read after the threads were captured and while none was held. What could
//! not be read is absent, and `unread` says why; nothing may be concluded from its absence.

use super::{Pid, RuntimeAddress, StartTime, ThreadState, Tid};

/// The facts of one snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WaitFacts {
    /// When threads that sleep ran last, in the order of their ids: of those only that had not run
    /// for a while when the snapshot began.
    pub last_ran: Vec<LastRan>,
    /// Descriptors of calls that threads are blocked in, and members of epoll sets that they wait
    /// for, in the order of their numbers.
    pub descriptors: Vec<Descriptor>,
    /// Who holds the file locks that threads wait for, and who waits for them.
    pub file_locks: Vec<FileLock>,
    /// Children of the process, if a thread waits for any.
    pub children: Vec<Task>,
    /// Threads outside of the process whose ids lie where locks keep their owners'. One that does
    /// not exist is listed without a process.
    pub owners: Vec<Owner>,
    /// Words on stacks that are the address of a lock for which another thread waits.
    pub references: Vec<Reference>,
    /// Thread pointers that lie in locks, each with the id of its thread as the process sees it.
    pub thread_pointers: Vec<(RuntimeAddress, i32)>,
    /// The ids that the threads have in the process's own PID namespace, where these are others.
    pub inner_tids: Vec<(i32, Tid)>,
    /// The process that traces it.
    pub tracer: Option<Task>,
    /// The parent process.
    pub parent: Option<Task>,
    /// The control group that is frozen, if one of the process is.
    pub frozen: Option<String>,
    /// FUSE file systems whose servers have requests to answer.
    pub fuse: Vec<FuseMount>,
    /// Locks of a database server: first the one that this process waits for, then those that
    /// their holders wait for.
    pub database_locks: Vec<DatabaseLock>,
    /// What could not be read, and why.
    pub unread: Vec<Unread>,
}

/// When a thread was given a CPU for the last time: `se.exec_start` of /proc/PID/task/TID/sched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LastRan {
    /// The thread's id.
    pub tid: Tid,
    /// Nanoseconds of CLOCK_MONOTONIC, within some milliseconds.
    pub monotonic_ns: u64,
}

/// A process, or a thread of one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Task {
    /// The process's id.
    pub pid: Pid,
    /// `comm`, bytes that are not UTF-8 replaced.
    pub name: String,
    /// The scheduler's state of it.
    pub state: ThreadState,
    /// When it began.
    pub start: StartTime,
}

/// What is known of an id that lies where a lock keeps its owner's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Owner {
    /// As it lies in the lock: as the process's own PID namespace counts.
    pub inner: i32,
    /// None when there is no such thread.
    pub task: Option<(Tid, Task)>,
}

/// An open file of the process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Descriptor {
    /// Its number in the process.
    pub number: i32,
    /// What it is, as the link below /proc/PID/fd says.
    pub target: String,
    /// What more is known of it.
    pub detail: Detail,
}

/// What more is known of a descriptor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Detail {
    /// Nothing more.
    Nothing,
    /// One end of a pipe or FIFO, with those that have the other.
    Pipe {
        /// Whether the process has the end for writing.
        is_writer: bool,
        /// Processes that have the other end.
        others: Vec<Task>,
    },
    /// A socket.
    Socket(Socket),
    /// An eventfd's count.
    Event(u64),
    /// Time until a timerfd expires, in nanoseconds; 0 when it is not armed.
    Timer(u64),
    /// The numbers of the descriptors in an epoll set.
    Epoll(Vec<i32>),
    /// The process of a pidfd.
    Process(Pid),
}

/// A socket, with what the kernel says of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Socket {
    /// `tcp`, `udp`, `unix`, or the number of another family.
    pub protocol: String,
    /// Addresses as text, `127.0.0.1:80` or a path; empty where there is none.
    pub local: String,
    /// The address of the other end.
    pub peer: String,
    /// As the kernel numbers the states of TCP; 10 is one that listens. 0 when not known.
    pub state: u8,
    /// Bytes that were received and not read yet.
    pub receive_queue: u32,
    /// Bytes that were sent and not acknowledged yet.
    pub send_queue: u32,
    /// The processes that have the socket at the other end, as far as they are on this host.
    pub others: Vec<Task>,
}

/// A file lock that a thread of the process waits for: a line of /proc/locks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileLock {
    /// `FLOCK`, `POSIX` or `OFDLCK`.
    pub kind: String,
    /// Whether it is an exclusive lock.
    pub is_write: bool,
    /// None where the kernel does not say who holds it, as of locks of open file descriptions.
    pub holder: Option<Task>,
    /// Processes that wait for it.
    pub waiters: Vec<Pid>,
    /// Device and inode, as /proc/locks writes them.
    pub file: String,
    /// The path of the file, if the process has it open.
    pub path: Option<String>,
}

/// A word on the stack of a thread that is the address of a lock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Reference {
    /// The thread whose stack it is.
    pub tid: Tid,
    /// Where the word lies.
    pub at: RuntimeAddress,
    /// The address that the word holds.
    pub lock: RuntimeAddress,
}

/// A FUSE file system with requests that its server has not answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FuseMount {
    /// Where it is mounted.
    pub path: String,
    /// How many requests wait for an answer.
    pub waiting: u64,
    /// The processes that have its device open; not known which of several connections they serve.
    pub servers: Vec<Task>,
}

/// A lock in the shared memory of a database server, for which a process waits: of PostgreSQL. All
/// of it was so at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DatabaseLock {
    /// The process that waits.
    pub waiter: Task,
    /// Where it lies in the memory of the process: at the same address in each of the server's.
    pub address: RuntimeAddress,
    /// What it is a lock of: `transaction 745`, `relation 16388 of database 5`.
    pub of: String,
    /// The mode that is asked for: `ShareLock`.
    pub mode: String,
    /// Processes that have it in a mode that conflicts.
    pub holders: Vec<Task>,
    /// Processes that wait for it before this one, in a mode that conflicts.
    pub ahead: Vec<Task>,
}

/// A source of facts that could not be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unread {
    /// What it is a source of, in words.
    pub what: String,
    /// Why, and what would help.
    pub why: String,
}

impl WaitFacts {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// When the thread ran last, if that was a while before the snapshot.
    pub fn last_ran(&self, tid: Tid) -> Option<u64> {
        let found = self.last_ran.binary_search_by_key(&tid, |ran| ran.tid).ok()?;
        self.last_ran.get(found).map(|ran| ran.monotonic_ns)
    }

    /// The descriptor of this number, if it is among the facts.
    pub fn descriptor(&self, number: i32) -> Option<&Descriptor> {
        let found = self.descriptors.binary_search_by_key(&number, |descriptor| descriptor.number).ok()?;
        self.descriptors.get(found)
    }

    /// Takes out what others than the kernel have named: paths and addresses stay, the names of
    /// other processes go.
    pub fn redact(&mut self) {
        let tasks = self
            .children
            .iter_mut()
            .chain(&mut self.tracer)
            .chain(&mut self.parent)
            .chain(self.owners.iter_mut().filter_map(|owner| owner.task.as_mut().map(|(_, task)| task)))
            .chain(self.file_locks.iter_mut().filter_map(|lock| lock.holder.as_mut()))
            .chain(self.fuse.iter_mut().flat_map(|mount| &mut mount.servers))
            .chain(
                self.database_locks
                    .iter_mut()
                    .flat_map(|lock| std::iter::once(&mut lock.waiter).chain(&mut lock.holders).chain(&mut lock.ahead)),
            )
            .chain(self.descriptors.iter_mut().flat_map(|descriptor| match &mut descriptor.detail {
                Detail::Pipe { others, .. } | Detail::Socket(Socket { others, .. }) => others.as_mut_slice(),
                _ => &mut [],
            }));
        tasks.for_each(|task| task.name.clear());
        for descriptor in &mut self.descriptors {
            if let Detail::Socket(socket) = &mut descriptor.detail {
                socket.local.clear();
                socket.peer.clear();
            }
        }
    }
}
