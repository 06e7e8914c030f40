//! Locks of glibc on x86-64, as they lie in memory from 2.31 to 2.42.
//!
//! From sysdeps/x86/nptl/bits/pthreadtypes-arch.h, nptl/pthreadP.h and
//! nptl/pthread_rwlock_common.c; offsets are from the beginning of the object.

use std::collections::HashMap;

use super::index::threads_whose;
use super::owners::id;
use super::reading::{Reading, thread_of_pointer};
use super::{Calls, Holder, Kind, Proof, Resource, Wait};
use crate::model::Tid;

/// `pthread_mutex_t`: its owner's tid, how many hold or have locked it, and its kind.
const MUTEX_OWNER: i64 = 8;
const MUTEX_USERS: i64 = 12;
const MUTEX_KIND: i64 = 16;
/// In the kind: the lock word is the owner's tid, and who died with it is dealt with.
const KIND_ROBUST: u32 = 16;
const KIND_PI: u32 = 32;
const KIND_TYPE: u32 = 3;
const KIND_RECURSIVE: u32 = 1;
/// FUTEX_TID_MASK of linux/futex.h.
const TID_MASK: u32 = 0x3fff_ffff;

/// Whether it is a kind that there is: what only has the length of a mutex names no owner.
fn is_kind(kind: u32) -> bool {
    /// Type, robust, inherits or protects priorities, process-shared, elision, the priority
    /// ceiling.
    const KNOWN: u32 = KIND_TYPE | KIND_ROBUST | KIND_PI | 64 | 128 | 256 | 512 | 0xfff8_0000;
    kind & !KNOWN == 0
}

pub(super) fn mutex(reading: &Reading<'_, '_>) -> Wait {
    let futex = reading.futex;
    let kind = futex.word(MUTEX_KIND);
    let is_in_word = futex.is_pi || kind.is_some_and(|kind| kind & (KIND_ROBUST | KIND_PI) != 0);
    let owner = match is_in_word {
        true => futex.word(0).map(|word| word & TID_MASK),
        false => futex.word(MUTEX_OWNER),
    };
    if futex.expected == 0 && !futex.is_pi && reading.name.ends_with("_full") {
        return Wait { is_word_other: false, ..reading.wait_for(Resource::named(Kind::Mutex, REFUSED)) };
    }
    let mut wait = Wait { has_owner_field: true, ..reading.wait(Kind::Mutex, 0) };
    // There is none for a moment after it was taken.
    if let Some(owner) = owner.filter(|_| kind.is_some_and(is_kind)).and_then(id) {
        wait.holders.push(Holder::proved(reading.scene.owner(owner, reading.thread, futex.is_private)));
    }
    wait
}

/// What a thread waits for that the kernel did not let wait for a priority-inheritance mutex, for
/// that would have been a deadlock. glibc lets it wait for ever, in a word of its own stack.
const REFUSED: &str = "a priority-inheritance mutex that the kernel refused to wait for, for a deadlock";

/// Adds who holds those mutexes: the thread that waits for one that this thread has. Where it goes
/// through several threads it is not known which of them is the first.
pub(super) fn refused_by_the_kernel(scene: &super::Scene<'_>, waits: &mut [Option<Wait>]) {
    let is_refused = |wait: &Wait| wait.resource.name == REFUSED;
    let threads = &scene.snapshot.threads;
    if !waits.iter().flatten().any(is_refused) {
        return;
    }
    // Of each thread the first that waits for a mutex of its, and whether there are more.
    let mut waiting: HashMap<Tid, (Tid, bool)> = HashMap::new();
    for (wait, thread) in waits.iter().zip(threads) {
        let Some(wait) = wait.as_ref().filter(|wait| wait.resource.kind == Kind::Mutex && !is_refused(wait)) else {
            continue;
        };
        for holder in &wait.holders {
            if let super::Who::Thread(tid) = holder.who {
                waiting.entry(tid).and_modify(|(_, is_one_of)| *is_one_of = true).or_insert((thread.tid, false));
            }
        }
    }
    for (wait, thread) in waits.iter_mut().zip(threads) {
        if let Some(wait) = wait.as_mut().filter(|wait| is_refused(wait)) {
            let (tid, is_one_of) = waiting.get(&thread.tid).copied().unwrap_or((thread.tid, false));
            let proof = if is_one_of { Proof::Guessed } else { Proof::Proved };
            wait.holders = vec![Holder { who: super::Who::Thread(tid), proof }];
        }
    }
}

