//! What has been heard of a snapshot, from one tracer or from several that took each other's place.

use std::collections::{BTreeMap, HashSet};
use std::iter;
use std::sync::Arc;
use std::time::Duration;

use super::protocol::{
    Assignment, ContextRecord, MemoryRecord, StackRecord, ThreadRecord, TracerRecord, UnchangedRecord,
};
use super::{Captured, CapturedThread, Context, StackBytes, UnchangedThread};
use crate::model::{
    Acquired, Cause, KernelWait, MemoryOf, MemoryPiece, Notice, Process, Reason, RuntimeAddress, StopMode, Subject,
    ThreadStatus, Tid, Timestamp,
};
use crate::proc::{self, MemoryMap, ProcDir};
use crate::sys::arena::{ArenaReader, Piece, TracerProgress, TracerStep};
use crate::sys::clock::{self, Instant};
use crate::sys::ptrace::RawRegisters;

/// How a tracer came to its end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Death {
    /// It hung in what it was doing, and was killed.
    Hung,
    /// The kernel killed it because it held a thread for too long, or somebody else did.
    Killed,
    /// A seccomp filter killed it for a system call that it made.
    Filtered,
}

/// What has been heard of a snapshot so far, from one tracer or several.
pub(super) struct Collected {
    number: u64,
    stop: StopMode,
    taken: Option<Timestamp>,
    process: Option<Process>,
    map: MemoryMap,
    pub(super) threads: BTreeMap<Tid, CapturedThread>,
    unchanged: BTreeMap<Tid, UnchangedThread>,
    memory: Vec<MemoryPiece>,
    memory_is_readable: bool,
    notices: Vec<Notice>,
    window: Duration,
    /// Whether a tracer died while it read memory.
    died_reading: bool,
    /// The longest hold that ended with a tracer's death.
    lost_hold: Duration,
    /// Threads that are given up although nothing is known of them.
    given_up: Vec<Tid>,
    /// What threads wait for.
    waits: HashSet<Arc<KernelWait>>,
}

impl Collected {
    pub(super) fn new(number: u64, stop: StopMode) -> Self {
        Self {
            number,
            stop,
            taken: None,
            process: None,
            map: MemoryMap::default(),
            threads: BTreeMap::new(),
            unchanged: BTreeMap::new(),
            memory: Vec::new(),
            memory_is_readable: true,
            notices: Vec::new(),
            window: Duration::ZERO,
            died_reading: false,
            lost_hold: Duration::ZERO,
            given_up: Vec::new(),
            waits: HashSet::new(),
        }
    }

    /// Takes what a tracer has logged out of the shared memory.
    pub(super) fn add(&mut self, arena: &ArenaReader) {
        for record in arena.log() {
            match postcard::from_bytes(&record) {
                Ok(TracerRecord::Begun(taken)) => self.taken = self.taken.or(Some(taken)),
                Ok(TracerRecord::Process(process)) => self.process = Some(process),
                Ok(TracerRecord::Map(text)) => {
                    // A map that could not be parsed would have ended the snapshot in the tracer.
                    self.map = MemoryMap::parse(&arena.bytes(text).unwrap_or_default()).unwrap_or_default();
                }
                Ok(TracerRecord::Thread(thread)) => {
                    let mut thread = captured(*thread, arena);
                    self.share(&mut thread.status);
                    self.threads.insert(thread.tid, thread);
                }
                Ok(TracerRecord::Unchanged(record)) => {
                    let UnchangedRecord { tid, mut status, memory } = *record;
                    status.iter_mut().for_each(|status| self.share(status));
                    let memory = memory.into_iter().filter_map(|record| piece(record, arena)).collect();
                    self.unchanged.insert(tid, UnchangedThread { tid, status, memory });
                }
                Ok(TracerRecord::Memory(record)) => {
                    // A tracer that took the place of another has copied it again.
                    self.memory.extend(piece(record, arena).filter(|piece| !self.memory.contains(piece)));
                }
                Ok(TracerRecord::Notice(Notice { subject, reason: Reason::NotHeldInTime { threads } })) => {
                    // The last word on it: some were held after all.
                    self.notices.retain(|notice| !matches!(notice.reason, Reason::NotHeldInTime { .. }));
                    if threads > 0 {
                        self.notice(subject, Reason::NotHeldInTime { threads });
                    }
                }
                Ok(TracerRecord::Notice(notice)) if !self.notices.contains(&notice) => self.notices.push(notice),
                Ok(TracerRecord::Notice(_)) => {}
                // A tracer of this very program logs nothing else.
                Err(_) => {}
            }
        }
        self.window += arena.window();
    }

