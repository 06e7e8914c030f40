//! Every thread at once: one consistent moment, at the price of holding the first while the last is
//! waited for.
//!
//! Threads are seized first, which stops none of them. Those that sleep are asked to stop first and
//! those that run last; once all have stopped, those that ran are copied and let go first, for they
//! are the ones that lose time, and then those that slept. Each is waited for by its own id
//! (waiting for any tracee looks at all of them each time, 20 times as slow at 10,000 threads). As
//! in `one_at_a_time`, this is done by a thread of its own whose end lets go of those that did not
//! stop in time; these are then captured one at a time. So are all, when the time is up for which a
//! thread may be held. One that sleeps where a stop is felt is then read in place.

use std::mem;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;

use super::copy_helper::CopyQueue;
use super::draft::{Draft, Planned};
use super::fault::{self, Point};
use super::hold::{self, FloatingPoint, Held, NotHeld, Polling, Ringing};
use super::plan::plan_all;
use super::reaper::supervise;
use super::record::record_held;
use super::stack::{Position, STACK_LIMIT, STACK_ROOM, StackCopy, StackPlan};
use super::{loss, one_at_a_time};
use crate::capture::CaptureRequest;
use crate::model::{Cause, Reason, StopMode, ThreadState, Tid};
use crate::proc::{MemoryMap, ProcDir};
use crate::sys::alarm::Alarm;
use crate::sys::arena::{Piece, TracerStep};
use crate::sys::clock::Instant;
use crate::sys::ptrace::{self, RawRegisters, RegisterError};
use crate::sys::scheduling::Urgent;

/// How long to wait for one thread while others are held already, and how often in a row that may
/// be in vain: while one is waited for, hundreds of others stop.
const STOP_DEADLINE: Duration = Duration::from_millis(1);
const VAIN_WAITS: u32 = 3;
/// How often to look whether a deadline has passed.
const RING: Duration = Duration::from_micros(500);
/// What is set aside of the arena for each thread. Used stacks are rarely more than a few KiB; a
/// deeper one may use what shallow ones before it have left.
const SHARE_PER_THREAD: usize = 16 << 10;

/// One thread on its way through the stop; all slots exist before the first thread is stopped.
struct Slot {
    planned: Planned,
    interrupted: Instant,
    stage: Stage,
    registers: Option<Result<RawRegisters, RegisterError>>,
    floating_point: Option<FloatingPoint>,
    /// Where in the room the copy of its stack begins.
    at: usize,
    /// Its stack has been copied before the time was up.
    in_time: bool,
    copy: Option<StackCopy>,
    held_for: Duration,
}

enum Stage {
    NotSeized(Errno),
    NotInterrupted(Errno),
    Seized,
    Held(Held),
    NotHeld(NotHeld),
    LetGo,
    /// Let go before it was copied, because the time was up.
    OutOfTime,
}

/// Captures these threads while all of them are held.
pub(super) fn capture(draft: &mut Draft<'_>, tids: Vec<Tid>) {
    let now = Instant::now();
    let mut slots: Vec<Slot> = plan_all(draft, tids)
        .into_iter()
        .map(|planned| Slot {
            planned,
            interrupted: now,
            stage: Stage::Seized,
            registers: None,
            floating_point: None,
            at: 0,
            in_time: false,
            copy: None,
            held_for: Duration::ZERO,
        })
        .collect();
    // In the order in which they are let go.
    slots.sort_by_key(|slot| slot.planned.status.state != ThreadState::Running);
    let tids: Vec<Tid> = slots.iter().map(|slot| slot.planned.tid).collect();
    let size = slots.len().saturating_mul(SHARE_PER_THREAD).saturating_add(STACK_LIMIT).max(STACK_ROOM);
    let mut used = 0;
    draft.log.arena.room(size);
    if let Err(error) = supervise(&tids, draft.kill_timer, || used = hold_all(&mut slots, draft, size)) {
        for slot in &slots {
            draft.lost(&slot.planned, loss::no_thread(&error));
        }
        return;
    }
    draft.log.arena.progress_page().step(TracerStep::Between, 0);
    let kept = draft.log.arena.keep(used);
    let (all, mut late, mut out_of_time) = (slots.len(), Vec::new(), Vec::new());
    for slot in slots {
        match slot.stage {
            Stage::NotHeld(NotHeld::DidNotStop) => late.push(slot.planned.tid),
            Stage::OutOfTime => out_of_time.push(slot.planned.tid),
            _ => finish(slot, kept, draft),
        }
    }
    // Better a moment late than not at all; the notice says that they are not of the same moment as
    // the others.
    if all > 1 {
        for tid in &late {
            draft.log.notice(*tid, Reason::StoppedLate);
        }
    }
    if !out_of_time.is_empty() {
        draft.log.notice_process(Reason::Degraded { to: StopMode::OneAtATime, cause: Cause::Hold });
        late.append(&mut out_of_time);
    }
    let stop = mem::replace(&mut draft.progress.stop, StopMode::OneAtATime);
    one_at_a_time::capture(draft, late);
    draft.progress.stop = stop;
}

