//! A snapshot in the making: what the parts of the tracer read of the process, and the log that
//! they write to.
//!
//! It is passed to every part, and uses none of them but `hold` and `stack`.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::mem;

use super::hold::Polling;
use super::stack::{FIRST_ROOM, Owner, STACK_ROOM, StackCopy};
use crate::capture::CaptureRequest;
use crate::capture::protocol::{Assignment, ContextRecord, StackRecord, ThreadRecord, TracerRecord};
use crate::model::{Acquired, Notice, Reason, StopMode, Subject, SystemCall, ThreadStatus, Tid};
use crate::proc::{self, BlockedCall, MemoryMap, ProcDir};
use crate::sys::alarm::KillTimer;
use crate::sys::arena::ArenaWriter;
use crate::sys::memory::ProcessMemory;

/// What is copied at most of all that the user asked for, in one snapshot.
const ALL_WISHES: usize = 64 << 20;
/// Bytes of code before an instruction pointer.
pub(super) const CODE_LENGTH: usize = 16;

/// A thread that is to be looked at, with what /proc said of it beforehand. It keeps nothing open:
/// there may be more threads than hangsnap may have descriptors.
pub(super) struct Planned {
    pub(super) tid: Tid,
    pub(super) status: ThreadStatus,
    pub(super) owner: Owner,
    /// In which call it slept when it was looked at before it was to be held.
    pub(super) entered: Option<Entered>,
}

/// Where a thread entered the kernel, and in which call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Entered {
    pub(super) blocked: BlockedCall,
    pub(super) call: SystemCall,
}

/// A thread that was captured in the current snapshot.
pub(super) struct Looked {
    pub(super) tid: Tid,
    pub(super) context: ContextRecord,
    pub(super) system_call: Option<SystemCall>,
    pub(super) stack: StackRecord,
}

/// The code before the instructions at which threads of this snapshot were found.
#[derive(Default)]
pub(super) struct Code {
    pub(super) before: HashMap<u64, Option<[u8; CODE_LENGTH]>>,
}

/// A snapshot in the making.
pub(super) struct Draft<'a> {
    pub(super) process: &'a ProcDir,
    pub(super) request: &'a CaptureRequest,
    /// Which threads may be held: those that the request allows, until that was tried and did not
    /// work out.
    pub(super) stop: StopMode,
    /// Threads over which a tracer died.
    pub(super) suspects: &'a [Tid],
    /// None when memory is not to be read.
    pub(super) memory: Option<&'a ProcessMemory>,
    pub(super) map: MemoryMap,
    /// How much code was mapped when the map was read. None where that was not the same before and
    /// after.
    mapped_code: Option<u64>,
    /// The code that was read of it in this snapshot.
    pub(super) code: Code,
    pub(super) arena: &'a mut ArenaWriter,
    /// Kills this process when it holds a thread for too long.
    pub(super) kill_timer: &'a KillTimer,
    pub(super) polling: Polling,
    /// How many bytes of the arena there are for the stack of one thread.
    pub(super) stack_room: usize,
    /// Whether the kernel's stacks may be read, as far as is known.
    pub(super) kernel_stacks: bool,
    /// How much more memory may be copied because the user asked for it.
    pub(super) room_for_wishes: usize,
    /// Those that were captured, and those of which something was lost, in this one.
    pub(super) looked: Vec<Looked>,
    pub(super) lossy: HashSet<Tid>,
    /// How many threads were read in place because they did not stop in time.
    pub(super) not_held_in_time: u64,
    calls_are_unknown: bool,
    /// Whether a record found no room.
    pub(super) full: bool,
    /// Where records are encoded.
    encoded: Vec<u8>,
}

impl<'a> Draft<'a> {
    /// One that nothing has been recorded in.
    pub(super) fn new(
        process: &'a ProcDir,
        assignment: &'a Assignment,
        memory: &'a ProcessMemory,
        arena: &'a mut ArenaWriter,
        kill_timer: &'a KillTimer,
    ) -> Self {
        Self {
            process,
            request: &assignment.request,
            stop: assignment.request.stop,
            suspects: &assignment.suspects,
            memory: assignment.read_memory.then_some(memory),
            map: MemoryMap::default(),
            mapped_code: None,
            code: Code::default(),
            arena,
            kill_timer,
            polling: Polling::default(),
            stack_room: if assignment.request.after.is_some() { STACK_ROOM } else { FIRST_ROOM },
            kernel_stacks: true,
            room_for_wishes: ALL_WISHES,
            looked: Vec::new(),
            lossy: HashSet::new(),
            not_held_in_time: 0,
            calls_are_unknown: false,
            full: false,
            encoded: Vec::new(),
        }
    }
}

