//! Which system call a thread is in.
//!
//! The kernel's word for it, a number, is not always enough. Calls made by `int $0x80` are numbered
//! differently from those made by `syscall`: the instruction that made the call distinguishes them.
//! And poll, nanosleep, a relative clock_nanosleep and a futex wait with a timeout are begun again
//! as restart_syscall when anything has interrupted them: a tracer, job control, or hangsnap
//! itself. Their arguments stay in their registers. The number is then found in one of these
//! places: the code that made the call; what the same call was when hangsnap looked at the thread a
//! moment before; the function of the kernel that it sleeps in; and the arguments, where they are
//! possible for one of these calls only.
//!
//! Promises: a number is taken only where the evidence leaves no other; what is not known is a
//! notice. Nothing here runs while a thread is held.

use super::draft::{CODE_LENGTH, Draft, Entered, Planned};
use crate::capture::protocol::ContextRecord;
use crate::model::{Abi, KernelWait, Reason, RuntimeAddress, SystemCall, ThreadState, Tid};
use crate::proc::{self, BlockedCall, MemoryMap, ThreadDir};
use crate::sys::arena::TracerStep;
use crate::sys::ptrace::RawRegisters;

/// Instruction pointers whose code is kept: most threads of a process are in the same few.
const MOST_KEPT: usize = 4096;

/// Where a thread that is off the CPU entered the kernel, by which convention. None while it is
/// running.
pub(super) fn blocked_call(
    draft: &mut Draft<'_>,
    thread: &ThreadDir,
    tid: Tid,
) -> Result<Option<BlockedCall>, proc::Error> {
    let Some(mut blocked) = thread.blocked_call()? else {
        return Ok(None);
    };
    let abi = abi(draft, tid, blocked.program_counter.0);
    if let Some(call) = &mut blocked.call {
        call.abi = abi;
    }
    Ok(Some(blocked))
}

/// The call that a thread with these registers is in, as the kernel shows it.
fn shown(draft: &mut Draft<'_>, tid: Tid, context: &ContextRecord) -> Option<SystemCall> {
    match context {
        ContextRecord::Full(words) => {
            let registers = RawRegisters::from_words(*words);
            let number = registers.system_call_number()?;
            let abi = abi(draft, tid, registers.instruction_pointer());
            Some(SystemCall { abi, number, arguments: registers.arguments(abi) })
        }
        ContextRecord::Blocked(blocked) => blocked.call,
        ContextRecord::Nothing => None,
    }
}

/// The call it is in, with the number by which it was made if that can be found out.
///
/// `wait` is what the thread waits for in the kernel, with whether it is asleep there, and `before`
/// where it was when it was looked at before, with the call that that was.
fn true_call(
    draft: &mut Draft<'_>,
    tid: Tid,
    context: &ContextRecord,
    (wait, is_asleep): (&KernelWait, bool),
    before: Option<&Entered>,
) -> Option<SystemCall> {
    let call = shown(draft, tid, context)?;
    if !call.is_restart() {
        return Some(call);
    }
    let (stack_pointer, program_counter) = match context {
        ContextRecord::Full(words) => {
            let registers = RawRegisters::from_words(*words);
            (registers.stack_pointer(), registers.instruction_pointer())
        }
        ContextRecord::Blocked(blocked) => (blocked.stack_pointer.0, blocked.program_counter.0),
        ContextRecord::Nothing => return Some(call),
    };
    let is_the_same = |before: &&Entered| {
        let Entered { blocked, call: made } = before;
        (blocked.stack_pointer.0, blocked.program_counter.0) == (stack_pointer, program_counter)
            && (made.abi, made.arguments) == (call.abi, call.arguments)
            && !made.is_restart()
    };
    if let Some(before) = before.filter(is_the_same) {
        return Some(before.call);
    }
    let code = code_before(draft, tid, program_counter);
    let number =
        code.and_then(|code| number_in(&code)).filter(|number| Renamed::from_number(call.abi, *number).is_some());
    let number = number.or_else(|| {
        let possible = Renamed::possible(&call, &draft.view.map);
        let family = family(wait, is_asleep);
        let mut left = possible.into_iter().filter(|renamed| family.is_none_or(|family| renamed.family() == family));
        left.next().filter(|_| left.next().is_none()).map(Renamed::number)
    });
    Some(SystemCall { number: number.unwrap_or(call.number), ..call })
}

/// Says that it is not known which call a thread is in, if that is so.
pub(super) fn note_renamed(draft: &mut Draft<'_>, tid: Tid, call: Option<SystemCall>) {
    if call.is_some_and(|call| call.is_restart()) {
        draft.log.notice(tid, Reason::CallRenamed);
    }
}

