//! Threads that wait for a CPU before they can stop: each is held when its turn comes.
//!
//! A thread stops when the scheduler next runs it. To wait for that is not to hold it: many are
//! asked at once, so that all of their turns take as long as one round of the scheduler, each is
//! copied the moment it has stopped and let go at once, and the others are waited for. The time for
//! which a thread may be held begins at the last moment at which none of them had stopped. It is
//! counted from there, and the kernel's timer runs from there: it is set again while none has.
//!
//! Those that do not sleep come first. Those that were read in place come after them, for a part of
//! the time that the snapshot has taken, and what is not held by then is said. As in
//! `one_at_a_time`, this is done by threads whose end lets go of what has not stopped.

use std::thread;
use std::time::Duration;

use nix::errno::Errno;

use super::draft::{Draft, Planned};
use super::fault::{self, Point};
use super::hold::{self, FloatingPoint, Held, Ringing};
use super::loss;
use super::plan::{self, Now};
use super::reaper::supervise;
use super::record::record_held;
use super::stack::{Position, STACK_LIMIT, STACK_ROOM, StackCopy, StackPlan};
use crate::model::{Reason, Tid};
use crate::sys::alarm::Alarm;
use crate::sys::arena::{Piece, TracerStep};
use crate::sys::clock::Instant;
use crate::sys::ptrace::{self, RawRegisters, RegisterError, Wait};
use crate::sys::scheduling::Urgent;

/// How many are asked at once. Of those that run as many as are copied within a fraction of a hold
/// should all stop together; those that sleep wake up together, so they are fewer.
const RUNNING: usize = 256;
const ASLEEP: usize = 32;
/// For how long none of them may stop before the rest are given up: thirty programs for each CPU
/// take some 100 ms for a round.
const TURN_TIMEOUT: Duration = Duration::from_millis(250);
/// For how long all of them are waited for.
const LONGEST: Duration = Duration::from_secs(5);
/// The time between two looks at threads that are on their way out of a call.
const AGAIN: Duration = Duration::from_millis(1);
/// How often one that runs is asked.
const ATTEMPTS: u32 = 3;
/// How often the kernel's timer is set again while none has stopped.
const RING: Duration = Duration::from_micros(250);
/// What is set aside of the arena for each; a deeper stack may use what those before it have left.
const SHARE: usize = 16 << 10;
/// Those that were read in place are held for at least this long, and for this part of the time
/// that was taken already.
const LEAST_FOR_ASLEEP: Duration = Duration::from_millis(100);
const PART_FOR_ASLEEP: u32 = 4;

/// One thread that is asked to stop; all slots exist before the first is.
struct Slot {
    planned: Planned,
    state: State,
    /// What was copied of it, unless it was let go before that.
    copied: Option<Copied>,
}

enum State {
    /// It has not stopped yet.
    Asked,
    NotSeized(Errno),
    NotInterrupted(Errno),
    Gone,
    /// It has stopped, and runs on. It was not copied if others had been held for so long that it
    /// was let go at once.
    LetGo,
    /// It was not held, and sleeps where it is not to be.
    Sleeps,
}

struct Copied {
    registers: Result<RawRegisters, RegisterError>,
    floating_point: Option<FloatingPoint>,
    stack: Option<StackCopy>,
    /// Where in the room its stack begins.
    at: usize,
    held: Duration,
}

/// Holds those that run, and then, as far as there is time, those that have been read in place
/// since `begun`.
pub(super) fn capture(draft: &mut Draft<'_>, running: Vec<Planned>, asleep: Vec<Planned>, begun: Instant) {
    // Should the tracer die over this it has been said.
    draft.log.note_not_held(asleep.len(), 0);
    let until = Instant::now().after(LONGEST);
    let mut waiting = running;
    let (mut attempt, asking, cpu_timeout) = (1, Instant::now(), hold::cpu_timeout());
    while attempt <= ATTEMPTS && !waiting.is_empty() {
        let (mut again, mut asked) = (Vec::new(), 0);
        // One that is on its way out of a call is not asked before it has left it, which takes a
        // round of the scheduler.
        let may_leave = asking.elapsed() < cpu_timeout;
        while !waiting.is_empty() {
            let rest = waiting.split_off(RUNNING.min(waiting.len()));
            for slot in one_round(draft, waiting, until) {
                asked += u32::from(!matches!(slot.state, State::Sleeps));
                again.extend(settle(slot, attempt == ATTEMPTS && !may_leave, draft));
            }
            waiting = rest;
        }
        waiting = again;
        if asked == 0 && may_leave {
            thread::sleep(AGAIN);
        } else {
            attempt += 1;
        }
    }
    // Those that were always on their way out of a call.
    for planned in waiting {
        draft.lost(&planned, Reason::Unsteady);
    }
    let time = (begun.elapsed() / PART_FOR_ASLEEP).max(LEAST_FOR_ASLEEP);
    let until = Instant::now().after(time);
    let mut waiting = asleep;
    while !waiting.is_empty() && Instant::now() < until {
        let rest = waiting.split_off(ASLEEP.min(waiting.len()));
        let mut held = 0;
        for slot in one_round(draft, waiting, until) {
            if matches!(slot.copied, Some(Copied { registers: Ok(_), .. })) {
                held += 1;
                settle(slot, true, draft);
            } else {
                // What was read in place remains; it is as it should be where a stop would disturb
                // the thread now.
                held += usize::from(matches!(slot.state, State::Sleeps));
            }
        }
        draft.log.note_not_held(0, held);
        waiting = rest;
    }
}

