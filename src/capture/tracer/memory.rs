//! Memory beyond stacks: what explains a wait, and what the user asked for.
//!
//! It is copied right after the thread was looked at, when nothing is held any more: what a
//! sleeping thread waits for lasts longer than that, and no thread is held a microsecond longer for
//! it.

use super::draft::Draft;
use crate::capture::protocol::{ContextRecord, MemoryRecord, TracerRecord};
use crate::capture::{Base, Wish};
use crate::model::{Abi, MemoryOf, Reason, RuntimeAddress, SystemCall, Tid, X86_64Register};
use crate::sys::arena::TracerStep;
use crate::sys::ptrace::RawRegisters;

/// Bytes before and after a futex word: pthread_mutex_t keeps its owner in them, and so do others.
const AROUND_FUTEX: u64 = 64;
/// Descriptors of a poll, and bytes of a path, that are copied at most.
const MOST_POLLED: u64 = 64;
/// Operations on semaphores, and futexes of one wait, that are copied at most.
const MOST_OPERATIONS: u64 = 16;
const LONGEST_PATH: u64 = 4096;
const PAGE: u64 = 4096;
/// What is copied at most of one wish.
const LONGEST_WISH: u64 = 1 << 20;

/// What is to be copied with a thread.
struct Want {
    address: u64,
    length: u64,
    what: MemoryOf,
}

/// What the user asked for that belongs to no thread.
pub(super) fn of_process(draft: &mut Draft<'_>) {
    let wishes: Vec<Wish> = draft.view.request.memory.clone();
    for wish in wishes {
        let Base::Address(address) = wish.base else {
            continue;
        };
        match asked(draft, address, &wish) {
            Ok(copied) => draft.log.record(&TracerRecord::Memory(copied)),
            Err(reason) => draft.log.notice_process(reason),
        }
    }
}

/// What belongs to a thread: what its system call is about, and what the user asked for.
pub(super) fn of_thread(
    draft: &mut Draft<'_>,
    tid: Tid,
    context: &ContextRecord,
    call: Option<SystemCall>,
) -> Vec<MemoryRecord> {
    if draft.view.memory.is_none() || matches!(context, ContextRecord::Nothing) {
        return Vec::new();
    }
    let wants = match call {
        Some(call) => about(&call),
        None => Vec::new(),
    };
    let wishes: Vec<Wish> = draft.view.request.memory.clone();
    if wants.is_empty() && wishes.is_empty() {
        return Vec::new();
    }
    draft.log.arena.progress_page().step(TracerStep::ReadingMemory, tid.0);
    let mut copied: Vec<MemoryRecord> = wants
        .into_iter()
        .filter_map(|want| {
            let Want { address, length, what } = want;
            let copied = copy_memory(draft, RuntimeAddress(address), bounded(length), what.clone());
            // A lock may lie at the beginning of its mapping, with nothing before it.
            let page = address.next_multiple_of(PAGE);
            let is_futex = what == MemoryOf::Futex && (address..=address + AROUND_FUTEX).contains(&page);
            copied.or_else(|| {
                let left = length.saturating_sub(page - address);
                is_futex.then(|| copy_memory(draft, RuntimeAddress(page), bounded(left), what)).flatten()
            })
        })
        .collect();
    for wish in wishes.iter().filter(|wish| !matches!(wish.base, Base::Address(_))) {
        let found = match register(context, wish.base) {
            Some(address) => asked(draft, RuntimeAddress(address), wish),
            None => Err(not_copied(wish, libc::ENODATA)),
        };
        match found {
            Ok(record) => copied.push(record),
            Err(reason) => draft.log.notice(tid, reason),
        }
    }
    draft.log.arena.progress_page().step(TracerStep::ReadingProc, tid.0);
    copied
}

