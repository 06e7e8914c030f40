//! Every thread at once: one consistent moment, at the price of holding the first while the last is copied.
//!
//! Threads are seized first, which stops nobody; then all are asked to stop, waited for one by one (waitpid on any tracee
//! looks at all of them each time, 20 times as slow at 10,000 threads), copied, and let go. As in `alone`, this is done
//! by a thread of its own whose end lets go of those that did not stop in time; these are then captured one at a time.

use std::mem;
use std::time::Duration;

use nix::errno::Errno;

use super::alone;
use super::arena::Arena;
use super::copy::{self, StackCopy};
use super::extent::Owner;
use super::hold::{self, Held, NotHeld};
use super::loss;
use super::supervise::supervise;
use super::{CapturedThread, Context, Draft, Planned, StackBytes, plan_hold};
use crate::model::{Hold, Reason, Tid};
use crate::proc::ProcDir;
use crate::sys::alarm::Alarm;
use crate::sys::clock::Instant;
use crate::sys::ptrace::{self, RawRegisters, RegisterError};

/// How long to wait for one thread while others are held already, and how long in vain for all of them.
const STOP_DEADLINE: Duration = Duration::from_millis(2);
const WASTE_LIMIT: Duration = Duration::from_millis(6);

/// One thread on its way through the stop; all slots exist before the first thread is stopped.
struct Slot {
    planned: Planned,
    interrupted: Instant,
    progress: Progress,
    registers: Option<Result<RawRegisters, RegisterError>>,
    owner: Owner,
    /// Where in the arena the copy begins, and what is in it.
    copy: Option<(usize, StackCopy)>,
    held_for: Duration,
}

enum Progress {
    NotSeized(Errno),
    Seized,
    Held(Held),
    NotHeld(NotHeld),
    LetGo,
}

/// Captures these threads while all of them are held.
pub(super) fn capture(process: &ProcDir, tids: Vec<Tid>, draft: &mut Draft<'_>, arena: &mut Arena) {
    let planned: Vec<Planned> = tids.into_iter().filter_map(|tid| plan_hold(process, tid, draft)).collect();
    let now = Instant::now();
    let mut slots: Vec<Slot> = planned
        .into_iter()
        .map(|planned| Slot {
            owner: planned.owner(process),
            planned,
            interrupted: now,
            progress: Progress::Seized,
            registers: None,
            copy: None,
            held_for: Duration::ZERO,
        })
        .collect();
    let buffer = arena.many(slots.len());
    let tids: Vec<Tid> = slots.iter().map(|slot| slot.planned.tid).collect();
    supervise(&tids, || hold_all(&mut slots, draft, buffer));
    let mut late = Vec::new();
    for slot in slots {
        if let Progress::NotHeld(NotHeld::DidNotStop) = slot.progress {
            late.push(slot.planned.tid);
        } else {
            finish(process, slot, draft, buffer);
        }
    }
    // Better a moment late than not at all; the notice says that they are not of the same moment as the others.
    for tid in &late {
        draft.notice(*tid, Reason::StoppedLate);
    }
    alone::capture(process, late, draft, arena);
}

/// From the first stop to the last release; nothing in here allocates.
fn hold_all(slots: &mut [Slot], draft: &Draft<'_>, buffer: &mut [u8]) {
    let alarm = Alarm::new();
    for slot in slots.iter_mut() {
        if let Err(errno) = ptrace::seize(slot.planned.tid) {
            slot.progress = Progress::NotSeized(errno);
        }
    }
    for slot in slots.iter_mut().filter(|slot| matches!(slot.progress, Progress::Seized)) {
        slot.interrupted = Instant::now();
        if ptrace::interrupt(slot.planned.tid).is_err() {
            slot.progress = Progress::NotHeld(NotHeld::Gone);
        }
    }
    let mut wasted = Duration::ZERO;
    for slot in slots.iter_mut().filter(|slot| matches!(slot.progress, Progress::Seized)) {
        let begun = Instant::now();
        let deadline = STOP_DEADLINE.min(WASTE_LIMIT.saturating_sub(wasted));
        slot.progress = match hold::wait(slot.planned.tid, begun, deadline, alarm.as_ref()) {
            Ok(held) => Progress::Held(held),
            Err(not_held) => {
                wasted += begun.elapsed();
                Progress::NotHeld(not_held)
            }
        };
    }
    let mut used = 0;
    for slot in slots.iter_mut().filter(|slot| matches!(slot.progress, Progress::Held(_))) {
        let registers = ptrace::registers(slot.planned.tid);
        if let Ok(registers) = &registers {
            let copy = copy::stack(&draft.map, draft.memory, slot.owner, registers, &mut buffer[used..]);
            let length = copy.length();
            slot.copy = Some((used, copy));
            used += length;
        }
        slot.registers = Some(registers);
    }
    for slot in slots.iter_mut() {
        slot.progress = match mem::replace(&mut slot.progress, Progress::LetGo) {
            Progress::Held(held) => {
                // One that was killed meanwhile is collected when this thread ends.
                let _: Result<(), Errno> = held.release();
                slot.held_for = slot.interrupted.elapsed();
                Progress::LetGo
            }
            other => other,
        };
    }
}

fn finish(process: &ProcDir, slot: Slot, draft: &mut Draft<'_>, buffer: &[u8]) {
    let Slot { planned, progress, registers, copy, held_for, .. } = slot;
    let tid = planned.tid;
    let lost = match (progress, registers) {
        (Progress::NotSeized(errno), _) => loss::not_seized(process, tid, errno),
        (_, Some(Ok(registers))) => {
            let stack = copy.map(|(at, copy)| copy.keep(&buffer[at..]));
            let stack = stack.unwrap_or(Ok(StackBytes::default())).unwrap_or_else(|errno| {
                draft.notice(tid, loss::memory(errno, &registers));
                StackBytes::default()
            });
            draft.threads.push(CapturedThread {
                tid,
                status: planned.status,
                hold: Hold::Held(held_for),
                context: Context::Full(Box::new(registers)),
                stack,
            });
            return;
        }
        (_, Some(Err(error))) => loss::registers(error),
        (_, None) => Reason::ThreadGone,
    };
    draft.lost(planned, lost);
}
