//! Recording a thread that was captured, or why it was not, once nothing is held any more.

use std::borrow::Cow;
use std::time::Duration;

use nix::errno::Errno;

use super::draft::{Draft, Looked, Planned};
use super::hold::FloatingPoint;
use super::{blocked, loss, memory, syscalls};
use crate::capture::protocol::{ContextRecord, StackRecord, ThreadRecord, TracerRecord};
use crate::model::{Acquired, Reason, RuntimeAddress, SystemCall};
use crate::sys::arena::Piece;
use crate::sys::ptrace::RawRegisters;

impl Draft<'_> {
    /// Records a thread that was captured, with the memory that belongs to it.
    pub(super) fn captured(
        &mut self,
        planned: &Planned,
        acquired: Acquired,
        context: ContextRecord,
        system_call: Option<SystemCall>,
        stack: StackRecord,
        floating_point: Option<Piece>,
    ) {
        let memory = memory::of_thread(self, planned.tid, &context, system_call);
        blocked::note_renamed(self, planned.tid, system_call);
        if self.view.request.after.is_some() {
            let (context, stack) = (context.clone(), stack.clone());
            self.progress.looked.push(Looked { tid: planned.tid, context, system_call, stack });
        }
        self.log.record(&TracerRecord::Thread(Box::new(ThreadRecord {
            tid: planned.tid,
            status: Cow::Borrowed(&planned.status),
            acquired,
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
        self.log.notice(planned.tid, reason);
        if gone {
            return;
        }
        self.log.record(&TracerRecord::Thread(Box::new(ThreadRecord {
            tid: planned.tid,
            status: Cow::Borrowed(&planned.status),
            acquired: Acquired::NotCaptured,
            context: ContextRecord::Nothing,
            stack: StackRecord::default(),
            memory: Vec::new(),
            floating_point: None,
            system_call: None,
        })));
    }
}

/// Records a thread that was held, whichever way, with what was copied of it. Nothing is held any
/// more.
pub(super) fn record_held(
    planned: &Planned,
    held: Duration,
    registers: &RawRegisters,
    stack: Option<Result<StackRecord, Errno>>,
    floating_point: Option<FloatingPoint>,
    draft: &mut Draft<'_>,
) {
    let stack = stack.unwrap_or_else(|| Ok(StackRecord::default())).unwrap_or_else(|errno| {
        let at = RuntimeAddress(registers.stack_pointer());
        draft.log.notice(planned.tid, loss::memory(errno, at, &draft.view.map));
        StackRecord::default()
    });
    let floating_point = floating_point.and_then(|(bytes, length)| {
        // Where there is no more room it is not kept.
        draft.log.arena.room(length).get_mut(..length)?.copy_from_slice(&bytes[..length]);
        Some(draft.log.arena.keep(length))
    });
    let context = ContextRecord::Full(registers.words());
    let call = blocked::of_held(draft, planned, &context);
    if let Some(call) = call.filter(|call| registers.was_interrupted() && !syscalls::restarts_after_stop(call)) {
        // It had entered the call just before it stopped, and will now return early.
        draft.log.notice(planned.tid, Reason::Disturbed(call));
    }
    draft.captured(planned, Acquired::Held(held), context, call, stack, floating_point);
}