/// Records what has become of a thread. It is returned if it is to be asked again.
fn settle(slot: Slot, is_last: bool, draft: &mut Draft<'_>) -> Option<Planned> {
    let Slot { planned, state, copied } = slot;
    let reason = match (state, copied) {
        (_, Some(Copied { registers: Ok(registers), floating_point, stack, at, held })) => {
            let stack = stack.map(|stack| stack.record(Piece { offset: at as u64, length: stack.length() as u64 }));
            record_held(&planned, held, &registers, stack, floating_point, draft);
            return None;
        }
        (_, Some(Copied { registers: Err(error), .. })) => loss::registers(error),
        (State::Gone, _) => Reason::ThreadGone,
        (state @ (State::Asked | State::LetGo | State::Sleeps), _) => {
            if plan::read_instead(&planned, draft) {
                // Of one that sleeps where a stop would disturb it nothing is missing.
                if !matches!(plan::now(&planned, draft), Now::ReadInPlace) {
                    draft.log.note_not_held(1, 0);
                }
                return None;
            }
            if !is_last {
                return Some(planned);
            }
            match state {
                State::LetGo => loss::held_too_long(draft.view.request.max_hold),
                State::Sleeps => Reason::Unsteady,
                _ => loss::did_not_stop(TURN_TIMEOUT),
            }
        }
        (State::NotInterrupted(errno), _) => loss::not_interrupted(errno),
        (State::NotSeized(errno), _) => {
            if plan::read_instead(&planned, draft) {
                return None;
            }
            loss::not_seized(draft.view.process, planned.tid, errno)
        }
    };
    draft.lost(&planned, reason);
    None
}

/// Asks all of these to stop, and copies each as it does. Nothing is held when this returns.
fn one_round(draft: &mut Draft<'_>, threads: Vec<Planned>, until: Instant) -> Vec<Slot> {
    let mut slots: Vec<Slot> =
        threads.into_iter().map(|planned| Slot { planned, state: State::Asked, copied: None }).collect();
    slots.sort_unstable_by_key(|slot| slot.planned.tid);
    let tids: Vec<Tid> = slots.iter().map(|slot| slot.planned.tid).collect();
    let size = slots.len().saturating_mul(SHARE).saturating_add(STACK_ROOM);
    // All pages of it have been written to when this returns.
    draft.log.arena.room(size);
    let mut used = 0;
    if supervise(&tids, draft.kill_timer, || used = hold_each(&mut slots, draft, size, until)).is_err() {
        return slots;
    }
    draft.log.arena.progress_page().step(TracerStep::Between, 0);
    let kept = draft.log.arena.keep(used);
    for slot in &mut slots {
        if let Some(copied) = &mut slot.copied {
            copied.at += usize::try_from(kept.offset).unwrap_or_default();
        }
    }
    slots
}

