//! One thread at a time: while one is held, all others run.
//!
//! Threads are held by a thread of the tracer that exists for this purpose only. When a tracee does
//! not stop in time it can be neither held nor let go (a running tracee cannot be detached), but
//! the kernel lets go of all tracees of a thread that ends: so the tracing thread ends, the tracee
//! is read in place if it sleeps, and another thread goes on with the next one.
//!
//! Where thread after thread does not stop in time the CPUs are busy. No other is waited for then:
//! those that sleep are read in place, and all that were to be held are held in the end as their
//! turns come (`by_turns`).

use std::collections::{HashSet, VecDeque};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;

use super::draft::{Draft, Planned};
use super::fault::{self, Point};
use super::hold::{self, FloatingPoint, NotHeld, Ringing, cpu_timeout, floating_point};
use super::plan::{self, Plan, StopHistory};
use super::reaper::supervise;
use super::record::record_held;
use super::stack::{Position, STACK_LIMIT, StackCopy, StackPlan};
use super::{by_turns, loss};
use crate::model::{Reason, StopMode, Tid};
use crate::sys::alarm::Alarm;
use crate::sys::arena::TracerStep;
use crate::sys::clock::Instant;
use crate::sys::ptrace::{self, RawRegisters, RegisterError};
use crate::sys::scheduling::Urgent;

/// How long to wait for one thread to stop. One that sleeps needs some 10 us and one that runs some
/// 30; one that needs longer waits for a CPU, or does not stop at all: it is held when its turn
/// comes (`by_turns`).
const STOP_DEADLINE: Duration = Duration::from_micros(400);

/// How often such a thread is looked at. No thread is held meanwhile.
const AGAIN: Duration = Duration::from_micros(200);

/// How much a thread weighs that does not stop in time, beside one that does, and from which weight
/// on no other is waited for.
const MISS: u32 = 4;
const PRESSURE: u32 = 3 * MISS;

/// A thread that is yet to be captured.
struct Task {
    tid: Tid,
    /// A tracer died over it.
    is_suspect: bool,
    /// Since when it is looked at again.
    postponed: Option<Instant>,
}

/// What has become of the threads, as far as they are not done.
#[derive(Default)]
struct Unfinished {
    /// They did not stop in time, or would not have, and do not sleep.
    running: Vec<Planned>,
    /// The same, but they were read in place.
    asleep: Vec<Planned>,
    pressure: u32,
    /// How long to look again at one that is on its way out of a call.
    cpu_timeout: Duration,
}

/// Captures each of these threads by itself.
pub(super) fn capture(draft: &mut Draft<'_>, tids: Vec<Tid>) {
    let begun = Instant::now();
    let suspects: HashSet<Tid> = draft.view.suspects.iter().copied().collect();
    let mut remaining: VecDeque<Task> =
        tids.into_iter().map(|tid| Task { tid, is_suspect: suspects.contains(&tid), postponed: None }).collect();
    let mut unfinished = Unfinished { cpu_timeout: cpu_timeout(), ..Unfinished::default() };
    while !remaining.is_empty() {
        let mut stuck = None;
        let kill_timer = draft.kill_timer;
        let stop = draft.progress.stop;
        let mut work = || stuck = trace(&mut remaining, draft, &mut unfinished);
        let traced = match stop {
            // Nothing will be held, and what holding needs may be forbidden.
            StopMode::None => {
                work();
                Ok(())
            }
            // It has one tracee at a time, and collects that itself: none is left when the next is
            // seized.
            StopMode::OneAtATime | StopMode::All => supervise(&[], kill_timer, work),
        };
        if let Err(error) = traced {
            for Task { tid, .. } in remaining.drain(..) {
                draft.log.notice(tid, loss::no_thread(&error));
            }
        }
        if let Some(planned) = stuck {
            unfinished.pressure += MISS;
            match plan::read_instead(&planned, draft) {
                true => unfinished.asleep.push(planned),
                false => unfinished.running.push(planned),
            }
        }
    }
    by_turns::capture(draft, unfinished.running, unfinished.asleep, begun);
}

