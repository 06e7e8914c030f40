//! A thread as a message: its counters, which every sample has, and all the rest.

use super::convert::nanoseconds;
use super::pb;
use super::tables::Tables;
use crate::model::{Abi, Acquired, SystemCall, Thread, ThreadStatus};

/// Puts into a message what identifies a thread and is counted of it.
pub(super) fn count(thread: &Thread, message: &mut pb::Thread) {
    let plus_one = |value: Option<u64>| value.map_or(0, |value| value.saturating_add(1));
    let ThreadStatus { start, scheduling, worker, .. } = &thread.status;
    message.tid = thread.tid.0;
    message.start_ticks = start.0;
    message.cpu_ns_plus_one = plus_one(scheduling.cpu_ns);
    message.held_ns_plus_one = plus_one(thread.acquired.time().map(nanoseconds));
    message.in_place = matches!(thread.acquired, Acquired::ReadInPlace | Acquired::UnchangedSince(_));
    message.unchanged_since = thread.acquired.unchanged_since().map(Into::into);
    message.run_queue_wait_ns_plus_one = plus_one(scheduling.run_queue_wait_ns);
    message.voluntary_switches_plus_one = plus_one(scheduling.voluntary_switches);
    message.involuntary_switches_plus_one = plus_one(scheduling.involuntary_switches);
    message.last_cpu_plus_one = scheduling.last_cpu.map_or(0, |cpu| cpu.saturating_add(1));
    message.policy_plus_one = scheduling.policy.map_or(0, |policy| policy.number().saturating_add(1));
    message.kernel_worker = worker.map_or(pb::KernelWorker::Unspecified, Into::into).into();
}

/// Puts all the rest into it but registers, in the room that is there: most messages only serve to
/// find out what has changed. Its stack is stored as one that shares frames with another, if there
/// is such a one.
pub(super) fn fill(thread: &Thread, modules: &[u32], like: u32, tables: &mut Tables, message: &mut pb::Thread) {
    let ThreadStatus { name, state, signals, wait, .. } = &thread.status;
    message.name = tables.string(name);
    message.state = state.letter().into();
    match (thread.system_call, &mut message.system_call) {
        (Some(SystemCall { abi, number, arguments }), Some(stored)) => {
            stored.i386 = abi == Abi::I386;
            stored.number = number;
            stored.arguments.clear();
            stored.arguments.extend(arguments);
        }
        (call, stored) => *stored = call.map(Into::into),
    }
    message.stack = tables.stack(&thread.stack, modules, like);
    message.signals = signals.map(Into::into);
    let stored = tables.wait(wait);
    message.wait_channel_plus_one = stored.channel_plus_one;
    message.kernel_stack.clear();
    message.kernel_stack.extend(&stored.frames);
    message.kernel_stack_known = wait.stack.is_some();
    message.memory.clear();
    message.memory.extend(thread.memory.iter().map(|piece| tables.memory(piece)));
}

impl pb::SystemCall {
    /// Whether this describes such a call.
    pub(super) fn is(&self, call: &SystemCall) -> bool {
        self.i386 == (call.abi == Abi::I386) && self.number == call.number && self.arguments == call.arguments
    }
}
