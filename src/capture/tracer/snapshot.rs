//! The tracer's work: one snapshot, recorded piece by piece.
//!
//! The threads of the process are listed again until no new one shows up, because a thread may be born while others are
//! being looked at.

use std::borrow::Cow;
use std::collections::HashSet;
use std::mem;
use std::time::Duration;

use super::blocked::Code;
use super::hold::Polling;
use super::plan::{self, Experience, Plan, Planned};
use super::unchanged::{self, Looked, Resting, Threads};
use super::{all_stop, blocked, memory, one_at_a_time};
use crate::capture::Order;
use crate::capture::protocol::{ContextRecord, MemoryRecord, Record, Request, StackRecord, ThreadRecord};
use crate::model::{Cause, Hold, MemoryOf, Notice, Reason, RuntimeAddress, StopMode, Subject, SystemCall, Tid};
use crate::proc::{self, MemoryMap, ProcDir};
use crate::sys::alarm::KillTimer;
use crate::sys::arena::{ArenaWriter, Piece, Step};
use crate::sys::clock;
use crate::sys::memory::ProcessMemory;

/// How often the threads are listed again. A process that still makes new ones then gets a notice.
const MAX_SCANS: usize = 8;
/// What it takes at least to hold and copy one thread among many: seven system calls.
const LEAST_PER_THREAD: Duration = Duration::from_micros(8);

/// A snapshot in the making.
pub(super) struct Draft<'a> {
    pub(super) process: &'a ProcDir,
    pub(super) order: &'a Order,
    /// Threads over which a tracer died.
    pub(super) suspects: &'a [Tid],
    /// None when memory is not to be read.
    pub(super) memory: Option<&'a ProcessMemory>,
    pub(super) map: MemoryMap,
    /// How much code was mapped when the map was read. None where that was not the same before and after.
    mapped_code: Option<u64>,
    /// The code that was read of it in this snapshot.
    pub(super) code: Code,
    pub(super) arena: &'a mut ArenaWriter,
    /// Kills this process when it holds a thread for too long.
    pub(super) kill_timer: &'a KillTimer,
    pub(super) polling: Polling,
    /// Whether the kernel's stacks may be read, as far as is known.
    pub(super) kernel_stacks: bool,
    /// How much more memory may be copied because the user asked for it.
    pub(super) room_for_wishes: usize,
    /// Threads that have not run since an earlier snapshot.
    pub(super) resting: Threads,
    /// Those that were captured, and those of which something was lost, in this one.
    pub(super) looked: Vec<Looked>,
    pub(super) lossy: HashSet<Tid>,
    /// How many threads were read in place because they did not stop in time.
    pub(super) not_held_in_time: u64,
    calls_are_unknown: bool,
    full: bool,
    /// Where records are encoded.
    encoded: Vec<u8>,
}

impl Draft<'_> {
    pub(super) fn record(&mut self, record: &Record<'_>) {
        // Everything that is recorded can be encoded; there is no map without a length and no error of our own in it.
        let mut encoded = postcard::to_extend(record, mem::take(&mut self.encoded)).unwrap_or_default();
        self.full |= !self.arena.log(&encoded);
        encoded.clear();
        self.encoded = encoded;
    }

    pub(super) fn notice(&mut self, tid: Tid, reason: Reason) {
        self.lossy.insert(tid);
        self.record(&Record::Notice(Notice { subject: Subject::Thread(tid), reason }));
    }

    pub(super) fn notice_process(&mut self, reason: Reason) {
        self.record(&Record::Notice(Notice { subject: Subject::Process, reason }));
    }

    /// That calls may not be read is the same for all threads, and said once.
    pub(super) fn note_unknown_calls(&mut self) {
        if !self.calls_are_unknown {
            self.calls_are_unknown = true;
            self.notice_process(Reason::CallUnknown);
        }
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
        self.order.after?;
        let owner = self.process.memory_owner().ok()?;
        self.process.thread(owner).ok()?.mapped_code().ok()?
    }

    /// Whether all code is still mapped that the map tells of, and no other.
    pub(super) fn has_map_of_code(&self) -> bool {
        self.mapped_code.is_some() && self.mapped_code == self.mapped_code_now()
    }

    /// Records a thread that was captured, with the memory that belongs to it.
    pub(super) fn captured(
        &mut self,
        planned: &Planned,
        hold: Hold,
        context: ContextRecord,
        system_call: Option<SystemCall>,
        stack: StackRecord,
        floating_point: Option<Piece>,
    ) {
        let memory = memory::of_thread(self, planned.tid, &context, system_call);
        blocked::note_renamed(self, planned.tid, system_call);
        if self.order.after.is_some() {
            let (context, stack) = (context.clone(), stack.clone());
            self.looked.push(Looked { tid: planned.tid, context, system_call, stack });
        }
        self.record(&Record::Thread(Box::new(ThreadRecord {
            tid: planned.tid,
            status: Cow::Borrowed(&planned.status),
            hold,
            context,
            stack,
            memory,
            floating_point,
            system_call,
        })));
    }

    /// Records why a thread could not be captured and, unless it is gone, what /proc said of it.
    pub(super) fn lost(&mut self, planned: &Planned, reason: Reason) {
        let gone = reason == Reason::ThreadGone;
        self.notice(planned.tid, reason);
        if gone {
            return;
        }
        self.record(&Record::Thread(Box::new(ThreadRecord {
            tid: planned.tid,
            status: Cow::Borrowed(&planned.status),
            hold: Hold::NotCaptured,
            context: ContextRecord::Nothing,
            stack: StackRecord::default(),
            memory: Vec::new(),
            floating_point: None,
            system_call: None,
        })));
    }
}

