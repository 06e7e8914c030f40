//! One thread at one moment.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    Abi, KernelWait, MemoryOf, MemoryPiece, Registers, Scheduling, SignalSets, Stack, StartTime, SystemCall, Tid,
};

/// The scheduler's state of a thread just before the snapshot touched it: field 3 of `stat` in
/// proc_pid_stat(5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum ThreadState {
    /// On a CPU or waiting for one (R).
    Running,
    /// Waiting, and a signal would end the wait (S).
    Sleeping,
    /// In uninterruptible sleep: neither a signal nor a tracer reaches it (D).
    Uninterruptible,
    /// Stopped by job control (T).
    Stopped,
    /// Held by a tracer (t).
    Traced,
    /// Exited, its entry still there (Z).
    Zombie,
    /// Being removed (X).
    Dead,
    /// A letter that proc_pid_stat(5) does not list for user threads.
    Other(char),
}

impl ThreadState {
    /// The state that `stat` writes as this letter.
    pub fn from_letter(letter: char) -> Self {
        match letter {
            'R' => Self::Running,
            'S' => Self::Sleeping,
            'D' => Self::Uninterruptible,
            'T' => Self::Stopped,
            't' => Self::Traced,
            'Z' => Self::Zombie,
            'X' => Self::Dead,
            other => Self::Other(other),
        }
    }

    /// The letter that `stat` writes for it.
    pub fn letter(self) -> char {
        match self {
            Self::Running => 'R',
            Self::Sleeping => 'S',
            Self::Uninterruptible => 'D',
            Self::Stopped => 'T',
            Self::Traced => 't',
            Self::Zombie => 'Z',
            Self::Dead => 'X',
            Self::Other(letter) => letter,
        }
    }

    /// A word for a reader.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Sleeping => "sleeping",
            Self::Uninterruptible => "uninterruptible",
            Self::Stopped => "stopped",
            Self::Traced => "traced",
            Self::Zombie => "exited",
            Self::Dead => "dead",
            Self::Other(_) => "in an unlisted state",
        }
    }
}

/// A thread that the kernel itself runs in a process: it has no user stack, makes no system calls,
/// and is not held.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum KernelWorker {
    /// A worker of io_uring, or the thread that polls a submission queue.
    IoUring,
    /// Any other, such as one of vhost.
    Other,
}

impl KernelWorker {
    /// What it works for, in words.
    pub fn describe(self) -> &'static str {
        match self {
            Self::IoUring => "kernel worker of io_uring",
            Self::Other => "kernel worker",
        }
    }
}

/// A snapshot of a recording, as a later one refers to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Moment {
    /// The snapshot's number, which is never 0.
    pub number: u64,
    /// When it was taken: the recording may not have it any more.
    pub realtime_ns: i64,
}

/// How the facts about a thread were obtained.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Acquired {
    /// It was stopped: from just before the request to stop until the kernel had let it go again.
    Held(Duration),
    /// It was read in place, without stopping it: what the kernel says of a thread that is off the
    /// CPU.
    ReadInPlace,
    /// It was not looked at. Since this snapshot, in which it was, the kernel has not given it a
    /// CPU: it is where it was then.
    UnchangedSince(Moment),
    /// None of these; a notice says why.
    NotCaptured,
}

impl Acquired {
    /// The time for which it was held, if it was.
    pub fn time(self) -> Option<Duration> {
        match self {
            Self::Held(time) => Some(time),
            Self::ReadInPlace | Self::UnchangedSince(_) | Self::NotCaptured => None,
        }
    }

    /// The snapshot since which it has not run, if that is why it was not looked at.
    pub fn unchanged_since(self) -> Option<Moment> {
        match self {
            Self::UnchangedSince(since) => Some(since),
            Self::Held(_) | Self::ReadInPlace | Self::NotCaptured => None,
        }
    }
}

/// What the kernel says of a thread without touching it, read just before the thread was looked at
/// more closely.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ThreadStatus {
    /// With the tid it distinguishes a thread from a later one of the same number.
    pub start: StartTime,
    /// What the thread calls itself (`comm`, 15 bytes at most); bytes that are not UTF-8 are
    /// replaced.
    pub name: String,
    /// The scheduler's state.
    pub state: ThreadState,
    /// CPU times, context switches, scheduling class.
    pub scheduling: Scheduling,
    /// Blocked, ignored, caught and pending signals, if they could be read.
    pub signals: Option<SignalSets>,
    /// Set for a thread that executes the kernel's code only.
    pub worker: Option<KernelWorker>,
    /// Most threads of a process wait for one of a few things: those that wait for the same share
    /// it.
    pub wait: Arc<KernelWait>,
}

/// One thread as a snapshot saw it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Thread {
    /// Its id.
    pub tid: Tid,
    /// What /proc says of it.
    pub status: ThreadStatus,
    /// How the rest was obtained.
    pub acquired: Acquired,
    /// None when the thread was in user code.
    pub system_call: Option<SystemCall>,
    /// Its registers, as far as they are known.
    pub registers: Registers,
    /// Shared by all who remember it: most threads are where they were in the snapshot before.
    pub stack: Arc<Stack>,
    /// Memory that was copied with it.
    pub memory: Vec<MemoryPiece>,
}

impl Thread {
    /// Whether anything is known of where the thread was. One without anything known says
    /// nothing about being stuck.
    pub fn is_captured(&self) -> bool {
        !self.stack.frames.is_empty()
    }

    /// The descriptors that it waits for in poll(2) or select(2), as far as their lists were
    /// copied.
    pub fn polled(&self) -> Vec<i32> {
        let Some(call) = self.system_call else { return Vec::new() };
        let copied = |number| self.memory.iter().find(|piece| piece.what == MemoryOf::Argument(number));
        match call.name() {
            // `struct pollfd`: the descriptor comes first of eight bytes. A negative one is not
            // looked at.
            Some("poll" | "ppoll") => {
                let (entries, _) = copied(0).map_or(&[][..], |piece| &piece.bytes).as_chunks::<8>();
                let number = |[a, b, c, d, ..]: &[u8; 8]| i32::from_le_bytes([*a, *b, *c, *d]);
                entries.iter().map(number).filter(|number| *number >= 0).collect()
            }
            // The layout of i386 is another.
            Some("select" | "pselect6") if call.abi == Abi::X86_64 => {
                let sets = (1..=3).filter_map(copied);
                sets.flat_map(|piece| selected(&piece.bytes, call.arguments[0])).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// The numbers in an `fd_set` that are below `count`, an int, as far as its bytes were copied.
pub fn selected(bytes: &[u8], count: u64) -> impl Iterator<Item = i32> {
    let bits = bytes.iter().zip(0_i32..).flat_map(|(byte, at)| {
        let byte = *byte;
        (0..8).filter(move |bit| byte >> bit & 1 != 0).map(move |bit| at * 8 + bit)
    });
    bits.take_while(move |number| *number < (count as u32).cast_signed())
}