/// Captures threads until there are none left, or one of them could not be let go in order: it did
/// not stop, and is returned, or ended while we were its tracer. The end of this thread lets go of
/// it, and the next thread is not seized with it in our hands.
fn trace(remaining: &mut VecDeque<Task>, draft: &mut Draft<'_>, unfinished: &mut Unfinished) -> Option<Planned> {
    let alarm = Alarm::new();
    while let Some(Task { tid, is_suspect, postponed }) = remaining.pop_front() {
        if postponed.is_some() {
            thread::sleep(AGAIN);
        }
        let history = match is_suspect || unfinished.pressure >= PRESSURE {
            true => StopHistory::DidNotStop,
            false => StopHistory::None,
        };
        let planned = match plan::plan(tid, history, draft) {
            Plan::Done => continue,
            // Another tracer is not to die over it.
            Plan::ReadInstead(_) if is_suspect => {
                draft.log.note_not_held(1, 0);
                continue;
            }
            Plan::ReadInstead(planned) => {
                unfinished.asleep.push(planned);
                continue;
            }
            Plan::Runs(planned) => {
                unfinished.running.push(planned);
                continue;
            }
            Plan::Hold(planned) => planned,
            Plan::Later(planned, reason) => {
                let since = postponed.unwrap_or_else(Instant::now);
                match since.elapsed() < unfinished.cpu_timeout {
                    true => remaining.push_back(Task { tid, is_suspect, postponed: Some(since) }),
                    // It has been running, or waiting for a CPU, all the time.
                    false if is_suspect && draft.progress.stop != StopMode::None => {
                        unfinished.running.push(planned);
                    }
                    false => draft.lost(&planned, reason),
                }
                continue;
            }
        };
        let deadline = STOP_DEADLINE.min(draft.view.request.max_hold / 2);
        match hold_and_copy(&planned, draft, deadline, alarm.as_ref()) {
            Ok(copied) => {
                unfinished.pressure = unfinished.pressure.saturating_sub(1);
                let released = copied.released;
                let lacks_room = |stack| draft.progress.needs_more_room(stack);
                if released.is_ok() && copied.stack.as_ref().is_some_and(lacks_room) {
                    remaining.push_front(Task { tid, is_suspect, postponed });
                    continue;
                }
                finish(&planned, copied, draft);
                if released.is_err() {
                    return None;
                }
            }
            Err(Failure::DidNotStop) => return Some(planned),
            Err(Failure::Gone) => {
                draft.lost(&planned, Reason::ThreadGone);
                return None;
            }
            Err(Failure::NotInterrupted(errno)) => {
                draft.lost(&planned, loss::not_interrupted(errno));
                return None;
            }
            Err(Failure::NotSeized(errno)) => {
                // A thread that may not be traced, or is traced by another process, can still be
                // read in place while it sleeps.
                if !plan::read_instead(&planned, draft) {
                    let reason = loss::not_seized(draft.view.process, tid, errno);
                    draft.lost(&planned, reason);
                }
            }
            Err(Failure::Registers(error)) => {
                draft.lost(&planned, loss::registers(error));
                return None;
            }
        }
    }
    None
}

/// What was copied of a held thread, by way of the room that the arena gave.
struct Copied {
    registers: RawRegisters,
    stack: Option<StackCopy>,
    floating_point: Option<FloatingPoint>,
    held: Duration,
    /// An error says that the thread was killed while it was held.
    released: Result<(), Errno>,
}

enum Failure {
    NotSeized(Errno),
    NotInterrupted(Errno),
    Gone,
    DidNotStop,
    Registers(RegisterError),
}

/// Holds the thread, copies its registers and stack, lets it go. Nothing in here allocates before
/// the release.
fn hold_and_copy(
    planned: &Planned,
    draft: &mut Draft<'_>,
    deadline: Duration,
    alarm: Option<&Alarm>,
) -> Result<Copied, Failure> {
    let tid = planned.tid;
    // All pages of it have been written to when this returns.
    let size = draft.progress.stack_room;
    draft.log.arena.room(size);
    let urgent = Urgent::enter();
    let alarm = alarm.map(|alarm| Ringing::every(alarm, deadline));
    let watched = fault::no_allocation();
    fault::at(Point::Seize).and_then(|()| ptrace::seize(tid)).map_err(Failure::NotSeized)?;
    if !draft.view.process.has_thread(tid) {
        // The id belongs to another thread now, which the kernel releases when this thread ends.
        return Err(Failure::Gone);
    }
    draft.log.arena.progress_page().step(TracerStep::Holding, tid.0);
    draft.kill_timer.arm(draft.view.request.max_hold);
    let begun = Instant::now();
    fault::at(Point::Interrupt).and_then(|()| ptrace::interrupt(tid)).map_err(Failure::NotInterrupted)?;
    let held = match hold::wait(tid, begun, deadline, alarm.as_ref(), &mut draft.progress.polling) {
        Ok(held) => held,
        Err(not_held) => {
            // It may stop at any moment now, and be held until this thread has ended.
            urgent.into_iter().for_each(Urgent::for_good);
            return Err(match not_held {
                NotHeld::Gone => Failure::Gone,
                NotHeld::DidNotStop => Failure::DidNotStop,
            });
        }
    };
    let registers = fault::at(Point::Registers).map_err(RegisterError::Kernel).and_then(|()| ptrace::registers(tid));
    let copied = registers.map(|registers| {
        let floating_point = floating_point(tid, draft.view.request.floating_point);
        draft.log.arena.progress_page().go_on(TracerStep::ReadingHeld);
        let room = draft.log.arena.room(size);
        let position = Position::held(&registers);
        let plan = StackPlan::new(
            &draft.view.map,
            draft.view.memory,
            draft.view.request.is_go,
            planned.owner,
            position,
            STACK_LIMIT,
        );
        let in_time = || begun.elapsed() < draft.view.request.max_hold / 2;
        let stack = draft.view.memory.map(|memory| plan.copy(&draft.view.map, memory, room, in_time));
        (registers, stack, floating_point)
    });
    let released = held.release();
    let held = begun.elapsed();
    watched.end();
    drop(alarm);
    match released {
        Ok(()) => {
            draft.kill_timer.disarm();
            drop(urgent);
        }
        Err(_) => urgent.into_iter().for_each(Urgent::for_good),
    }
    draft.log.arena.progress_page().held(begun);
    draft.log.arena.progress_page().step(TracerStep::Between, tid.0);
    match copied {
        Ok((registers, stack, floating_point)) => Ok(Copied { registers, stack, floating_point, held, released }),
        Err(error) => Err(Failure::Registers(error)),
    }
}

fn finish(planned: &Planned, copied: Copied, draft: &mut Draft<'_>) {
    let Copied { registers, stack, floating_point, held, .. } = copied;
    let stack = stack.map(|stack| {
        // It lies at the beginning of the arena's room.
        let kept = draft.log.arena.keep(stack.length());
        stack.record(kept)
    });
    record_held(planned, held, &registers, stack, floating_point, draft);
}