impl Draft<'_> {
    pub(super) fn record(&mut self, record: &TracerRecord<'_>) {
        // Everything that is recorded can be encoded; there is no map without a length and no error
        // of our own in it.
        let mut encoded = postcard::to_extend(record, mem::take(&mut self.encoded)).unwrap_or_default();
        self.full |= !self.arena.log(&encoded);
        encoded.clear();
        self.encoded = encoded;
    }

    pub(super) fn notice(&mut self, tid: Tid, reason: Reason) {
        self.lossy.insert(tid);
        self.record(&TracerRecord::Notice(Notice { subject: Subject::Thread(tid), reason }));
    }

    pub(super) fn notice_process(&mut self, reason: Reason) {
        self.record(&TracerRecord::Notice(Notice { subject: Subject::Process, reason }));
    }

    /// That calls may not be read is the same for all threads, and said once.
    pub(super) fn note_unknown_calls(&mut self) {
        if !self.calls_are_unknown {
            self.calls_are_unknown = true;
            self.notice_process(Reason::CallUnknown);
        }
    }

    /// Whether a stack that was copied lacked room. Then all have as much as there may be from now
    /// on, and it is to be copied again.
    pub(super) fn needs_more_room(&mut self, copy: &StackCopy) -> bool {
        let is_more_needed = self.stack_room < STACK_ROOM && copy.lacked_room(self.stack_room);
        if is_more_needed {
            self.stack_room = STACK_ROOM;
        }
        is_more_needed
    }

    /// Adds to the number of threads that were read in place because they did not stop in time.
    pub(super) fn note_not_held(&mut self, more: usize, fewer: usize) {
        let before = self.not_held_in_time;
        self.not_held_in_time = before.saturating_add(more as u64).saturating_sub(fewer as u64);
        if self.not_held_in_time != before {
            self.notice_process(Reason::NotHeldInTime { threads: self.not_held_in_time });
        }
    }

    fn mapped_code_now(&self) -> Option<u64> {
        // Only who is to be recorded again may rest.
        self.request.after?;
        let owner = self.process.memory_owner().ok()?;
        self.process.thread(owner).ok()?.mapped_code().ok()?
    }

    /// Whether all code is still mapped that the map tells of, and no other.
    pub(super) fn has_map_of_code(&self) -> bool {
        self.mapped_code.is_some() && self.mapped_code == self.mapped_code_now()
    }

    /// Records why a thread could not be captured and, unless it is gone, what /proc said of it.
    pub(super) fn lost(&mut self, planned: &Planned, reason: Reason) {
        let gone = reason == Reason::ThreadGone;
        self.notice(planned.tid, reason);
        if gone {
            return;
        }
        self.record(&TracerRecord::Thread(Box::new(ThreadRecord {
            tid: planned.tid,
            status: Cow::Borrowed(&planned.status),
            acquired: Acquired::NotCaptured,
            context: ContextRecord::Nothing,
            stack: StackRecord::default(),
            memory: Vec::new(),
            floating_point: None,
            system_call: None,
        })));
    }

    /// Reads the memory map, and hands its text on.
    pub(super) fn read_map(&mut self) -> Result<(), proc::Error> {
        self.mapped_code = self.mapped_code_now();
        let text = self.process.maps()?;
        self.mapped_code = self.mapped_code_now().filter(|now| self.mapped_code == Some(*now));
        let map = MemoryMap::parse(&text)?;
        let room = self.arena.room(text.len());
        // A map of more bytes than the arena holds is cut at a line; hardly any process has a
        // millionth part of that.
        let length = text.len().min(room.len());
        room[..length].copy_from_slice(&text[..length]);
        let piece = self.arena.keep(length);
        self.record(&TracerRecord::Map(piece));
        self.map = map;
        Ok(())
    }
}
