//! Every thread at once: one consistent moment, at the price of holding the first while the last is waited for.
//!
//! Threads are seized first, which stops nobody. Those that sleep are asked to stop first and those that run last; once all
//! have stopped, those that ran are copied and let go first, for they are the ones that lose time, and then those that
//! slept. Each is waited for by its own id (waiting for any tracee looks at all of them each time, 20 times as slow at
//! 10,000 threads). As in `alone`, this is done by a thread of its own whose end lets go of those that did not stop in
//! time; these are then captured one at a time. So are all, when the time is up for which a thread may be held.

use std::mem;
use std::time::Duration;

use nix::errno::Errno;

use super::alone::{self, FloatingPoint};
use super::copy::{self, STACK_LIMIT, StackCopy};
use super::fault::{self, Point};
use super::hold::{self, Held, NotHeld, Polling, Ringing};
use super::ladder::Planned;
use super::loss;
use super::snapshot::{Draft, plan_all};
use super::supervise::supervise;
use crate::model::{Cause, Reason, StopMode, ThreadState, Tid};
use crate::proc::MemoryMap;
use crate::sys::alarm::Alarm;
use crate::sys::arena::{Piece, Step};
use crate::sys::clock::Instant;
use crate::sys::memory::ProcessMemory;
use crate::sys::ptrace::{self, RawRegisters, RegisterError};
use crate::sys::scheduling::Urgent;

/// How long to wait for one thread while others are held already, and how often in a row that may be in vain: while one is
/// waited for, hundreds of others stop.
const STOP_DEADLINE: Duration = Duration::from_millis(1);
const VAIN_WAITS: u32 = 3;
/// How often to look whether a deadline has passed.
const RING: Duration = Duration::from_micros(500);
/// What is set aside of the arena for each thread. Used stacks are rarely more than a few KiB; a deeper one may use what
/// shallow ones before it have left. Where there are few threads each has room for all of its stack. That room
/// stays below what the arena keeps from one snapshot to the next: writing to fresh pages just before the stop leaves cold
/// caches for it.
const SHARE_PER_THREAD: usize = 16 << 10;
const ROOM_FOR_FEW: usize = 12 << 20;

/// One thread on its way through the stop; all slots exist before the first thread is stopped.
struct Slot {
    planned: Planned,
    interrupted: Instant,
    progress: Progress,
    registers: Option<Result<RawRegisters, RegisterError>>,
    floating_point: Option<FloatingPoint>,
    /// Where in the room the copy begins, and what is in it.
    copy: Option<(usize, StackCopy)>,
    held_for: Duration,
}

enum Progress {
    NotSeized(Errno),
    NotInterrupted(Errno),
    Seized,
    Held(Held),
    NotHeld(NotHeld),
    LetGo,
    /// Let go before it was copied, because the time was up.
    OutOfTime,
}

/// What there is to copy with and into.
struct Workspace<'a> {
    map: &'a MemoryMap,
    memory: Option<&'a ProcessMemory>,
    floating_point: bool,
    room: &'a mut [u8],
    used: usize,
    /// Threads that are yet to be copied, each of which is owed its share of the room.
    left: usize,
}

/// Captures these threads while all of them are held.
pub(super) fn capture(draft: &mut Draft<'_>, tids: Vec<Tid>) {
    let now = Instant::now();
    let mut slots: Vec<Slot> = plan_all(draft, tids)
        .into_iter()
        .map(|planned| Slot {
            planned,
            interrupted: now,
            progress: Progress::Seized,
            registers: None,
            floating_point: None,
            copy: None,
            held_for: Duration::ZERO,
        })
        .collect();
    // Sleeping threads first, running ones last.
    slots.sort_by_key(|slot| slot.planned.status.state == ThreadState::Running);
    let tids: Vec<Tid> = slots.iter().map(|slot| slot.planned.tid).collect();
    let enough = slots.len().saturating_mul(STACK_LIMIT).min(ROOM_FOR_FEW);
    let size = slots.len().saturating_mul(SHARE_PER_THREAD).saturating_add(STACK_LIMIT).max(enough);
    let mut used = 0;
    draft.arena.room(size);
    if let Err(error) = supervise(&tids, draft.kill_timer, || used = hold_all(&mut slots, draft, size)) {
        for slot in &slots {
            draft.lost(&slot.planned, loss::no_thread(&error));
        }
        return;
    }
    let kept = draft.arena.keep(used);
    let (mut late, mut out_of_time) = (Vec::new(), Vec::new());
    for slot in slots {
        match slot.progress {
            Progress::NotHeld(NotHeld::DidNotStop) => late.push(slot.planned.tid),
            Progress::OutOfTime => out_of_time.push(slot.planned.tid),
            _ => finish(slot, kept, draft),
        }
    }
    // Better a moment late than not at all; the notice says that they are not of the same moment as the others.
    for tid in &late {
        draft.notice(*tid, Reason::StoppedLate);
    }
    if !out_of_time.is_empty() {
        draft.notice_process(Reason::Degraded { to: StopMode::OneAtATime, cause: Cause::Hold });
        late.append(&mut out_of_time);
    }
    alone::capture(draft, late);
}

