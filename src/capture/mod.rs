//! One snapshot of a live process: which threads there are, hold them, copy, let them go.
//!
//! Promises: between freeze and release there are only calls of `sys` on buffers that were touched beforehand; a thread
//! that is held is let go by a Drop guard whatever happens; a thread that does not stop is not waited for beyond a
//! deadline and is let go by ending the thread that traces it. The target is never written to and never sent a signal.
//! It does not unwind, parse ELF or know what a module is: what it hands on is registers and bytes.
//!
//! The threads of a process are listed again until no new one shows up, because a thread may be born while others are
//! being looked at.

mod alone;
mod arena;
mod copy;
mod extent;
mod hold;
mod loss;
mod supervise;
mod together;
mod untouched;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::{Hold, Notice, Reason, StopMode, Subject, ThreadState, Tid, Timestamp};
use crate::proc::{self, BlockedCall, MemoryMap, ProcDir, ThreadStatus};
use crate::sys::clock::{self, Instant};
use crate::sys::memory::ProcessMemory;
use crate::sys::ptrace::RawRegisters;

pub use arena::Arena;

/// How often the threads are listed again. A process that still makes new ones then gets a notice.
const MAX_SCANS: usize = 8;

/// What was copied of a thread's stack.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StackBytes {
    pub start: u64,
    pub bytes: Box<[u8]>,
    /// How many bytes of the stack in use were left out, because they are more than is copied of one.
    pub left_out: u64,
    /// Where the thread's own stack begins to be known and what is known of it, if the above is another one.
    pub own: Option<(u64, Box<[u8]>)>,
}

/// What is known of a thread's registers.
#[derive(Clone)]
pub enum Context {
    /// All of them: the thread was held.
    Full(Box<RawRegisters>),
    /// Where it entered the kernel: it was not held.
    Blocked(BlockedCall),
    /// Nothing; a notice says why.
    Nothing,
}

/// One thread, as it was copied.
pub struct CapturedThread {
    pub tid: Tid,
    pub status: ThreadStatus,
    pub hold: Hold,
    pub context: Context,
    pub stack: StackBytes,
}

impl CapturedThread {
    /// Whether anything but its entry in /proc could be had.
    pub fn is_captured(&self) -> bool {
        !matches!(self.context, Context::Nothing)
    }
}

/// Everything that was copied of a process at one moment.
pub struct Captured {
    pub taken: Timestamp,
    pub window: Duration,
    pub stop: StopMode,
    pub map: MemoryMap,
    /// In the order of their ids.
    pub threads: Vec<CapturedThread>,
    pub notices: Vec<Notice>,
}

/// A thread that is to be looked at, with what /proc said of it beforehand. It keeps nothing open: there may be more
/// threads than hangsnap may have descriptors.
struct Planned {
    tid: Tid,
    status: ThreadStatus,
}

impl Planned {
    fn owner(&self, process: &ProcDir) -> extent::Owner {
        match self.tid == process.pid().main_thread() {
            true => extent::Owner::MainThread,
            false => extent::Owner::OtherThread,
        }
    }
}

/// A snapshot in the making.
struct Draft<'a> {
    memory: &'a ProcessMemory,
    map: MemoryMap,
    threads: Vec<CapturedThread>,
    notices: Vec<Notice>,
}

impl Draft<'_> {
    fn notice(&mut self, tid: Tid, reason: Reason) {
        self.notices.push(Notice { subject: Subject::Thread(tid), reason });
    }

    /// Records why a thread could not be captured and, unless it is gone, what /proc said of it.
    fn lost(&mut self, planned: Planned, reason: Reason) {
        let Planned { tid, status } = planned;
        let gone = reason == Reason::ThreadGone;
        self.notice(tid, reason);
        if gone {
            return;
        }
        self.threads.push(CapturedThread {
            tid,
            status,
            hold: Hold::Untouched,
            context: Context::Nothing,
            stack: StackBytes::default(),
        });
    }
}

/// Takes one snapshot.
///
/// Errors only if the process cannot be looked at at all; whatever is lost of a process that can is a notice.
pub fn take(process: &ProcDir, stop: StopMode, arena: &mut Arena) -> Result<Captured, proc::Error> {
    let mut memory = ProcessMemory::open(process.memory_owner()?);
    let taken = clock::timestamp();
    let begun = Instant::now();
    // While one thread sleeps uninterruptibly it may hold the lock of the memory map, and the faster way of reading memory
    // would then hang beyond the reach of any signal.
    if process.any_thread_in(ThreadState::Uninterruptible)? {
        memory.prefer_killable();
    }
    let mut draft = Draft { memory: &memory, map: process.memory_map()?, threads: Vec::new(), notices: Vec::new() };
    let mut seen = BTreeSet::new();
    let mut window = Duration::ZERO;
    for scan in 0.. {
        let fresh: Vec<Tid> = match process.threads() {
            Ok(tids) => tids.into_iter().filter(|tid| seen.insert(*tid)).collect(),
            // It ended while it was being looked at; what was copied before is still true.
            Err(proc::Error::Gone) if scan > 0 => break,
            Err(error) => return Err(error),
        };
        if fresh.is_empty() {
            break;
        }
        if scan == MAX_SCANS {
            draft.notices.push(Notice { subject: Subject::Process, reason: Reason::ThreadsStillAppearing });
            break;
        }
        if scan > 0
            && let Ok(map) = process.memory_map()
        {
            // The stack of a thread that was born since lies in a mapping that was not there before.
            draft.map = map;
        }
        if scan > 0 && stop == StopMode::All {
            draft
                .notices
                .extend(fresh.iter().map(|tid| Notice { subject: Subject::Thread(*tid), reason: Reason::StoppedLate }));
        }
        match stop {
            StopMode::OneAtATime => alone::capture(process, fresh, &mut draft, arena),
            StopMode::All => together::capture(process, fresh, &mut draft, arena),
        }
        window = begun.elapsed();
    }
    let Draft { map, mut threads, notices, .. } = draft;
    threads.sort_unstable_by_key(|thread| thread.tid);
    Ok(Captured { taken, window, stop, map, threads, notices })
}

fn plan(process: &ProcDir, tid: Tid) -> Result<Planned, proc::Error> {
    Ok(Planned { tid, status: process.thread(tid)?.status()? })
}

/// Reads what /proc says of a thread and sorts out those that are not to be held.
fn plan_hold(process: &ProcDir, tid: Tid, draft: &mut Draft<'_>) -> Option<Planned> {
    let planned = match plan(process, tid) {
        Ok(planned) => planned,
        Err(proc::Error::Gone) => {
            draft.notice(tid, Reason::ThreadGone);
            return None;
        }
        Err(error) => {
            draft.notice(tid, Reason::Refused { what: format!("reading its status ({error})"), errno: libc::EACCES });
            return None;
        }
    };
    match planned.status.state {
        ThreadState::Zombie | ThreadState::Dead => draft.lost(planned, Reason::Exited),
        ThreadState::Uninterruptible => untouched::capture(process, planned, draft),
        _ => return Some(planned),
    }
    None
}

/// Whether nothing could be captured because nothing was permitted, and what the kernel said.
pub fn refused_everywhere(captured: &Captured) -> Option<i32> {
    if captured.threads.iter().any(CapturedThread::is_captured) {
        return None;
    }
    captured.notices.iter().find_map(|notice| match notice.reason {
        Reason::Refused { errno, .. } => Some(errno),
        _ => None,
    })
}