/// The call of a thread that was held, and is not any more.
pub(super) fn of_held(draft: &mut Draft<'_>, planned: &Planned, context: &ContextRecord) -> Option<SystemCall> {
    let Planned { tid, status, entered, .. } = planned;
    let is_asleep = status.state == ThreadState::Sleeping;
    let call = true_call(draft, *tid, context, (&status.wait, is_asleep), entered.as_ref());
    if call.is_some_and(|call| call.is_restart())
        && let Ok(thread) = draft.view.process.thread(*tid)
    {
        // It sleeps in the same call again, if it has got a CPU for that.
        let (wait, is_asleep) = wait(draft, &thread);
        return true_call(draft, *tid, context, (&wait, is_asleep), None);
    }
    call
}

/// The call of a thread that is read in place.
pub(super) fn of_blocked(
    draft: &mut Draft<'_>,
    planned: &Planned,
    thread: &ThreadDir,
    context: &ContextRecord,
) -> Option<SystemCall> {
    let call = shown(draft, planned.tid, context);
    if !call.is_some_and(|call| call.is_restart()) {
        return call;
    }
    // What it waits for now, and not when it was looked at first.
    let (wait, is_asleep) = wait(draft, thread);
    true_call(draft, planned.tid, context, (&wait, is_asleep), planned.entered.as_ref())
}

/// What a thread waits for, and whether it is still asleep there when that has been read.
fn wait(draft: &Draft<'_>, thread: &ThreadDir) -> (KernelWait, bool) {
    let (wait, _) = thread.kernel_wait(draft.progress.kernel_stacks);
    (wait, thread.state() == Ok(ThreadState::Sleeping))
}

fn abi(draft: &mut Draft<'_>, tid: Tid, program_counter: u64) -> Abi {
    match code_before(draft, tid, program_counter) {
        Some([.., 0xcd, 0x80]) => Abi::I386,
        _ => Abi::X86_64,
    }
}

fn code_before(draft: &mut Draft<'_>, tid: Tid, program_counter: u64) -> Option<[u8; CODE_LENGTH]> {
    if let Some(code) = draft.progress.code.before.get(&program_counter) {
        return *code;
    }
    let memory = draft.view.memory?;
    // What lies before the mapping is not code of the same image, if there is anything at all.
    let start = draft.view.map.find(RuntimeAddress(program_counter.checked_sub(1)?))?.range.start.0;
    let at = program_counter.saturating_sub(CODE_LENGTH as u64).max(start);
    let mut code = [0; CODE_LENGTH];
    let missing = CODE_LENGTH - usize::try_from(program_counter - at).ok()?;
    draft.log.arena.progress_page().step(TracerStep::ReadingMemory, tid.0);
    let read = memory.read(RuntimeAddress(at), &mut code[missing..]);
    draft.log.arena.progress_page().step(TracerStep::ReadingProc, tid.0);
    let code = (read == Ok(CODE_LENGTH - missing)).then_some(code);
    if draft.progress.code.before.len() < MOST_KEPT {
        draft.progress.code.before.insert(program_counter, code);
    }
    code
}

/// The number that this code, which ends with the instruction that makes a call, puts into the
/// register for it.
fn number_in(code: &[u8; CODE_LENGTH]) -> Option<u32> {
    let (before, [0x0f, 0x05] | [0xcd, 0x80]) = code.split_last_chunk::<2>()? else {
        return None;
    };
    match before {
        // mov $number, %rax
        [.., 0x48, 0xc7, 0xc0, a, b, c, d] => Some(u32::from_le_bytes([*a, *b, *c, *d])),
        // mov $number, %eax; and an exclusive or that some compilers put after it, of another
        // register.
        [.., 0xb8, a, b, c, d] | [.., 0xb8, a, b, c, d, 0x40, 0x80, 0xf6, _] => {
            Some(u32::from_le_bytes([*a, *b, *c, *d]))
        }
        // push $number; pop %rax
        [.., 0x6a, number, 0x58] => Some(u32::from(*number)).filter(|number| *number < 0x80),
        _ => None,
    }
}

/// What a call that is begun again sleeps for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Family {
    Futex,
    Poll,
    Sleep,
}