    /// How many threads have been captured, or are known to be as they were.
    pub(super) fn known(&self) -> usize {
        self.threads.len() + self.unchanged.len()
    }

    pub(super) fn done(&self) -> Vec<Tid> {
        let gone = self.notices.iter().filter_map(|notice| match notice {
            Notice { subject: Subject::Thread(tid), reason: Reason::ThreadGone } => Some(*tid),
            _ => None,
        });
        self.threads
            .keys()
            .chain(self.unchanged.keys())
            .copied()
            .chain(gone)
            .chain(self.given_up.iter().copied())
            .collect()
    }

    /// The tracer is dead: changes the request so that the next one does not die of the same.
    pub(super) fn go_on_without(&mut self, progress: TracerProgress, death: Death, assignment: &mut Assignment) {
        let tid = Tid(progress.tid);
        let max_hold = assignment.request.max_hold;
        if let TracerStep::Holding | TracerStep::ReadingHeld = progress.step {
            // An upper bound: the true length is unknown.
            self.lost_hold = self.lost_hold.max(progress.since.elapsed().min(max_hold));
        }
        match progress.step {
            // What else it calls when it has begun, hangsnap calls too.
            step if death == Death::Filtered
                && step != TracerStep::Between
                && assignment.request.stop != StopMode::None =>
            {
                self.stop_nothing(assignment, Cause::Filter);
            }
            // It hung there, or died there once before: what it did not survive is left out.
            TracerStep::ReadingMemory if assignment.read_memory && (death == Death::Hung || self.died_reading) => {
                assignment.read_memory = false;
                self.memory_is_readable = false;
                self.notice(Subject::Process, Reason::MemoryBlocked);
            }
            TracerStep::ReadingMemory => self.died_reading = true,
            TracerStep::Holding | TracerStep::ReadingHeld if assignment.request.stop == StopMode::All => {
                assignment.request.stop = StopMode::OneAtATime;
                self.notice(Subject::Process, Reason::Degraded { to: StopMode::OneAtATime, cause: Cause::Hold });
            }
            TracerStep::ReadingProc if tid.0 == 0 => assignment.read_map = false,
            // It may have been the tracer's own bad luck: the thread gets a second chance.
            _ if tid.0 != 0 && !assignment.suspects.contains(&tid) => assignment.suspects.push(tid),
            // The kernel kills it when the time is up, and not before; somebody else may.
            TracerStep::Holding | TracerStep::ReadingHeld
                if tid.0 != 0 && progress.since.elapsed() >= assignment.request.max_hold =>
            {
                let limit_us = u64::try_from(assignment.request.max_hold.as_micros()).unwrap_or(u64::MAX);
                self.notice(Subject::Thread(tid), Reason::HeldTooLong { limit_us });
                self.given_up.push(tid);
            }
            _ if tid.0 != 0 => {
                self.notice(Subject::Thread(tid), Reason::TracerDied);
                self.given_up.push(tid);
            }
            _ => {}
        }
    }

    /// Any other thread that is stopped would cost a tracer, too: what is left is read in place.
    pub(super) fn stop_nothing(&mut self, assignment: &mut Assignment, cause: Cause) {
        assignment.request.stop = StopMode::None;
        self.notice(Subject::Process, Reason::Degraded { to: StopMode::None, cause });
    }