/// `pthread_rwlock_t`: readers wait at +8 until a writer has gone. So do writers until the readers
/// have, and at +12 for other writers.
pub(super) fn rwlock(reading: &Reading<'_, '_>) -> Wait {
    const WRITE_PHASE_FUTEX: u64 = 8;
    const WRITERS_FUTEX: u64 = 12;
    const WRITER: i64 = 24;
    /// What a thread that waits for the write phase expects there: readers have it, and someone
    /// waits.
    const READ_PHASE: u32 = 2;
    let futex = reading.futex;
    let is_writer = reading.name.contains("wr") && !reading.name.contains("_rd");
    let offset = match is_writer && futex.expected != READ_PHASE {
        true => WRITERS_FUTEX,
        false => WRITE_PHASE_FUTEX,
    };
    let mut wait = Wait { is_writing: is_writer, ..reading.wait(Kind::Rwlock, offset) };
    let writer = futex.word(WRITER - offset.cast_signed());
    if let Some(writer) = writer.and_then(id) {
        wait.holders.push(Holder::proved(reading.scene.owner(writer, reading.thread, futex.is_private)));
    }
    wait
}

/// `pthread_cond_t`: the word is one of two counts of signals, at 40 and 44 up to 2.40, at 32 and
/// 36 from 2.41 on, which has no references of the group any more, eight bytes before its size.
pub(super) fn condvar(reading: &Reading<'_, '_>) -> Wait {
    const SIGNALS: u64 = 40;
    const SIGNALS_2_41: u64 = 32;
    /// From the count of signals back to the references of the same group; each waiter has two
    /// of them. Where there are none that is half of a count of groups.
    const REFERENCES: i64 = -24;
    if is_for_gil(reading) {
        return reading.wait_for(Resource::named(Kind::Gil, "Python's GIL"));
    }
    let futex = reading.futex;
    let has_references = futex.word(REFERENCES).is_some_and(|references| references >= 2);
    let offset = if has_references { SIGNALS } else { SIGNALS_2_41 };
    reading.wait(Kind::Condvar, offset + futex.address.0 % 8)
}

/// Whether the condition is that of Python's GIL, for which a thread waits a few milliseconds at a
/// time: ceval_gil.h. The function has a name only where the interpreter is not stripped.
fn is_for_gil(reading: &Reading<'_, '_>) -> bool {
    const CALLERS: [&str; 8] = [
        "take_gil",
        "PyEval_RestoreThread",
        "PyEval_AcquireThread",
        "PyGILState_Ensure",
        "PyEval_EvalFrameDefault",
        "Py_HandlePending",
        "PyEval_AcquireLock",
        "eval_frame_handle_pending",
    ];
    let caller = reading.calls.innermost().find(|call| !call.is_in_libc() && !call.name().is_empty());
    reading.futex.is_timed && caller.is_some_and(|call| CALLERS.contains(&call.plain()))
}

/// `pthread_barrier_t`: the count of those who came, then the round that is waited for.
pub(super) fn barrier(reading: &Reading<'_, '_>) -> Wait {
    const ROUND: u64 = 4;
    reading.wait(Kind::Barrier, ROUND)
}

pub(super) fn semaphore(reading: &Reading<'_, '_>) -> Wait {
    reading.wait(Kind::Semaphore, 0)
}

/// Up to 2.42 the word is the tid of the thread whose end is waited for, until the kernel clears
/// it.
pub(super) fn join(reading: &Reading<'_, '_>) -> Wait {
    let (futex, scene) = (reading.futex, reading.scene);
    let joined = futex.word(0).and_then(|word| i32::try_from(word).ok()).and_then(|tid| scene.thread_of_inner(tid));
    match joined {
        Some(thread) => {
            let name = format!("the end of {} ({})", thread.status.name, thread.tid);
            let mut wait = reading.wait_for(Resource { kind: Kind::Thread, address: Some(futex.address), name });
            wait.holders.push(Holder::proved(super::Who::Thread(thread.tid)));
            // The kernel wakes it, for which the word must be shared; only a thread here ends it.
            wait.is_private = true;
            wait
        }
        None => reading.wait(Kind::Thread, 0),
    }
}

/// The same where the function has no name, as in a C library without debug information, where
/// `pthread_join` has given its place on the stack to a local function: no other wait is for a word
/// that is not private, lies in the library's keeping, and is the id of a living thread.
pub(super) fn nameless_join(reading: &Reading<'_, '_>) -> Option<Wait> {
    let futex = reading.futex;
    let tid = i32::try_from(futex.expected).ok().filter(|tid| *tid > 0)?;
    let is_in_libc = reading.calls.innermost().next().is_some_and(super::Call::is_in_libc);
    let is_join = !futex.is_private && is_in_libc && futex.word(0) == Some(futex.expected);
    reading.scene.thread_of_inner(tid).filter(|_| is_join)?;
    Some(join(reading))
}