/// What the kernel's functions say that a thread sleeps for (Linux 4.19 to 6.18: kernel/futex,
/// fs/select.c, kernel/time).
///
/// A nanosleep that is begun again sleeps in functions that count as the scheduler's own, which the
/// kernel leaves out of what it shows: of a thread that is asleep nothing is left then but what
/// every system call passes through.
fn family(wait: &KernelWait, is_asleep: bool) -> Option<Family> {
    const ENTRY: [&str; 4] = ["do_syscall_64", "x64_sys_call", "__x64_sys_restart_syscall", "__do_sys_restart_syscall"];
    let of = |function: &str| {
        let is = |names: &[&str]| names.iter().any(|name| function.starts_with(name));
        if is(&["futex_", "__futex_"]) {
            Some(Family::Futex)
        } else if is(&["do_restart_poll", "do_sys_poll", "do_poll", "poll_schedule_timeout"]) {
            Some(Family::Poll)
        } else if is(&["hrtimer_nanosleep", "do_nanosleep", "alarmtimer_do_nsleep", "do_cpu_nanosleep"]) {
            Some(Family::Sleep)
        } else {
            None
        }
    };
    let stack = wait.stack.iter().flatten().map(String::as_str);
    let named = wait.channel.as_deref().into_iter().chain(stack).find_map(of);
    let is_entry = wait.channel.as_deref().is_some_and(|channel| ENTRY.contains(&channel));
    named.or((is_asleep && is_entry).then_some(Family::Sleep))
}

/// The calls that the kernel begins again as restart_syscall.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Renamed {
    Futex,
    Poll,
    Nanosleep,
    ClockNanosleep,
}

impl Renamed {
    const ALL: [Self; 4] = [Self::Futex, Self::Poll, Self::Nanosleep, Self::ClockNanosleep];

    /// Which of them has this number.
    fn from_number(abi: Abi, number: u32) -> Option<Self> {
        match (abi, number) {
            // On i386 some have a second number, for times of 64 bits.
            (Abi::I386, 240 | 422) => Some(Self::Futex),
            (Abi::I386, 168) => Some(Self::Poll),
            (Abi::I386, 162) => Some(Self::Nanosleep),
            (Abi::I386, 267 | 407) => Some(Self::ClockNanosleep),
            (Abi::I386, _) => None,
            (Abi::X86_64, number) => Self::ALL.into_iter().find(|renamed| renamed.number() == number),
        }
    }

    /// Its number on x86-64.
    fn number(self) -> u32 {
        match self {
            Self::Poll => 7,
            Self::Nanosleep => 35,
            Self::Futex => 202,
            Self::ClockNanosleep => 230,
        }
    }

    fn family(self) -> Family {
        match self {
            Self::Futex => Family::Futex,
            Self::Poll => Family::Poll,
            Self::Nanosleep | Self::ClockNanosleep => Family::Sleep,
        }
    }

    /// Those that can have these arguments. An i386 call may be any of them under two numbers: that
    /// is never certain.
    fn possible(call: &SystemCall, map: &MemoryMap) -> Vec<Self> {
        if call.abi == Abi::I386 {
            return Vec::new();
        }
        Self::ALL.into_iter().filter(|renamed| renamed.can_have(&call.arguments, map)).collect()
    }

    /// Whether the kernel would have slept in this call with these arguments, and would begin it
    /// again as restart_syscall. What it must have read lies in memory, and an int is a register's
    /// lower half.
    fn can_have(self, arguments: &[u64; 6], map: &MemoryMap) -> bool {
        let [first, second, third, fourth, ..] = *arguments;
        let is_mapped = |address: u64| map.find(RuntimeAddress(address)).is_some_and(|mapping| !mapping.forbidden);
        let low = |value: u64| value & 0xffff_ffff;
        match self {
            Self::Futex => {
                // FUTEX_WAIT and FUTEX_WAIT_BITSET, private or not, by whichever clock; without a
                // timeout they keep their number.
                let operation = low(second) & !(128 | 256);
                matches!(operation, 0 | 9) && first.is_multiple_of(4) && is_mapped(first) && is_mapped(fourth)
            }
            Self::Poll => {
                // More descriptors than any process may have are refused (fs.nr_open).
                let count = low(second);
                count < 1 << 30 && (count == 0 || is_mapped(first))
            }
            Self::Nanosleep => is_mapped(first),
            Self::ClockNanosleep => {
                // A clock is a small number, or a negative one; only a relative sleep, without
                // flags, is renamed.
                let is_clock = first < 16 || first.cast_signed() < 0 || (1 << 31..1 << 32).contains(&first);
                is_clock && low(second) == 0 && is_mapped(third)
            }
        }
    }
}

