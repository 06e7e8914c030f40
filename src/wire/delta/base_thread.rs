//! A thread as the last record left it, and what differs from it: the same code's two sides, for
//! writing and for reading.
//!
//! Promises: what `tell_difference` says, `apply` undoes exactly; counters come back as `count`
//! left them: times on CPUs and waits for them too small by less than a unit, holds to the nearest
//! unit. Nothing here trusts what it reads: all sums are modulo 2^64.

use super::registers::{BaseRegisters, apart, together};
use crate::model::Registers;
use crate::wire::{Error, pb};

/// Units in which counts of nanoseconds are kept, and lengths of holds.
const COUNT_UNIT: u64 = 50_000;
const HOLD_UNIT: u64 = 4_000;

/// A thread, as a reader knows it now.
#[derive(Clone, Debug)]
pub(in crate::wire) struct BaseThread {
    /// Without its registers.
    pub(in crate::wire) thread: pb::Thread,
    pub(in crate::wire) registers: BaseRegisters,
}

/// What is counted of one thread: its numbers in the columns of `pb::Counters`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(in crate::wire) struct Counts {
    pub(in crate::wire) cpu: u64,
    pub(in crate::wire) run_queue_wait: u64,
    pub(in crate::wire) voluntary_switches: u64,
    pub(in crate::wire) involuntary_switches: u64,
    pub(in crate::wire) last_cpu_plus_one: u32,
    pub(in crate::wire) hold: u64,
}

impl BaseThread {
    /// A thread that is stored whole.
    pub(in crate::wire) fn new(mut thread: pb::Thread) -> Result<Self, Error> {
        let registers = thread.registers.take().map(BaseRegisters::from_message).transpose()?.unwrap_or_default();
        Ok(Self { thread, registers })
    }

    /// Whether a thread can be stored as a change: it is the same one, and the kernel counts the
    /// same things of it.
    pub(in crate::wire) fn can_become(&self, new: &pb::Thread) -> bool {
        let counted = |thread: &pb::Thread| {
            [
                thread.cpu_ns_plus_one > 0,
                thread.run_queue_wait_ns_plus_one > 0,
                thread.voluntary_switches_plus_one > 0,
                thread.involuntary_switches_plus_one > 0,
            ]
        };
        let old = &self.thread;
        // Counts go up, but for what a kernel may correct.
        old.start_ticks == new.start_ticks
            && old.policy_plus_one == new.policy_plus_one
            && old.kernel_worker == new.kernel_worker
            && counted(old) == counted(new)
            && old.cpu_ns_plus_one <= new.cpu_ns_plus_one
            && old.run_queue_wait_ns_plus_one <= new.run_queue_wait_ns_plus_one
            && old.voluntary_switches_plus_one <= new.voluntary_switches_plus_one
            && old.involuntary_switches_plus_one <= new.involuntary_switches_plus_one
    }

    /// Takes over what is counted of the thread as it is now, and stores it.
    pub(in crate::wire) fn count(&mut self, new: &pb::Thread) -> Counts {
        let units = |old: u64, new: u64| new.saturating_sub(old) / COUNT_UNIT;
        let old = &self.thread;
        let counts = Counts {
            cpu: units(old.cpu_ns_plus_one, new.cpu_ns_plus_one),
            run_queue_wait: units(old.run_queue_wait_ns_plus_one, new.run_queue_wait_ns_plus_one),
            voluntary_switches: new.voluntary_switches_plus_one.saturating_sub(old.voluntary_switches_plus_one),
            involuntary_switches: new.involuntary_switches_plus_one.saturating_sub(old.involuntary_switches_plus_one),
            last_cpu_plus_one: new.last_cpu_plus_one,
            hold: match (new.held_ns_plus_one.checked_sub(1), new.in_place) {
                (Some(held), _) => held.saturating_add(HOLD_UNIT / 2) / HOLD_UNIT + 2,
                (None, true) => 0,
                (None, false) => 1,
            },
        };
        self.add(counts);
        counts
    }

    /// Takes over what is counted.
    pub(in crate::wire) fn add(&mut self, counts: Counts) {
        let thread = &mut self.thread;
        let add = |to: &mut u64, count: u64, unit: u64| *to = to.wrapping_add(count.wrapping_mul(unit));
        add(&mut thread.cpu_ns_plus_one, counts.cpu, COUNT_UNIT);
        add(&mut thread.run_queue_wait_ns_plus_one, counts.run_queue_wait, COUNT_UNIT);
        add(&mut thread.voluntary_switches_plus_one, counts.voluntary_switches, 1);
        add(&mut thread.involuntary_switches_plus_one, counts.involuntary_switches, 1);
        thread.last_cpu_plus_one = counts.last_cpu_plus_one;
        thread.in_place = counts.hold == 0;
        thread.unchanged_since = thread.unchanged_since.filter(|_| counts.hold == 0);
        thread.held_ns_plus_one =
            counts.hold.checked_sub(2).map_or(0, |units| units.wrapping_mul(HOLD_UNIT).wrapping_add(1));
    }