/// Copies what the user asked for, as long as all of it together is not too much.
fn asked(draft: &mut Draft<'_>, address: RuntimeAddress, wish: &Wish) -> Result<MemoryRecord, Reason> {
    let length = bounded(wish.length);
    if length > draft.progress.room_for_wishes {
        return Err(not_copied(wish, libc::ENOBUFS));
    }
    let what = MemoryOf::Asked(wish.text.clone());
    let copied = copy_memory(draft, address, length, what).ok_or_else(|| not_copied(wish, libc::EFAULT))?;
    draft.progress.room_for_wishes -= length;
    Ok(copied)
}

fn not_copied(wish: &Wish, errno: i32) -> Reason {
    Reason::Refused { what: format!("copying --memory {}", wish.text), errno }
}

/// The call of x86-64 whose arguments point to the same things. None for those of i386 that none is
/// known for.
fn like_x86_64(call: &SystemCall) -> Option<SystemCall> {
    let number = match (call.abi, call.number) {
        (Abi::X86_64, number) => number.into(),
        // futex, and the same with a time of 64 bits; poll.
        (Abi::I386, 240 | 422) => libc::SYS_futex,
        (Abi::I386, 168) => libc::SYS_poll,
        (Abi::I386, _) => return None,
    };
    Some(SystemCall { number: u32::try_from(number).ok()?, arguments: call.abi.values(call.arguments), ..*call })
}

fn bounded(length: u64) -> usize {
    usize::try_from(length.min(LONGEST_WISH)).unwrap_or(0)
}

/// The value of a register that a piece of memory begins at; None for one that is unknown, or for
/// an address.
fn register(context: &ContextRecord, base: Base) -> Option<u64> {
    match (context, base) {
        (_, Base::Address(_)) | (ContextRecord::Nothing, _) => None,
        (ContextRecord::Full(words), Base::Register(register)) => {
            RawRegisters::from_words(*words).interpret().general.get(register)
        }
        (ContextRecord::Full(words), Base::Special(register)) => {
            RawRegisters::from_words(*words).interpret().special.map(|special| special.get(register))
        }
        (ContextRecord::Blocked(blocked), Base::Register(X86_64Register::Rsp)) => Some(blocked.stack_pointer.0),
        (ContextRecord::Blocked(blocked), Base::Register(X86_64Register::Rip)) => Some(blocked.program_counter.0),
        (ContextRecord::Blocked(blocked), Base::Register(register)) => {
            let call = blocked.call?;
            let number = call.abi.argument_registers().iter().position(|argument| *argument == register)?;
            Some(call.arguments[number])
        }
        (ContextRecord::Blocked(_), Base::Special(_)) => None,
    }
}