/// From the first stop to the last release; nothing in here allocates. Returns how much of the room is in use.
fn hold_all(slots: &mut [Slot], draft: &mut Draft<'_>, size: usize) -> usize {
    let alarm = Alarm::new();
    let urgent = Urgent::enter();
    for slot in slots.iter_mut() {
        slot.progress = match fault::at(Point::Seize).and_then(|()| ptrace::seize(slot.planned.tid)) {
            Err(errno) => Progress::NotSeized(errno),
            Ok(()) if draft.process.has_thread(slot.planned.tid) => Progress::Seized,
            // The id belongs to a stranger by now, who is let go of when this thread ends.
            Ok(()) => Progress::NotHeld(NotHeld::Gone),
        };
    }
    // What is left of the time is for letting go: three microseconds each, and as much again.
    let threads = u32::try_from(slots.len()).unwrap_or(u32::MAX);
    let reserve = Duration::from_micros(6).saturating_mul(threads).min(draft.order.max_hold / 2);
    let limit = draft.order.max_hold - reserve;
    draft.arena.step(Step::Holding, 0);
    draft.kill_timer.arm(draft.order.max_hold);
    let begun = Instant::now();
    // Each kind is asked and waited for by itself: those that run go on running until all that sleep have stopped.
    let sleeping = slots.partition_point(|slot| slot.planned.status.state != ThreadState::Running);
    let (sleeping, running) = slots.split_at_mut(sleeping);
    let ringing = alarm.as_ref().map(|alarm| Ringing::every(alarm, RING));
    for kind in [&mut *sleeping, &mut *running] {
        for slot in kind.iter_mut().filter(|slot| matches!(slot.progress, Progress::Seized)) {
            slot.interrupted = Instant::now();
            if let Err(errno) = fault::at(Point::Interrupt).and_then(|()| ptrace::interrupt(slot.planned.tid)) {
                slot.progress = Progress::NotInterrupted(errno);
            }
        }
        let mut in_vain = 0;
        for slot in kind.iter_mut().filter(|slot| matches!(slot.progress, Progress::Seized)) {
            let patience = if in_vain < VAIN_WAITS { STOP_DEADLINE } else { Duration::ZERO };
            let deadline = patience.min(limit.saturating_sub(begun.elapsed()));
            slot.progress = slot.wait(deadline, ringing.as_ref(), &mut draft.polling);
            match slot.progress {
                Progress::Held(_) => in_vain = 0,
                _ => in_vain += 1,
            }
        }
        // Those that were not waited for to the end have had time since.
        for slot in kind.iter_mut().filter(|slot| matches!(slot.progress, Progress::NotHeld(NotHeld::DidNotStop))) {
            slot.progress = slot.wait(Duration::ZERO, None, &mut draft.polling);
        }
    }
    drop(ringing);
    draft.arena.step(Step::ReadingHeld, 0);
    let mut workspace = Workspace {
        map: &draft.map,
        memory: draft.memory,
        floating_point: draft.order.floating_point,
        room: draft.arena.room(size),
        used: 0,
        left: running.len() + sleeping.len(),
    };
    // Nobody is let go of before the last of its kind has been copied: one that wakes up takes a share of the machine, and of
    // the lock of its memory, from the copying of those that are still held.
    for kind in [running, sleeping] {
        for slot in kind.iter_mut() {
            workspace.left -= 1;
            if matches!(slot.progress, Progress::Held(_)) && begun.elapsed() < limit {
                slot.copy_into(&mut workspace);
            }
        }
        for slot in kind {
            slot.let_go();
        }
    }
    let used = workspace.used;
    // Those that have not stopped are let go of when this thread has ended.
    urgent.into_iter().for_each(Urgent::for_good);
    draft.arena.held(begun);
    draft.arena.step(Step::Between, 0);
    used
}

impl Slot {
    fn wait(&self, deadline: Duration, alarm: Option<&Ringing<'_>>, polling: &mut Polling) -> Progress {
        match hold::wait(self.planned.tid, Instant::now(), deadline, alarm, polling) {
            Ok(held) => Progress::Held(held),
            Err(not_held) => Progress::NotHeld(not_held),
        }
    }

    /// Lets the thread run on, if it is held. One that was killed meanwhile is collected when this thread ends.
    fn let_go(&mut self) {
        let then = if self.registers.is_some() { Progress::LetGo } else { Progress::OutOfTime };
        match mem::replace(&mut self.progress, then) {
            Progress::Held(held) => {
                let _: Result<(), Errno> = held.release();
                self.held_for = self.interrupted.elapsed();
            }
            other => self.progress = other,
        }
    }

    /// Copies registers and stack while the thread is held.
    fn copy_into(&mut self, workspace: &mut Workspace<'_>) {
        let tid = self.planned.tid;
        let registers =
            fault::at(Point::Registers).map_err(RegisterError::Kernel).and_then(|()| ptrace::registers(tid));
        if let (Ok(registers), Some(memory)) = (&registers, workspace.memory) {
            let room = &mut workspace.room[workspace.used..];
            let limit = room.len().saturating_sub(workspace.left * SHARE_PER_THREAD).min(STACK_LIMIT);
            let copy = copy::stack(workspace.map, memory, self.planned.owner, registers, &mut room[..limit]);
            self.copy = Some((workspace.used, copy));
            workspace.used += self.copy.as_ref().map_or(0, |(_, copy)| copy.length());
        }
        self.floating_point = alone::floating_point(tid, workspace.floating_point);
        self.registers = Some(registers);
    }
}

fn finish(slot: Slot, kept: Piece, draft: &mut Draft<'_>) {
    let Slot { planned, progress, registers, floating_point, copy, held_for, .. } = slot;
    let lost = match (progress, registers) {
        (Progress::NotSeized(errno), _) => loss::not_seized(draft.process, planned.tid, errno),
        (Progress::NotInterrupted(errno), _) => loss::not_interrupted(errno),
        (_, Some(Ok(registers))) => {
            let stack = copy
                .map(|(at, copy)| copy.record(Piece { offset: kept.offset + at as u64, length: copy.length() as u64 }));
            alone::record_held(&planned, held_for, &registers, stack, floating_point, draft);
            return;
        }
        (_, Some(Err(error))) => loss::registers(error),
        (_, None) => Reason::ThreadGone,
    };
    draft.lost(&planned, lost);
}
