//! A snapshot in the making, which is passed to every part of the tracer: what they read of the
//! process (`ProcessView`), the log that they write to (`log`), and what has come of it so far
//! (`Progress`).
//!
//! It uses none of these parts but `hold`, `log` and `stack`.

use std::collections::HashMap;

use super::hold::Polling;
use super::log::Log;
use super::stack::{FIRST_ROOM, Owner, STACK_ROOM, StackCopy};
use crate::capture::CaptureRequest;
use crate::capture::protocol::{Assignment, ContextRecord, StackRecord, TracerRecord};
use crate::model::{StopMode, SystemCall, ThreadStatus, Tid};
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

/// The process that is looked at, and what is wanted of it. It is only read.
pub(super) struct ProcessView<'a> {
    pub(super) process: &'a ProcDir,
    pub(super) request: &'a CaptureRequest,
    /// Threads over which a tracer died.
    pub(super) suspects: &'a [Tid],
    /// None when memory is not to be read.
    pub(super) memory: Option<&'a ProcessMemory>,
    pub(super) map: MemoryMap,
    /// How much code was mapped when the map was read. None where that was not the same before and
    /// after.
    mapped_code: Option<u64>,
}

/// What has come of this snapshot so far.
pub(super) struct Progress {
    /// Which threads may be held: those that the request allows, until that was tried and did not
    /// work out.
    pub(super) stop: StopMode,
    /// How many bytes of the arena there are for the stack of one thread.
    pub(super) stack_room: usize,
    pub(super) polling: Polling,
    /// The code that was read of the process.
    pub(super) code: Code,
    /// Whether the kernel's stacks may be read, as far as is known.
    pub(super) kernel_stacks: bool,
    /// How much more memory may be copied because the user asked for it.
    pub(super) room_for_wishes: usize,
    /// The threads that were captured.
    pub(super) looked: Vec<Looked>,
}

/// A snapshot in the making.
pub(super) struct Draft<'a> {
    pub(super) view: ProcessView<'a>,
    /// Kills this process when it holds a thread for too long.
    pub(super) kill_timer: &'a KillTimer,
    pub(super) log: Log<'a>,
    pub(super) progress: Progress,
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
            view: ProcessView {
                process,
                request: &assignment.request,
                suspects: &assignment.suspects,
                memory: assignment.read_memory.then_some(memory),
                map: MemoryMap::default(),
                mapped_code: None,
            },
            kill_timer,
            log: Log::new(arena),
            progress: Progress {
                stop: assignment.request.stop,
                stack_room: if assignment.request.after.is_some() { STACK_ROOM } else { FIRST_ROOM },
                polling: Polling::default(),
                code: Code::default(),
                kernel_stacks: true,
                room_for_wishes: ALL_WISHES,
                looked: Vec::new(),
            },
        }
    }
}

impl Progress {
    /// Whether a stack that was copied lacked room. Then all have as much as there may be from now
    /// on, and it is to be copied again.
    pub(super) fn needs_more_room(&mut self, copy: &StackCopy) -> bool {
        let is_more_needed = self.stack_room < STACK_ROOM && copy.lacked_room(self.stack_room);
        if is_more_needed {
            self.stack_room = STACK_ROOM;
        }
        is_more_needed
    }
}

impl ProcessView<'_> {
    fn mapped_code_now(&self) -> Option<u64> {
        // Only who is to be recorded again may rest.
        self.request.after?;
        let owner = self.process.memory_owner().ok()?;
        self.process.thread(owner).ok()?.mapped_code().ok()?
    }

    /// Whether all code is still mapped that the map has, and no other.
    pub(super) fn has_map_of_code(&self) -> bool {
        self.mapped_code.is_some() && self.mapped_code == self.mapped_code_now()
    }

    /// Reads the memory map, and hands its text on.
    pub(super) fn read_map(&mut self, log: &mut Log<'_>) -> Result<(), proc::Error> {
        self.mapped_code = self.mapped_code_now();
        let text = self.process.maps()?;
        self.mapped_code = self.mapped_code_now().filter(|now| self.mapped_code == Some(*now));
        let map = MemoryMap::parse(&text)?;
        let room = log.arena.room(text.len());
        // A map of more bytes than the arena holds is cut at a line; hardly any process has a
        // millionth part of that.
        let length = text.len().min(room.len());
        room[..length].copy_from_slice(&text[..length]);
        let piece = log.arena.keep(length);
        log.record(&TracerRecord::Map(piece));
        self.map = map;
        Ok(())
    }
}