/// From the first seizure to the last release; nothing in here allocates after the first seizure.
/// Returns how much of the room is in use.
fn hold_each(slots: &mut [Slot], draft: &mut Draft<'_>, size: usize, until: Instant) -> usize {
    let Some(alarm) = Alarm::new() else {
        return 0;
    };
    let max_hold = draft.view.request.max_hold;
    // Between the look and the request nothing delays this thread: one that was seen running may
    // enter a call meanwhile.
    let urgent = Urgent::enter();
    for slot in &mut *slots {
        slot.state = match plan::now(&slot.planned, draft) {
            Now::Hold => State::Asked,
            Now::ReadInPlace => State::Sleeps,
            Now::Gone => State::Gone,
        };
    }
    draft.log.arena.progress_page().step(TracerStep::Holding, 0);
    // A signal may stop a thread as soon as it is seized.
    draft.kill_timer.arm(max_hold);
    let began = Instant::now();
    let watched = fault::no_allocation();
    for slot in &mut *slots {
        if matches!(slot.state, State::Asked) {
            slot.state = match fault::at(Point::Seize).and_then(|()| ptrace::seize(slot.planned.tid)) {
                Err(errno) => State::NotSeized(errno),
                Ok(()) if draft.view.process.has_thread(slot.planned.tid) => State::Asked,
                // The id belongs to a stranger, who is let go of when this thread ends.
                Ok(()) => State::Gone,
            };
        }
    }
    let (room, page) = draft.log.arena.room_and_page(size);
    let mut free_at = began;
    let mut pending = 0_usize;
    for slot in &mut *slots {
        if matches!(slot.state, State::Asked) {
            match fault::at(Point::Interrupt).and_then(|()| ptrace::interrupt(slot.planned.tid)) {
                Ok(()) => pending += 1,
                Err(errno) => slot.state = State::NotInterrupted(errno),
            }
        }
    }
    let ringing = Ringing::every(&alarm, RING);
    let mut used = 0;
    let mut arrived_at = free_at;
    while pending > 0 && fault::at(Point::Wait).is_ok() && !fault::is_late(Point::Wait) {
        let looked_at = Instant::now();
        let mut seen = ptrace::poll_any();
        if let Some((_, Wait::NotYet)) = seen {
            // None had stopped then: the time for which one may be held begins there at the
            // earliest.
            free_at = looked_at;
            if free_at >= until || free_at.since(arrived_at) >= TURN_TIMEOUT {
                break;
            }
            draft.kill_timer.arm(max_hold.saturating_sub(free_at.elapsed()));
            page.step(TracerStep::Holding, 0);
            seen = ptrace::sleep_until_any_stopped();
        }
        let (tid, signal) = match seen {
            None => break,
            Some((_, Wait::NotYet)) => continue,
            Some((tid, Wait::Gone)) => (tid, None),
            Some((tid, Wait::Stopped(signal))) => (tid, Some(signal)),
        };
        let index = slots.binary_search_by_key(&tid, |slot| slot.planned.tid);
        let Some(slot) = index.ok().and_then(|index| slots.get_mut(index)) else {
            // It cannot be; but what is stopped is let go.
            signal.into_iter().for_each(|signal| drop(Held::found(tid, signal)));
            continue;
        };
        if !matches!(slot.state, State::Asked) {
            // It was killed while it was held, or stopped again on its own account.
            signal.into_iter().for_each(|signal| drop(Held::found(tid, signal)));
            continue;
        }
        pending -= 1;
        let Some(signal) = signal else {
            slot.state = State::Gone;
            continue;
        };
        page.go_on(TracerStep::ReadingHeld);
        let held = Held::found(tid, signal);
        let in_time = || free_at.elapsed() < max_hold / 2;
        let copied = in_time().then(|| {
            let registers =
                fault::at(Point::Registers).map_err(RegisterError::Kernel).and_then(|()| ptrace::registers(tid));
            let floating_point = hold::floating_point(tid, draft.view.request.floating_point);
            // Threads that are yet to come are owed their share.
            let end = room.len().saturating_sub(pending.saturating_mul(SHARE)).max(used);
            let stack = registers.as_ref().ok().zip(draft.view.memory).map(|(registers, memory)| {
                let position = Position::held(registers);
                let (map, owner) = (&draft.view.map, slot.planned.owner);
                let plan =
                    StackPlan::new(map, draft.view.memory, draft.view.request.is_go, owner, position, STACK_LIMIT);
                plan.copy(map, memory, &mut room[used..end], in_time)
            });
            (registers, floating_point, stack)
        });
        // An error says that it was killed while it was held.
        let _: Result<(), Errno> = held.release();
        let held = free_at.elapsed();
        arrived_at = Instant::now();
        slot.state = State::LetGo;
        if let Some((registers, floating_point, stack)) = copied {
            let at = used;
            used += stack.as_ref().map_or(0, StackCopy::length).next_multiple_of(16);
            used = used.min(room.len());
            slot.copied = Some(Copied { registers, floating_point, stack, at, held });
        }
    }
    watched.end();
    drop(ringing);
    page.held(began);
    if pending == 0 {
        draft.kill_timer.disarm();
    }
    // Those that have not stopped are let go of when this thread has ended.
    urgent.into_iter().for_each(Urgent::for_good);
    used
}
