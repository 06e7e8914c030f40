//! A thread in uninterruptible sleep, read without stopping it.
//!
//! It would not stop before it wakes, so it is not asked to. It does not run either, so what /proc/PID/task/TID/syscall
//! tells (where it entered the kernel) and the bytes of its stack belong together, as long as the same is told after the
//! bytes were copied. Callee-saved registers remain unknown.

use super::{CapturedThread, Context, Draft, Planned, StackBytes, extent};
use crate::model::{Hold, Reason};
use crate::proc::ProcDir;

/// What is copied at most of such a stack: nothing is held, but nothing tells where the stack ends either.
const LIMIT: usize = 64 << 10;

pub(super) fn capture(process: &ProcDir, planned: Planned, draft: &mut Draft<'_>) {
    let blocked_call = || process.thread(planned.tid).and_then(|thread| thread.blocked_call()).ok().flatten();
    let Some(blocked) = blocked_call() else {
        draft.lost(planned, Reason::Uninterruptible);
        return;
    };
    let mut bytes = vec![0; LIMIT];
    let extent = extent::used(&draft.map, blocked.stack_pointer.0, None, LIMIT);
    let copied = draft.memory.read(extent.start, &mut bytes[..extent.length]).unwrap_or(0);
    if blocked_call() != Some(blocked) {
        draft.lost(planned, Reason::Uninterruptible);
        return;
    }
    let Planned { tid, status } = planned;
    draft.notice(tid, Reason::Uninterruptible);
    draft.threads.push(CapturedThread {
        tid,
        status,
        hold: Hold::Untouched,
        context: Context::Blocked(blocked),
        stack: StackBytes {
            start: extent.start.0,
            bytes: bytes[..copied].into(),
            left_out: extent.left_out,
            own: None,
        },
    });
}
