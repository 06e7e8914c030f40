//! A thread read in place: without stopping it.
//!
//! /proc/PID/task/TID/syscall says where a thread that is off the CPU entered the kernel, and with
//! which arguments. The bytes of its stack belong to that as long as it has not run in between. The
//! count of its time slices proves it: if it is the same before and after, the thread never ran.
//! Callee-saved registers remain unknown.

use nix::errno::Errno;

use super::blocked;
use super::draft::{Draft, Planned};
use super::loss;
use super::stack;
use super::stack::{Position, STACK_LIMIT, StackCopy, StackPlan};
use crate::capture::protocol::{ContextRecord, StackRecord};
use crate::model::{Acquired, Reason, StopMode, ThreadState};
use crate::proc::{BlockedCall, ThreadDir};
use crate::sys::arena::TracerStep;

/// Why a thread could not be read in place at this moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum NotRead {
    /// It was running, or ran while it was being read.
    Runs,
    Gone,
    /// Its call may not be read.
    Refused,
}

/// Reads a thread that is asleep. It is recorded if that has worked.
pub(super) fn read(planned: &Planned, thread: &ThreadDir, draft: &mut Draft<'_>) -> Result<(), NotRead> {
    let failed = |error| match error {
        crate::proc::Error::NotPermitted => NotRead::Refused,
        _ => NotRead::Gone,
    };
    let before = thread.run_count().map_err(failed)?;
    let blocked = blocked::blocked_call(draft, thread, planned.tid).map_err(failed)?.ok_or(NotRead::Runs)?;
    let context = ContextRecord::Blocked(blocked);
    let call = blocked::of_blocked(draft, planned, thread, &context);
    let copied = copy(planned, &blocked, draft);
    let still = match (before, thread.run_count().map_err(failed)?) {
        (Some(before), Some(after)) => before == after,
        // Without a count there is only this: it is where it was, which a loop would be too.
        _ => true,
    };
    if !still || blocked::blocked_call(draft, thread, planned.tid).map_err(failed)? != Some(blocked) {
        return Err(NotRead::Runs);
    }
    let stack = match copied.and_then(|copied| copied.record(draft.log.arena.keep(copied.length())).map_err(Some)) {
        Ok(stack) => stack,
        Err(None) => StackRecord::default(),
        Err(Some(errno)) => {
            draft.log.notice(planned.tid, loss::memory(errno, blocked.stack_pointer, &draft.view.map));
            StackRecord::default()
        }
    };
    draft.captured(planned, Acquired::ReadInPlace, context, call, stack, None);
    Ok(())
}

/// Copies the stack to the beginning of the arena's room. An error of None says that memory is not
/// to be read at all.
fn copy(planned: &Planned, blocked: &BlockedCall, draft: &mut Draft<'_>) -> Result<StackCopy, Option<Errno>> {
    let memory = draft.view.memory.ok_or(None)?;
    draft.log.arena.progress_page().step(TracerStep::ReadingMemory, planned.tid.0);
    let stack_pointer = blocked.stack_pointer.0;
    let fs_base = stack::thread_pointer(&draft.view.map, memory, planned.tid, planned.owner, stack_pointer);
    let position = Position::in_place(stack_pointer, fs_base);
    let plan = StackPlan::new(
        &draft.view.map,
        draft.view.memory,
        draft.view.request.is_go,
        planned.owner,
        position,
        STACK_LIMIT,
    );
    let mut copied = plan.copy(&draft.view.map, memory, draft.log.arena.room(draft.progress.stack_room), || true);
    if draft.progress.needs_more_room(&copied) {
        copied = plan.copy(&draft.view.map, memory, draft.log.arena.room(draft.progress.stack_room), || true);
    }
    draft.log.arena.progress_page().step(TracerStep::ReadingProc, planned.tid.0);
    Ok(copied)
}

/// What it means that a thread could not be read in place after several attempts.
pub(super) fn loss(planned: &Planned, not_read: NotRead, stop: StopMode) -> Reason {
    match (not_read, planned.status.state) {
        (NotRead::Gone, _) => Reason::ThreadGone,
        (NotRead::Refused, _) => Reason::Refused { what: "reading its system call".into(), errno: libc::EACCES },
        (NotRead::Runs, ThreadState::Uninterruptible) => Reason::Uninterruptible,
        (NotRead::Runs, _) if stop == StopMode::None => Reason::Running,
        (NotRead::Runs, _) => Reason::Unsteady,
    }
}
