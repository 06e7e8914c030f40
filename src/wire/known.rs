//! A thread as the last record left it, and what differs from it: the same code's two sides, for writing and for reading.
//!
//! Promises: what `tell_difference` says, `apply` undoes exactly; what is counted comes back as `count` left it: times on
//! CPUs and waits for them behind the truth by less than a unit, holds to the nearest unit. Nothing here trusts what it reads: all sums are modulo 2^64.

use std::mem;

use super::pb;

/// Units in which counts of nanoseconds are kept, and lengths of holds.
const COUNT_UNIT: u64 = 50_000;
const HOLD_UNIT: u64 = 4_000;
/// Registers that have numbers: 16 general ones and the instruction pointer.
const GENERAL: usize = 17;
/// eflags and those that follow it.
const SPECIAL: usize = 9;

/// A thread, and the value that each register had when it was known last.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) thread: pb::Thread,
    general: [u64; GENERAL],
    special: [u64; SPECIAL],
}

/// What is counted of one thread: its numbers in the columns of `pb::Counters`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Counts {
    pub(super) cpu: u64,
    pub(super) run_queue_wait: u64,
    pub(super) voluntary_switches: u64,
    pub(super) involuntary_switches: u64,
    pub(super) last_cpu_plus_one: u32,
    pub(super) hold: u64,
}

impl Known {
    pub(super) fn new(thread: pb::Thread) -> Self {
        let (mut general, mut special) = ([0; GENERAL], [0; SPECIAL]);
        if let Some(registers) = &thread.registers {
            for (number, value) in numbers(registers.known).zip(&registers.values) {
                general[number] = *value;
            }
            for (place, value) in special.iter_mut().zip(&registers.special) {
                *place = *value;
            }
        }
        Self { thread, general, special }
    }

    /// Whether a thread can be told as a change: it is the same one, and the kernel counts the same things of it.
    pub(super) fn can_become(&self, new: &pb::Thread) -> bool {
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
            && counted(old) == counted(new)
            && old.cpu_ns_plus_one <= new.cpu_ns_plus_one
            && old.run_queue_wait_ns_plus_one <= new.run_queue_wait_ns_plus_one
            && old.voluntary_switches_plus_one <= new.voluntary_switches_plus_one
            && old.involuntary_switches_plus_one <= new.involuntary_switches_plus_one
    }

    /// Takes over what is counted of the thread as it is now, and tells it.
    pub(super) fn count(&mut self, new: &pb::Thread) -> Counts {
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
    pub(super) fn add(&mut self, counts: Counts) {
        let thread = &mut self.thread;
        let add = |to: &mut u64, count: u64, unit: u64| *to = to.wrapping_add(count.wrapping_mul(unit));
        add(&mut thread.cpu_ns_plus_one, counts.cpu, COUNT_UNIT);
        add(&mut thread.run_queue_wait_ns_plus_one, counts.run_queue_wait, COUNT_UNIT);
        add(&mut thread.voluntary_switches_plus_one, counts.voluntary_switches, 1);
        add(&mut thread.involuntary_switches_plus_one, counts.involuntary_switches, 1);
        thread.last_cpu_plus_one = counts.last_cpu_plus_one;
        thread.in_place = counts.hold == 0;
        thread.held_ns_plus_one =
            counts.hold.checked_sub(2).map_or(0, |units| units.wrapping_mul(HOLD_UNIT).wrapping_add(1));
    }

    /// Puts what differs, but for what is counted, into the room that is there. Returns whether anything does.
    pub(super) fn tell_difference(&self, new: &pb::Thread, place: u32, change: &mut pb::ThreadChange) -> bool {
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
        self.tell_register_difference(new.registers.as_ref(), &mut change.registers);
        change.signals = if old.signals == new.signals { None } else { new.signals };
        change.wait_channel_plus_one = changed(old.wait_channel_plus_one, new.wait_channel_plus_one);
        change.kernel_stack = (!same_kernel_stack)
            .then(|| pb::KernelStack { frames: new.kernel_stack.clone(), known: new.kernel_stack_known });
        change.memory = (old.memory != new.memory).then(|| pb::MemoryList { memory: new.memory.clone() });
        *change != pb::ThreadChange { place, ..Default::default() }
    }

    /// Takes what differs over; lists are taken out of the change.
    pub(super) fn apply(&mut self, change: &mut pb::ThreadChange) {
        let thread = &mut self.thread;
        let old_arguments = arguments(thread);
        thread.name = change.name.unwrap_or(thread.name);
        thread.state = change.state.unwrap_or(thread.state);
        thread.stack = change.stack.unwrap_or(thread.stack);
        if let Some(call_plus_one) = change.call_plus_one {
            let call = |number| pb::SystemCall { number, arguments: old_arguments.to_vec() };
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
        if let Some(change) = &mut change.registers {
            self.apply_registers(change);
        }
    }

    fn tell_register_difference(&self, new: Option<&pb::Registers>, change: &mut Option<pb::RegisterChange>) {
        if self.thread.registers.as_ref() == new {
            *change = None;
            return;
        }
        let nothing = pb::Registers::default();
        let (old, new) = (self.thread.registers.as_ref().unwrap_or(&nothing), new.unwrap_or(&nothing));
        let change = change.get_or_insert_default();
        change.known = new.known;
        change.changed = 0;
        change.differences.clear();
        for (number, value) in numbers(new.known).zip(&new.values) {
            if self.general[number] != *value {
                change.changed |= 1 << number;
                change.differences.push(apart(self.general[number], *value));
            }
        }
        change.special_known = !new.special.is_empty();
        change.special_changed = 0;
        change.special_differences.clear();
        for (number, (before, value)) in self.special.iter().zip(&new.special).enumerate() {
            if before != value {
                change.special_changed |= 1 << number;
                change.special_differences.push(apart(*before, *value));
            }
        }
        change.floating_point_known = !new.floating_point.is_empty();
        change.floating_point.clear();
        if old.floating_point != new.floating_point {
            change.floating_point.extend_from_slice(&new.floating_point);
        }
    }

    fn apply_registers(&mut self, change: &mut pb::RegisterChange) {
        let registers = self.thread.registers.get_or_insert_default();
        for (number, more) in numbers(change.changed).zip(&change.differences) {
            self.general[number] = together(self.general[number], *more);
        }
        let specials = (0..SPECIAL).filter(|number| change.special_changed & 1 << number != 0);
        for (number, more) in specials.zip(&change.special_differences) {
            self.special[number] = together(self.special[number], *more);
        }
        registers.known = change.known;
        registers.values.clear();
        registers.values.extend(numbers(change.known).map(|number| self.general[number]));
        registers.special.clear();
        registers.special.extend(self.special.iter().filter(|_| change.special_known));
        match (change.floating_point_known, change.floating_point.is_empty()) {
            (false, _) => registers.floating_point.clear(),
            (true, false) => mem::swap(&mut registers.floating_point, &mut change.floating_point),
            (true, true) => {}
        }
    }
}

/// The numbers of the registers in a set.
fn numbers(set: u32) -> impl Iterator<Item = usize> {
    (0..GENERAL).filter(move |number| set & 1 << number != 0)
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

/// What is to be added to one number to come to the other.
fn apart(from: u64, to: u64) -> i64 {
    to.wrapping_sub(from).cast_signed()
}

fn together(from: u64, more: i64) -> u64 {
    from.wrapping_add(more.cast_unsigned())
}
