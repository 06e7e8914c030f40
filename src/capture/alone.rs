//! One thread at a time: while one is held, all others run.
//!
//! All tracing is done by a thread that exists for this purpose only. When a tracee does not stop in time it can be
//! neither held nor let go (a running tracee cannot be detached), but the kernel lets go of all tracees of a thread that
//! ends: so the tracing thread ends, and another goes on with the next one.

use std::collections::VecDeque;
use std::time::Duration;

use nix::errno::Errno;

use super::arena::Arena;
use super::copy::{self, StackCopy};
use super::extent::Owner;
use super::hold::{self, NotHeld};
use super::loss;
use super::supervise::supervise;
use super::{CapturedThread, Context, Draft, Planned, StackBytes, plan_hold};
use crate::model::{Hold, Reason, Tid};
use crate::proc::ProcDir;
use crate::sys::alarm::Alarm;
use crate::sys::clock::Instant;
use crate::sys::ptrace::{self, RawRegisters, RegisterError};

/// How long to wait for one thread to stop. One that runs needs some 30 us, one that waits for a CPU behind another
/// program a few milliseconds.
const STOP_DEADLINE: Duration = Duration::from_millis(5);
/// How long a snapshot may spend waiting in vain, all threads together; after that each gets `LATE_DEADLINE`.
const WASTE_LIMIT: Duration = Duration::from_millis(100);
const LATE_DEADLINE: Duration = Duration::from_micros(200);

/// A thread that waits for a CPU behind others may have had its turn when all others have been captured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Attempt {
    First,
    Last,
}

/// Captures each of these threads by itself.
pub(super) fn capture(process: &ProcDir, tids: Vec<Tid>, draft: &mut Draft<'_>, arena: &mut Arena) {
    let mut remaining: VecDeque<(Tid, Attempt)> = tids.into_iter().map(|tid| (tid, Attempt::First)).collect();
    let mut wasted = Duration::ZERO;
    let buffer = arena.one();
    while !remaining.is_empty() {
        let tids: Vec<Tid> = remaining.iter().map(|(tid, _)| *tid).collect();
        supervise(&tids, || trace(process, &mut remaining, draft, buffer, &mut wasted));
    }
}

/// Captures threads until there are none left, or one of them could not be let go in order: it did not stop, or ended while
/// we were its tracer. The end of this thread lets go of it, and the next thread is not seized with it in our hands.
fn trace(
    process: &ProcDir,
    remaining: &mut VecDeque<(Tid, Attempt)>,
    draft: &mut Draft<'_>,
    buffer: &mut [u8],
    wasted: &mut Duration,
) {
    let alarm = Alarm::new();
    while let Some((tid, attempt)) = remaining.pop_front() {
        let Some(planned) = plan_hold(process, tid, draft) else {
            continue;
        };
        let deadline = if *wasted < WASTE_LIMIT { STOP_DEADLINE } else { LATE_DEADLINE };
        match hold_and_copy(&planned, planned.owner(process), draft, buffer, deadline, alarm.as_ref()) {
            Ok(copied) => {
                let released = copied.released;
                finish(planned, copied, draft, buffer);
                if released.is_err() {
                    return;
                }
            }
            Err(Failure::DidNotStop) => {
                *wasted += deadline;
                match attempt {
                    Attempt::First => remaining.push_back((tid, Attempt::Last)),
                    Attempt::Last => draft.lost(planned, loss::did_not_stop(deadline)),
                }
                return;
            }
            Err(Failure::Gone) => {
                draft.lost(planned, Reason::ThreadGone);
                return;
            }
            Err(Failure::NotSeized(errno)) => {
                let reason = loss::not_seized(process, tid, errno);
                draft.lost(planned, reason);
            }
            Err(Failure::Registers(error)) => {
                draft.lost(planned, loss::registers(error));
                return;
            }
        }
    }
}

struct Copied {
    registers: RawRegisters,
    stack: StackCopy,
    held: Duration,
    /// An error says that the thread was killed while it was held.
    released: Result<(), Errno>,
}

enum Failure {
    NotSeized(Errno),
    Gone,
    DidNotStop,
    Registers(RegisterError),
}

/// Holds the thread, copies its registers and stack, lets it go. Nothing in here allocates before the release.
fn hold_and_copy(
    planned: &Planned,
    owner: Owner,
    draft: &Draft<'_>,
    buffer: &mut [u8],
    deadline: Duration,
    alarm: Option<&Alarm>,
) -> Result<Copied, Failure> {
    let tid = planned.tid;
    ptrace::seize(tid).map_err(Failure::NotSeized)?;
    let begun = Instant::now();
    // A thread that ends now makes this fail; the wait then finds it gone.
    if ptrace::interrupt(tid).is_err() {
        return Err(Failure::Gone);
    }
    let held = hold::wait(tid, begun, deadline, alarm).map_err(|not_held| match not_held {
        NotHeld::Gone => Failure::Gone,
        NotHeld::DidNotStop => Failure::DidNotStop,
    })?;
    let registers = ptrace::registers(tid);
    let copied =
        registers.map(|registers| (registers, copy::stack(&draft.map, draft.memory, owner, &registers, buffer)));
    let released = held.release();
    let held = begun.elapsed();
    match copied {
        Ok((registers, stack)) => Ok(Copied { registers, stack, held, released }),
        Err(error) => Err(Failure::Registers(error)),
    }
}

fn finish(planned: Planned, copied: Copied, draft: &mut Draft<'_>, buffer: &[u8]) {
    let stack = match copied.stack.keep(buffer) {
        Ok(stack) => stack,
        Err(errno) => {
            draft.notice(planned.tid, loss::memory(errno, &copied.registers));
            StackBytes::default()
        }
    };
    draft.threads.push(CapturedThread {
        tid: planned.tid,
        status: planned.status,
        hold: Hold::Held(copied.held),
        context: Context::Full(Box::new(copied.registers)),
        stack,
    });
}