/// From the first stop to the last release; nothing in here allocates once the first is seized.
/// Returns how much of the room is in use.
fn hold_all(slots: &mut [Slot], draft: &mut Draft<'_>, size: usize) -> usize {
    let (room, page) = draft.log.arena.room_and_page(size);
    let queue = draft.view.memory.map(|memory| CopyQueue::new(slots.len(), memory, &draft.view.map));
    let used = thread::scope(|scope| {
        let helper = queue.as_ref().and_then(|queue| queue.helper(scope));
        let alarm = Alarm::new();
        let urgent = Urgent::enter();
        let watched = fault::no_allocation();
        seize_all(slots, draft.view.process);
        page.step(TracerStep::Holding, 0);
        draft.kill_timer.arm(draft.view.request.max_hold);
        let begun = Instant::now();
        // What is left of the time is for letting go: three microseconds each, and as much again.
        let threads = u32::try_from(slots.len()).unwrap_or(u32::MAX);
        let reserve = Duration::from_micros(6).saturating_mul(threads).min(draft.view.request.max_hold / 2);
        let until = begun.after(draft.view.request.max_hold - reserve);
        stop_all(slots, until, alarm.as_ref(), &mut draft.progress.polling);
        page.go_on(TracerStep::ReadingHeld);
        if let Some(queue) = &queue {
            queue.begin(until);
        }
        drop(helper);
        let used = read_registers(slots, until, &draft.view.map, draft.view.request, queue.as_ref(), room);
        copy_and_let_go(slots, queue.as_ref());
        if let Some(queue) = &queue {
            queue.end();
        }
        watched.end();
        page.held(begun);
        if slots.iter().all(Slot::is_free) {
            // The helper may yet wait for its turn, or for memory, which does no harm now.
            draft.kill_timer.disarm();
        }
        // Those that have not stopped are let go of when this thread has ended.
        urgent.into_iter().for_each(Urgent::for_good);
        used
    });
    for (slot, copy) in slots.iter_mut().zip(queue.into_iter().flat_map(CopyQueue::copies)) {
        slot.copy = copy;
    }
    used
}

fn seize_all(slots: &mut [Slot], process: &ProcDir) {
    for slot in slots {
        slot.stage = match fault::at(Point::Seize).and_then(|()| ptrace::seize(slot.planned.tid)) {
            Err(errno) => Stage::NotSeized(errno),
            Ok(()) if process.has_thread(slot.planned.tid) => Stage::Seized,
            // The id belongs to another thread now, which the kernel releases when this thread
            // ends.
            Ok(()) => Stage::NotHeld(NotHeld::Gone),
        };
    }
}

/// Stops each kind by itself: those that run go on running until all that sleep have stopped.
fn stop_all(slots: &mut [Slot], until: Instant, alarm: Option<&Alarm>, polling: &mut Polling) {
    let (running, sleeping) = slots.split_at_mut(running(slots));
    let ringing = alarm.map(|alarm| Ringing::every(alarm, RING));
    for kind in [sleeping, running] {
        for slot in kind.iter_mut().filter(|slot| matches!(slot.stage, Stage::Seized)) {
            slot.interrupted = Instant::now();
            if let Err(errno) = fault::at(Point::Interrupt).and_then(|()| ptrace::interrupt(slot.planned.tid)) {
                slot.stage = Stage::NotInterrupted(errno);
            }
        }
        let mut in_vain = 0;
        for slot in kind.iter_mut().filter(|slot| matches!(slot.stage, Stage::Seized)) {
            let patience = if in_vain < VAIN_WAITS { STOP_DEADLINE } else { Duration::ZERO };
            slot.stage = slot.wait(patience.min(until.since(Instant::now())), ringing.as_ref(), polling);
            match slot.stage {
                Stage::Held(_) => in_vain = 0,
                _ => in_vain += 1,
            }
        }
        // Those that were not waited for to the end have had time since.
        for slot in kind.iter_mut().filter(|slot| matches!(slot.stage, Stage::NotHeld(NotHeld::DidNotStop))) {
            slot.stage = slot.wait(Duration::ZERO, None, polling);
        }
    }
}