    /// Too many tracers have died to ask another: what is left is lost.
    pub(super) fn give_up(&mut self, process: &ProcDir, done: Vec<Tid>) {
        let done: HashSet<Tid> = done.into_iter().collect();
        for tid in process.threads().unwrap_or_default() {
            if !done.contains(&tid) {
                self.notice(Subject::Thread(tid), Reason::TracerDied);
                self.given_up.push(tid);
            }
        }
    }

    fn notice(&mut self, subject: Subject, reason: Reason) {
        self.notices.push(Notice { subject, reason });
    }

    /// Lets a thread share what it waits for with those that wait for the same.
    fn share(&mut self, status: &mut ThreadStatus) {
        match self.waits.get(&status.wait) {
            Some(wait) => status.wait.clone_from(wait),
            None => drop(self.waits.insert(status.wait.clone())),
        }
    }

    pub(super) fn finish(mut self, begun: Instant, process: &ProcDir) -> Result<Captured, proc::Error> {
        for tid in std::mem::take(&mut self.given_up) {
            // What is lost is shown with what /proc says of it, unless it is gone.
            if let Ok(status) = process.thread(tid).and_then(|thread| thread.status()) {
                self.threads.entry(tid).or_insert_with(|| CapturedThread {
                    tid,
                    status,
                    acquired: Acquired::NotCaptured,
                    context: Context::Nothing,
                    stack: StackBytes::default(),
                    memory: Vec::new(),
                    floating_point: None,
                    system_call: None,
                });
            }
        }
        let process = match self.process {
            Some(process) => process,
            None => process.describe()?,
        };
        let degraded = self.notices.iter().rev().find_map(|notice| match notice.reason {
            Reason::Degraded { to, .. } => Some(to),
            _ => None,
        });
        Ok(Captured {
            number: self.number,
            taken: self.taken.unwrap_or_else(clock::timestamp),
            process,
            window: self.window,
            took: begun.elapsed(),
            stop: degraded.unwrap_or(self.stop),
            map: self.map,
            threads: self.threads.into_values().collect(),
            unchanged: self.unchanged.into_values().collect(),
            memory: self.memory,
            memory_is_readable: self.memory_is_readable,
            lost_hold: self.lost_hold,
            notices: self.notices,
        })
    }
}

fn captured(record: ThreadRecord<'_>, arena: &ArenaReader) -> CapturedThread {
    let ThreadRecord { tid, status, acquired, context, stack, memory, floating_point, system_call } = record;
    let StackRecord { start, bytes, left_out, pieces } = stack;
    let bytes_of = |piece: Piece| arena.bytes(piece).unwrap_or_default();
    CapturedThread {
        tid,
        status: status.into_owned(),
        acquired,
        context: match context {
            ContextRecord::Full(words) => Context::Full(Box::new(RawRegisters::from_words(words))),
            ContextRecord::Blocked(blocked) => Context::Blocked(blocked),
            ContextRecord::Nothing => Context::Nothing,
        },
        stack: StackBytes { start, bytes: bytes_of(bytes), left_out, pieces: split_pieces(&bytes_of(pieces)) },
        memory: memory.into_iter().filter_map(|record| piece(record, arena)).collect(),
        floating_point: floating_point.map(bytes_of),
        system_call,
    }
}

/// The pieces of a stack. Each has its address and its length before it.
fn split_pieces(mut bytes: &[u8]) -> Box<[MemoryPiece]> {
    iter::from_fn(|| {
        let (address, rest) = bytes.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (piece, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
        bytes = rest;
        let address = RuntimeAddress(u64::from_le_bytes(*address));
        Some(MemoryPiece { address, bytes: piece.into(), what: MemoryOf::Stack })
    })
    .collect()
}

fn piece(record: MemoryRecord, arena: &ArenaReader) -> Option<MemoryPiece> {
    let MemoryRecord { address, bytes, what } = record;
    Some(MemoryPiece { address, bytes: arena.bytes(bytes)?, what })
}