/// Whether a futex wait has missed its wake-up: its word has another value than the one that the
/// thread went to sleep for. (A waker may also be just on its way.) A stop would end such a wait:
/// the kernel begins it again, and sees the value.
pub(super) fn is_wakeup_lost(draft: &Draft<'_>, call: Option<SystemCall>) -> bool {
    const COMMAND: u64 = 0x7f;
    const WAIT: u64 = 0;
    const WAIT_BITSET: u64 = 9;
    let Some((memory, call)) = draft.view.memory.zip(call.filter(|call| call.abi == Abi::X86_64)) else { return false };
    let [address, operation, expected, ..] = call.arguments;
    let waits = libc::c_long::from(call.number) == libc::SYS_futex && matches!(operation & COMMAND, WAIT | WAIT_BITSET);
    let mut word = [0; 4];
    waits
        && memory.read(RuntimeAddress(address), &mut word) == Ok(word.len())
        && u32::from_le_bytes(word) != expected as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map() -> MemoryMap {
        let text = b"10000-20000 rw-p 00000000 00:00 0\n7f0000000000-7f0000010000 rw-p 00000000 00:00 0\n";
        MemoryMap::parse(text).expect("well-formed")
    }

    fn possible(arguments: [u64; 6]) -> Vec<Renamed> {
        Renamed::possible(&SystemCall::new(219, arguments), &map())
    }

    fn ends_with(end: &[u8]) -> [u8; CODE_LENGTH] {
        let mut code = [0x90; CODE_LENGTH];
        code[CODE_LENGTH - end.len()..].copy_from_slice(end);
        code
    }

    #[test]
    fn the_number_is_found_in_the_code() {
        assert_eq!(number_in(&ends_with(&[0xb8, 0xca, 0, 0, 0, 0x0f, 0x05])), Some(202));
        // glibc 2.36, pthread_cond_timedwait's requeueing.
        assert_eq!(number_in(&ends_with(&[0xb8, 0xca, 0, 0, 0, 0x40, 0x80, 0xf6, 0x80, 0x0f, 0x05])), Some(202));
        assert_eq!(number_in(&ends_with(&[0x48, 0xc7, 0xc0, 0x23, 0, 0, 0, 0x0f, 0x05])), Some(35));
        assert_eq!(number_in(&ends_with(&[0x6a, 0x07, 0x58, 0x0f, 0x05])), Some(7));
        assert_eq!(number_in(&ends_with(&[0xb8, 0xa8, 0, 0, 0, 0xcd, 0x80])), Some(168));
        // musl: the number comes in a register.
        assert_eq!(number_in(&ends_with(&[0x4c, 0x89, 0x5c, 0x24, 0x08, 0x0f, 0x05])), None);
        assert_eq!(number_in(&ends_with(&[0xb8, 0xca, 0, 0, 0, 0x90, 0x90])), None);
    }

    #[test]
    fn arguments_that_only_one_call_can_have_tell_which_it_is() {
        // futex(word, FUTEX_WAIT_BITSET_PRIVATE|REALTIME, 0, timeout): more than any poll's
        // descriptors it is not.
        assert_eq!(possible([0x10002, 137, 0, 0x7f00_0000_0000, 0, 0]), [Renamed::Poll, Renamed::Nanosleep]);
        assert_eq!(possible([0, 0, 1000, 0, 0, 0]), [Renamed::Poll]);
        assert_eq!(possible([1, 0, 0x10000, 0, 0, 0]), [Renamed::Poll, Renamed::ClockNanosleep]);
        assert_eq!(possible([0x7f00_0000_0000, 0x7f00_8000_0000, 0, 0, 0, 0]), [Renamed::Nanosleep]);
        // Nothing says that it is none of them.
        assert_eq!(possible([u64::MAX; 6]), []);
    }

    #[test]
    fn the_kernels_functions_say_what_a_thread_sleeps_for() {
        let wait = |channel: &str| KernelWait { channel: Some(channel.into()), stack: None };
        let by = |channel: &str| family(&wait(channel), false);
        assert_eq!(by("futex_wait_queue_me"), Some(Family::Futex));
        assert_eq!(by("futex_do_wait"), Some(Family::Futex));
        assert_eq!(by("poll_schedule_timeout.constprop.0"), Some(Family::Poll));
        assert_eq!(by("hrtimer_nanosleep"), Some(Family::Sleep));
        assert_eq!(by("pipe_read"), None);
        assert_eq!(by("do_syscall_64"), None);
        assert_eq!(family(&wait("do_syscall_64"), true), Some(Family::Sleep));
        let stack = Some(vec!["schedule+0x1/0x2".into(), "do_restart_poll+0x44/0x80".into()]);
        assert_eq!(family(&KernelWait { channel: None, stack }, false), Some(Family::Poll));
    }
}