/// The words that explain a wait in this call.
fn about(call: &SystemCall) -> Vec<Want> {
    let Some(call) = like_x86_64(call) else {
        return Vec::new();
    };
    let argument = |number: u8| call.arguments[usize::from(number)];
    let at = |number: u8, length: u64| {
        let address = argument(number);
        (address != 0).then_some(Want { address, length, what: MemoryOf::Argument(number) })
    };
    // Up to the end of the page, after which there may be nothing; a path that goes on there is
    // cut.
    let path = |number: u8| {
        let address = argument(number);
        let length = (PAGE - address % PAGE).clamp(256, LONGEST_PATH);
        (address != 0).then_some(Want { address, length, what: MemoryOf::Path(number) })
    };
    let wants = match libc::c_long::from(call.number) {
        libc::SYS_futex => {
            let word = argument(0);
            let address = word.saturating_sub(AROUND_FUTEX);
            return vec![Want { address, length: 2 * AROUND_FUTEX + 4, what: MemoryOf::Futex }];
        }
        libc::SYS_poll | libc::SYS_ppoll => vec![at(0, argument(1).min(MOST_POLLED) * 8)],
        libc::SYS_select | libc::SYS_pselect6 => {
            let bytes = argument(0).min(1024).div_ceil(64) * 8;
            vec![at(1, bytes), at(2, bytes), at(3, bytes), at(4, 16)]
        }
        libc::SYS_nanosleep => vec![at(0, 16)],
        libc::SYS_clock_nanosleep => vec![at(2, 16)],
        libc::SYS_rt_sigtimedwait => vec![at(0, 8), at(2, 16)],
        libc::SYS_rt_sigsuspend => vec![at(0, 8)],
        libc::SYS_semop => vec![at(1, argument(2).min(MOST_OPERATIONS) * 6)],
        libc::SYS_semtimedop => vec![at(1, argument(2).min(MOST_OPERATIONS) * 6), at(3, 16)],
        libc::SYS_futex_waitv => vec![at(0, argument(1).min(MOST_OPERATIONS) * 24), at(3, 16)],
        libc::SYS_connect => vec![at(1, argument(2).min(128))],
        libc::SYS_open
        | libc::SYS_stat
        | libc::SYS_lstat
        | libc::SYS_access
        | libc::SYS_unlink
        | libc::SYS_rmdir
        | libc::SYS_mkdir
        | libc::SYS_chdir
        | libc::SYS_execve
        | libc::SYS_readlink
        | libc::SYS_truncate => {
            vec![path(0)]
        }
        libc::SYS_rename | libc::SYS_link | libc::SYS_symlink => vec![path(0), path(1)],
        libc::SYS_openat
        | libc::SYS_newfstatat
        | libc::SYS_statx
        | libc::SYS_unlinkat
        | libc::SYS_mkdirat
        | libc::SYS_faccessat
        | libc::SYS_faccessat2
        | libc::SYS_readlinkat
        | libc::SYS_openat2 => vec![path(1)],
        libc::SYS_renameat | libc::SYS_renameat2 => vec![path(1), path(3)],
        _ => Vec::new(),
    };
    wants.into_iter().flatten().filter(|want| want.length > 0).collect()
}

/// Copies some memory that is not part of a stack, while no thread is held. None when there is
/// none.
fn copy_memory(draft: &mut Draft<'_>, address: RuntimeAddress, length: usize, what: MemoryOf) -> Option<MemoryRecord> {
    let memory = draft.view.memory?;
    let room = draft.log.arena.room(length);
    let wanted = length.min(room.len());
    let mut read = memory.read(address, &mut room[..wanted]).ok().filter(|read| *read > 0)?;
    if matches!(what, MemoryOf::Path(_)) {
        // What follows a path's end is somebody else's.
        read = room[..read].iter().position(|&byte| byte == 0).unwrap_or(read);
    }
    Some(MemoryRecord { address, bytes: draft.log.arena.keep(read), what })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(number: libc::c_long, arguments: [u64; 6]) -> SystemCall {
        SystemCall::new(u32::try_from(number).expect("a call's number"), arguments)
    }

    #[test]
    fn a_futex_wait_is_explained_by_what_surrounds_its_word() {
        let wants = about(&call(libc::SYS_futex, [0x5000, 0, 2, 0, 0, 0]));
        assert_eq!((wants[0].address, wants[0].length), (0x5000 - 64, 132));
    }

    #[test]
    fn hostile_arguments_ask_for_little() {
        for number in [libc::SYS_poll, libc::SYS_select, libc::SYS_connect, libc::SYS_openat, libc::SYS_futex] {
            let wants = about(&call(number, [u64::MAX; 6]));
            assert!(wants.iter().all(|want| want.length <= LONGEST_PATH), "call {number}");
        }
    }

    #[test]
    fn a_path_is_read_to_the_end_of_its_page() {
        let wants = about(&call(libc::SYS_openat, [0, 0x1f80, 0, 0, 0, 0]));
        assert_eq!((wants[0].address, wants[0].length), (0x1f80, 256));
        let wants = about(&call(libc::SYS_openat, [0, 0x1100, 0, 0, 0, 0]));
        assert_eq!(wants[0].length, 0xf00);
    }
}
