//! One snapshot of a live process: which threads there are, look at each in the least intrusive
//! way, copy, let go.
//!
//! Promises: between freeze and release there are only calls of `sys` on buffers that were touched
//! beforehand; a thread that is held is let go by a Drop guard whatever happens; a thread that does
//! not stop is not waited for beyond a deadline; no thread is held for longer than it may be. The
//! target is never written to and never sent a signal. It does not unwind, parse ELF or know what a
//! module is: what it hands on is registers and bytes.
//!
//! Two processes share the work. The tracer (`tracer`) does all of the above. hangsnap itself asks
//! it for a snapshot and watches over it (`client`): whatever the tracer hangs on, it can be
//! killed, which frees the target, and another one goes on. What it has copied is in memory shared
//! by both (`sys::arena`), and `merge` makes one snapshot of it. `protocol` is what the two say to
//! each other, `budget` the share of time that hangsnap may take.

mod budget;
mod client;
mod merge;
mod protocol;
mod tracer;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{
    Acquired, MemoryPiece, Notice, Process, Reason, RuntimeAddress, SpecialRegister, StopMode, Subject, SystemCall,
    ThreadStatus, Tid, Timestamp, X86_64Register,
};
use crate::proc::{BlockedCall, MemoryMap};
use crate::sys::ptrace::RawRegisters;

pub use budget::Budget;
pub use client::{Error, Tracer};
pub use tracer::{TRACER_ARGUMENT, serve};

/// How a snapshot is to be taken.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CaptureRequest {
    /// Which threads may be held.
    pub stop: StopMode,
    /// The longest time that a thread may be held.
    pub max_hold: Duration,
    /// Whether x87 and SSE registers are wanted.
    pub floating_point: bool,
    /// Whether it is a program of Go's, whose threads change stacks.
    pub is_go: bool,
    /// Memory to copy besides the stacks.
    pub memory: Vec<Wish>,
    /// In a recording, the number of the last snapshot of the process that the caller has: threads
    /// that have not run since it are reported as unchanged. None where a snapshot stands alone.
    pub after: Option<u64>,
}

/// A piece of memory that is to be copied.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Wish {
    /// As the user typed it.
    pub text: String,
    /// Where it begins.
    pub base: Base,
    /// How many bytes of it.
    pub length: u64,
}

/// Where a piece of memory begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Base {
    /// At this address.
    Address(RuntimeAddress),
    /// Where this register of each thread points to.
    Register(X86_64Register),
    /// Where this special register of each thread points to.
    Special(SpecialRegister),
}

/// What was copied of a thread's stack.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StackBytes {
    /// The run-time address of the first byte.
    pub start: u64,
    /// The bytes from there on.
    pub bytes: Box<[u8]>,
    /// How many bytes of the stack in use were left out, because they are more than is copied of
    /// one.
    pub left_out: u64,
    /// Other pieces: of the stacks that were left or interrupted, one after the other, for the
    /// above, of the thread's own, or the oldest part of the same, if something was left out. One
    /// without bytes is where what was left out before the last begins.
    pub pieces: Box<[MemoryPiece]>,
}

/// What is known of a thread's registers.
#[derive(Clone)]
pub enum Context {
    /// All of them: the thread was held.
    Full(Box<RawRegisters>),
    /// Where it entered the kernel: it was read in place.
    Blocked(BlockedCall),
    /// Nothing; a notice says why.
    Nothing,
}

/// One thread, as it was copied.
pub struct CapturedThread {
    /// Its id.
    pub tid: Tid,
    /// What /proc says of it.
    pub status: ThreadStatus,
    /// How the rest was obtained.
    pub acquired: Acquired,
    /// Its registers.
    pub context: Context,
    /// What was copied of its stack.
    pub stack: StackBytes,
    /// Other memory that was copied with it.
    pub memory: Vec<MemoryPiece>,
    /// The x87 and SSE registers, where they were asked for and could be had.
    pub floating_point: Option<Box<[u8]>>,
    /// The call it was inside of, by the number by which it was made where that is known.
    pub system_call: Option<SystemCall>,
}

impl CapturedThread {
    /// Whether anything but its entry in /proc could be had.
    pub fn is_captured(&self) -> bool {
        !matches!(self.context, Context::Nothing)
    }
}

/// A thread that has not run since the snapshot before: whatever that says of it is still true.
pub struct UnchangedThread {
    /// Its id.
    pub tid: Tid,
    /// What /proc says of it; None where that was not read again.
    pub status: Option<ThreadStatus>,
    /// As it is now.
    pub memory: Vec<MemoryPiece>,
}

/// Everything that was copied of a process at one moment.
pub struct Captured {
    /// Each that a `Tracer` takes has another, and a later one a larger.
    pub number: u64,
    /// When the snapshot began.
    pub taken: Timestamp,
    /// The process as a whole.
    pub process: Process,
    /// As in `Snapshot::window`.
    pub window: Duration,
    /// As in `Snapshot::took`.
    pub took: Duration,
    /// How it was taken; less intrusive than was asked for where a bound was reached.
    pub stop: StopMode,
    /// The process's memory map.
    pub map: MemoryMap,
    /// In the order of their ids.
    pub threads: Vec<CapturedThread>,
    /// In the order of their ids, too. There are none if `CaptureRequest::after` was not given.
    pub unchanged: Vec<UnchangedThread>,
    /// Memory that was copied for no thread in particular.
    pub memory: Vec<MemoryPiece>,
    /// Whether the process's memory could be read in time.
    pub memory_is_readable: bool,
    /// The longest hold that ended with the tracer's death, so that no thread shows it.
    pub lost_hold: Duration,
    /// What is missing, and why.
    pub notices: Vec<Notice>,
}

impl Captured {
    /// Whether nothing could be captured because nothing was permitted, and what the kernel said.
    pub fn refused_everywhere(&self) -> Option<i32> {
        if self.is_anything_captured() {
            return None;
        }
        self.notices.iter().find_map(|notice| match notice.reason {
            Reason::Refused { errno: errno @ (libc::EPERM | libc::EACCES), .. } => Some(errno),
            _ => None,
        })
    }

    /// Whether anything could be had of any thread but its entry in /proc.
    pub fn is_anything_captured(&self) -> bool {
        !self.unchanged.is_empty() || self.threads.iter().any(CapturedThread::is_captured)
    }

    /// Takes out what would be untrue where some of it was copied of one program and some of
    /// another.
    pub fn leave_out_stacks(&mut self) {
        self.lost_hold = self.longest_hold();
        self.map = MemoryMap::default();
        self.unchanged.clear();
        self.memory.clear();
        for thread in &mut self.threads {
            let CapturedThread { acquired, context, stack, memory, floating_point, system_call, .. } = thread;
            (*acquired, *context, *stack) = (Acquired::NotCaptured, Context::Nothing, StackBytes::default());
            (*floating_point, *system_call) = (None, None);
            memory.clear();
        }
        self.notices.push(Notice { subject: Subject::Process, reason: Reason::Executed });
    }

    /// The longest time for which a thread was held.
    pub fn longest_hold(&self) -> Duration {
        self.threads.iter().filter_map(|thread| thread.acquired.time()).fold(self.lost_hold, Duration::max)
    }
}