/// How many of them run. They come first.
fn running(slots: &[Slot]) -> usize {
    slots.partition_point(|slot| slot.planned.status.state == ThreadState::Running)
}

/// Reads the registers of those that are held, the last one's first, and plans with them where in
/// the room each stack is to be copied. Returns how much of the room that takes.
fn read_registers<'room>(
    slots: &mut [Slot],
    until: Instant,
    map: &MemoryMap,
    request: &CaptureRequest,
    queue: Option<&CopyQueue<'room>>,
    mut room: &'room mut [u8],
) -> usize {
    let mut used = 0;
    for (index, slot) in slots.iter_mut().enumerate().rev() {
        if let Some(queue) = queue {
            queue.planned_from(index + 1);
        }
        if !matches!(slot.stage, Stage::Held(_)) || Instant::now() >= until {
            continue;
        }
        let tid = slot.planned.tid;
        let registers =
            fault::at(Point::Registers).map_err(RegisterError::Kernel).and_then(|()| ptrace::registers(tid));
        if let (Ok(registers), Some(queue)) = (&registers, queue) {
            // Threads that are yet to come are owed their share.
            let most = room.len().saturating_sub(index * SHARE_PER_THREAD);
            let (memory, position) = (queue.memory, Position::held(registers));
            let limit = most.min(STACK_LIMIT);
            let plan = StackPlan::new(map, Some(memory), request.is_go, slot.planned.owner, position, limit);
            let length = plan.length(map, memory, || Instant::now() < until).min(most);
            let (piece, rest) = mem::take(&mut room).split_at_mut(length);
            room = rest;
            slot.at = used;
            used += length;
            queue.plan(index, plan, piece);
        }
        slot.floating_point = hold::floating_point(tid, request.floating_point);
        slot.registers = Some(registers);
    }
    if let Some(queue) = queue {
        queue.planned_from(0);
    }
    used
}

/// Copies the stacks of those that ran, lets go of them, and then does the same with those that
/// slept.
///
/// None is released before the last of its kind has been copied: one that wakes up takes a share
/// of the machine, and of the lock of its memory, from the copying of those that are still held.
fn copy_and_let_go(slots: &mut [Slot], queue: Option<&CopyQueue<'_>>) {
    let running = running(slots);
    for kind in [0..running, running..slots.len()] {
        for index in kind.clone() {
            slots[index].in_time = queue.is_none_or(|queue| queue.copy(index));
        }
        slots[kind].iter_mut().for_each(Slot::let_go);
    }
}

impl Slot {
    fn wait(&self, deadline: Duration, alarm: Option<&Ringing<'_>>, polling: &mut Polling) -> Stage {
        match hold::wait(self.planned.tid, Instant::now(), deadline, alarm, polling) {
            Ok(held) => Stage::Held(held),
            Err(not_held) => Stage::NotHeld(not_held),
        }
    }

    /// Whether it is certain that the thread runs on.
    fn is_free(&self) -> bool {
        matches!(self.stage, Stage::LetGo | Stage::OutOfTime | Stage::NotSeized(_))
    }

    /// Lets the thread run on, if it is held. One that was killed meanwhile is collected when this
    /// thread ends.
    fn let_go(&mut self) {
        let then = if self.registers.is_some() && self.in_time { Stage::LetGo } else { Stage::OutOfTime };
        match mem::replace(&mut self.stage, then) {
            Stage::Held(held) => {
                let _: Result<(), Errno> = held.release();
                self.held_for = self.interrupted.elapsed();
            }
            other => self.stage = other,
        }
    }
}

fn finish(slot: Slot, kept: Piece, draft: &mut Draft<'_>) {
    let Slot { planned, stage, registers, floating_point, at, copy, held_for, .. } = slot;
    let lost = match (stage, registers) {
        (Stage::NotSeized(errno), _) => loss::not_seized(draft.view.process, planned.tid, errno),
        (Stage::NotInterrupted(errno), _) => loss::not_interrupted(errno),
        (_, Some(Ok(registers))) => {
            let stack =
                copy.map(|copy| copy.record(Piece { offset: kept.offset + at as u64, length: copy.length() as u64 }));
            record_held(&planned, held_for, &registers, stack, floating_point, draft);
            return;
        }
        (_, Some(Err(error))) => loss::registers(error),
        (_, None) => Reason::ThreadGone,
    };
    draft.lost(&planned, lost);
}