/// Takes one snapshot.
///
/// Errors only if the process cannot be looked at at all; whatever is lost of a process that can is a notice.
pub(super) fn take(
    process: &ProcDir,
    request: &Request,
    arena: &mut ArenaWriter,
    kill_timer: &KillTimer,
    resting: &mut Resting,
) -> Result<(), proc::Error> {
    let access = ProcessMemory::open(process.memory_owner()?);
    let taken = clock::timestamp();
    let mut draft = Draft {
        process,
        order: &request.order,
        suspects: &request.suspects,
        memory: request.read_memory.then_some(&access),
        map: MemoryMap::default(),
        mapped_code: None,
        code: Code::default(),
        arena,
        kill_timer,
        polling: Polling::default(),
        kernel_stacks: true,
        room_for_wishes: memory::ALL_WISHES,
        resting: resting.take(request.process),
        looked: Vec::new(),
        lossy: HashSet::new(),
        not_held_in_time: 0,
        calls_are_unknown: false,
        full: false,
        encoded: Vec::new(),
    };
    draft.record(&Record::Begun(taken));
    let mut description = process.describe()?;
    draft.record(&Record::Process(description.clone()));
    if request.read_map {
        draft.arena.marks().step(Step::ReadingProc, 0);
        draft.map = read_map(&mut draft)?;
    }
    if draft.memory.is_some() {
        // The first read of its memory is made while no thread is held: if it hangs, this process is killed, and the next
        // one does without.
        draft.arena.marks().step(Step::ReadingMemory, 0);
        description.command = process.command()?;
        draft.record(&Record::Process(description));
        memory::of_process(&mut draft);
    }
    let mut seen: HashSet<Tid> = request.done.iter().copied().collect();
    for scan in 0.. {
        draft.arena.marks().step(Step::ReadingProc, 0);
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
            draft.notice_process(Reason::ThreadsStillAppearing);
            break;
        }
        if scan > 0
            && request.read_map
            && let Ok(map) = read_map(&mut draft)
        {
            // The stack of a thread that was born since lies in a mapping that was not there before.
            draft.map = map;
        }
        let fresh = unchanged::tell(&mut draft, fresh);
        if fresh.is_empty() {
            // None of them had run when it was looked at. Who is born of one that has begun to since is the next snapshot's.
            break;
        }
        let together = draft.order.stop == StopMode::All && may_hold_together(&mut draft, fresh.len());
        if scan > 0 && together {
            for tid in &fresh {
                draft.notice(*tid, Reason::StoppedLate);
            }
        }
        match together {
            true => all_stop::capture(&mut draft, fresh),
            false => one_at_a_time::capture(&mut draft, fresh),
        }
    }
    draft.resting.retain(|tid, _| seen.contains(tid));
    if draft.order.stop != StopMode::All {
        unchanged::settle(&mut draft, request.number, resting.room());
    }
    resting.put(request.process, draft.resting);
    match draft.full {
        true => Err(proc::Error::Other("it has more threads than fit into a snapshot".into())),
        false => Ok(()),
    }
}

/// Whether so many threads can be held together for no longer than may be.
fn may_hold_together(draft: &mut Draft<'_>, threads: usize) -> bool {
    let needed = LEAST_PER_THREAD.saturating_mul(u32::try_from(threads).unwrap_or(u32::MAX));
    let enough = needed <= draft.order.max_hold;
    if !enough {
        draft.notice_process(Reason::Degraded { to: StopMode::OneAtATime, cause: Cause::Hold });
    }
    enough
}

/// Reads the memory map, and hands its text on.
fn read_map(draft: &mut Draft<'_>) -> Result<MemoryMap, proc::Error> {
    draft.mapped_code = draft.mapped_code_now();
    let text = draft.process.maps()?;
    draft.mapped_code = draft.mapped_code_now().filter(|now| draft.mapped_code == Some(*now));
    let map = MemoryMap::parse(&text)?;
    let room = draft.arena.room(text.len());
    // A map of more bytes than the arena holds is cut at a line; hardly any process has a millionth part of that.
    let length = text.len().min(room.len());
    room[..length].copy_from_slice(&text[..length]);
    let piece = draft.arena.keep(length);
    draft.record(&Record::Map(piece));
    Ok(map)
}

/// Copies some memory that is not part of a stack, while no thread is held. None when there is none.
pub(super) fn copy_memory(
    draft: &mut Draft<'_>,
    address: RuntimeAddress,
    length: usize,
    what: MemoryOf,
) -> Option<MemoryRecord> {
    let memory = draft.memory?;
    let room = draft.arena.room(length);
    let wanted = length.min(room.len());
    let mut read = memory.read(address, &mut room[..wanted]).ok().filter(|read| *read > 0)?;
    if matches!(what, MemoryOf::Path(_)) {
        // What follows a path's end is somebody else's.
        read = room[..read].iter().position(|&byte| byte == 0).unwrap_or(read);
    }
    Some(MemoryRecord { address, bytes: draft.arena.keep(read), what })
}

/// Plans the threads of a snapshot that is to hold them together; those that are not to be held are dealt with at once.
pub(super) fn plan_all(draft: &mut Draft<'_>, tids: Vec<Tid>) -> Vec<Planned> {
    let mut planned = Vec::with_capacity(tids.len());
    for tid in tids {
        match plan::plan(tid, Experience::None, draft) {
            Plan::Done | Plan::ReadInstead(_) => {}
            Plan::Hold(thread) | Plan::Runs(thread) => planned.push(thread),
            // It was uninterruptible when it was looked at first, and has woken up since.
            Plan::Later(thread, reason) => draft.lost(&thread, reason),
        }
    }
    planned
}