/// A bare lock word. In a stdio stream the thread pointer of its owner comes after it; of the
/// others of the library it is known who is inside the functions that take them.
pub(super) fn low_level_lock(reading: &Reading<'_, '_>) -> Wait {
    /// `_IO_lock_t`: lock, count, owner.
    const STDIO_OWNER: i64 = 8;
    let (futex, scene) = (reading.futex, reading.scene);
    if reading.calls.innermost().any(|call| is_stdio(call.plain())) {
        let mut wait = reading.wait(Kind::StdioLock, 0);
        let owner = futex.long(STDIO_OWNER).and_then(|pointer| thread_of_pointer(scene, pointer));
        if let Some(owner) = owner {
            wait.holders.push(Holder::proved(scene.owner(owner, reading.thread, futex.is_private)));
        }
        return wait;
    }
    let mut wait = reading.wait(Kind::InternalLock, 0);
    if !reading.calls.iter().any(|call| is_allocator(call.plain())) {
        return wait;
    }
    // It is none of a lock's own fields: those who are inside of the allocator hold it, or this one
    // itself, if a signal has interrupted it there.
    let is_inside = |calls: &Calls<'_>| {
        calls.iter().any(|call| call.is_in_libc() && is_allocator(call.plain()))
            && !calls.iter().any(|call| call.plain().starts_with("lll_lock_wait"))
    };
    let others = scene.index.in_allocator(|| threads_whose(scene.snapshot, scene.calls, is_inside));
    let own = reading.thread.tid;
    let times = reading.calls.iter().filter(|call| call.is_in_libc() && is_allocator(call.plain()));
    let frames: std::collections::BTreeSet<usize> = times.map(|call| call.frame).collect();
    let is_itself = reading.calls.has("restore_rt") && frames.len() > 1;
    let mut inside = others.iter().copied().filter(|tid| *tid != own).chain(is_itself.then_some(own));
    if let (Some(tid), None) = (inside.next(), inside.next()) {
        wait.holders.push(Holder { who: super::Who::Thread(tid), proof: Proof::Inferred });
    }
    wait
}

fn is_allocator(plain: &str) -> bool {
    const NAMES: [&str; 11] = [
        "malloc",
        "libc_malloc",
        "int_malloc",
        "free",
        "libc_free",
        "int_free",
        "cfree",
        "calloc",
        "libc_calloc",
        "realloc",
        "malloc_consolidate",
    ];
    NAMES.contains(&plain) || plain.starts_with("int_") || plain.starts_with("sysmalloc")
}

/// Whether a function takes the lock of a stream.
fn is_stdio(plain: &str) -> bool {
    const NAMES: [&str; 26] = [
        "flockfile",
        "fputs",
        "puts",
        "fwrite",
        "fread",
        "printf",
        "vprintf",
        "fprintf",
        "vfprintf",
        "putchar",
        "putc",
        "fputc",
        "fgets",
        "fgetc",
        "getc",
        "getchar",
        "getline",
        "getdelim",
        "fflush",
        "fclose",
        "fseek",
        "ftell",
        "perror",
        "fputws",
        "ungetc",
        "scanf",
    ];
    plain.starts_with("IO_")
        || plain.starts_with("vfprintf")
        || plain.starts_with("new_fclose")
        || NAMES.contains(&plain)
        || plain.strip_suffix("_chk").is_some_and(|name| NAMES.contains(&name))
}

/// A wait in code without names, as in a stripped program that is linked with the library: a mutex
/// has its owner, its one user and a kind that exists just where they must be.
pub(super) fn nameless(reading: &Reading<'_, '_>) -> Option<Wait> {
    const CONTENDED: u32 = 2;
    let futex = reading.futex;
    let (owner, users, kind) = (futex.word(MUTEX_OWNER)?, futex.word(MUTEX_USERS)?, futex.word(MUTEX_KIND)?);
    let owner = i32::try_from(owner).ok().filter(|owner| *owner > 0)?;
    let is_mutex = futex.expected == CONTENDED
        && futex.word(0) == Some(CONTENDED)
        && users >= 1
        && kind & !(KIND_TYPE | 128 | 256 | 512) == 0
        && (kind & KIND_TYPE == KIND_RECURSIVE || futex.word(4) == Some(0));
    let thread = reading.scene.thread_of_inner(owner).filter(|_| is_mutex)?;
    let mut wait = reading.wait(Kind::Mutex, 0);
    let who = reading.scene.owner(owner, reading.thread, futex.is_private);
    let is_here = who == super::Who::Thread(thread.tid);
    wait.holders.extend(is_here.then_some(Holder { who, proof: Proof::Guessed }));
    is_here.then_some(wait)
}
