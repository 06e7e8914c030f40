//! Locks of musl, as they lie in memory: src/internal/pthread_impl.h and src/stdio/__lockfile.c.

use super::owners::id;
use super::reading::Reading;
use super::{Calls, Holder, Kind, Wait};

/// Bits of a lock word beside the owner's tid: that others wait, and that the owner died.
const TID_MASK: u32 = 0x3fff_ffff;

/// Whether the C library on this stack is musl.
pub(super) fn is_musl(calls: &Calls<'_>) -> bool {
    calls.innermost().any(|call| {
        call.module.contains("musl")
            || matches!(call.plain(), "timedwait_cp" | "timedwait" | "syscall_cp_c" | "futexwait")
    })
}

/// `pthread_mutex_t`: its type, then the lock word. A normal mutex has no owner in it.
pub(super) fn mutex(reading: &Reading<'_, '_>) -> Wait {
    const LOCK: u64 = 4;
    const TYPE: i64 = -4;
    const NORMAL: u32 = 0;
    let futex = reading.futex;
    let mut wait = reading.wait(Kind::Mutex, LOCK);
    let has_owner = futex.word(TYPE).is_some_and(|kind| kind & 15 != NORMAL);
    let owner = futex.word(0).filter(|_| has_owner).map(|word| word & TID_MASK);
    if let Some(owner) = owner.and_then(id) {
        wait.holders.push(Holder::proved(reading.scene.owner(owner, reading.thread, futex.is_private)));
    }
    wait
}

pub(super) fn rwlock(reading: &Reading<'_, '_>) -> Wait {
    reading.wait(Kind::Rwlock, 0)
}

/// The lock word of a stream is its owner's tid.
pub(super) fn stdio(reading: &Reading<'_, '_>) -> Wait {
    let futex = reading.futex;
    let mut wait = reading.wait(Kind::StdioLock, 0);
    let owner = futex.word(0).and_then(|word| id(word & TID_MASK));
    if let Some(owner) = owner {
        wait.holders.push(Holder::proved(reading.scene.owner(owner, reading.thread, futex.is_private)));
    }
    wait
}