    /// Puts what differs, but for what is counted, into the room that is there. Returns whether
    /// anything does.
    pub(in crate::wire) fn tell_difference(
        &self,
        new: &pb::Thread,
        registers: &Registers,
        place: u32,
        change: &mut pb::ThreadChange,
    ) -> bool {
        let old = &self.thread;
        let changed = |old: u32, new: u32| (old != new).then_some(new);
        let (old_arguments, new_arguments) = (arguments(old), arguments(new));
        let call_plus_one =
            |thread: &pb::Thread| thread.system_call.as_ref().map_or(0, |call| call.number.saturating_add(1));
        let same_kernel_stack =
            old.kernel_stack == new.kernel_stack && old.kernel_stack_known == new.kernel_stack_known;
        change.place = place;
        change.name = changed(old.name, new.name);
        change.state = changed(old.state, new.state);
        change.stack = changed(old.stack, new.stack);
        change.call_plus_one = changed(call_plus_one(old), call_plus_one(new));
        change.arguments.clear();
        if old_arguments != new_arguments {
            change.arguments.extend(old_arguments.iter().zip(&new_arguments).map(|(old, new)| apart(*old, *new)));
        }
        self.registers.tell_difference(registers, &mut change.registers);
        change.signals = if old.signals == new.signals { None } else { new.signals };
        change.wait_channel_plus_one = changed(old.wait_channel_plus_one, new.wait_channel_plus_one);
        change.kernel_stack = (!same_kernel_stack)
            .then(|| pb::KernelStack { frames: new.kernel_stack.clone(), known: new.kernel_stack_known });
        change.memory = (old.memory != new.memory).then(|| pb::MemoryList { memory: new.memory.clone() });
        change.unchanged_since =
            (old.unchanged_since != new.unchanged_since).then(|| new.unchanged_since.unwrap_or_default());
        *change != pb::ThreadChange { place, ..Default::default() }
    }

    /// Takes what differs over; lists are taken out of the change.
    pub(in crate::wire) fn apply(&mut self, change: &mut pb::ThreadChange) {
        let thread = &mut self.thread;
        let (old_arguments, i386) = (arguments(thread), is_i386(thread));
        thread.name = change.name.unwrap_or(thread.name);
        thread.state = change.state.unwrap_or(thread.state);
        thread.stack = change.stack.unwrap_or(thread.stack);
        if let Some(call_plus_one) = change.call_plus_one {
            let call = |number| pb::SystemCall { number, arguments: old_arguments.to_vec(), i386 };
            thread.system_call = call_plus_one.checked_sub(1).map(call);
        }
        if let Some(call) = &mut thread.system_call
            && !change.arguments.is_empty()
        {
            call.arguments.clear();
            call.arguments.extend(old_arguments.iter().zip(&change.arguments).map(|(old, more)| together(*old, *more)));
        }
        thread.signals = change.signals.or(thread.signals);
        thread.wait_channel_plus_one = change.wait_channel_plus_one.unwrap_or(thread.wait_channel_plus_one);
        if let Some(pb::KernelStack { frames, known }) = change.kernel_stack.take() {
            thread.kernel_stack = frames;
            thread.kernel_stack_known = known;
        }
        if let Some(pb::MemoryList { memory }) = change.memory.take() {
            thread.memory = memory;
        }
        if let Some(since) = change.unchanged_since {
            thread.unchanged_since = Some(since).filter(|since| since.number > 0);
        }
        if let Some(change) = &mut change.registers {
            self.registers.apply(change);
        }
    }
}

fn arguments(thread: &pb::Thread) -> [u64; 6] {
    let mut arguments = [0; 6];
    if let Some(call) = &thread.system_call {
        for (place, value) in arguments.iter_mut().zip(&call.arguments) {
            *place = *value;
        }
    }
    arguments
}

/// Whether it is in a call of i386.
pub(in crate::wire) fn is_i386(thread: &pb::Thread) -> bool {
    thread.system_call.as_ref().is_some_and(|call| call.i386)
}
