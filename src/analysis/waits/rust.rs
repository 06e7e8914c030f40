//! Locks of Rust's standard library and of parking_lot. None of them says who owns it.
//!
//! From library/std/src/sys/sync/{mutex,rwlock}/futex.rs and parking_lot's raw_mutex.rs. In
//! parking_lot a thread waits in a word of its own, and the lock's address is the key beside it.

use super::reading::Reading;
use super::{Kind, Resource, Wait};
use crate::model::RuntimeAddress;

/// The lock of standard output is a mutex in a structure with its owner's id before it.
pub(super) fn mutex(reading: &Reading<'_, '_>) -> Wait {
    let is_reentrant = reading.calls.mentions("ReentrantLock") || reading.calls.mentions("reentrant_lock");
    reading.wait(if is_reentrant { Kind::StdioLock } else { Kind::Mutex }, 0)
}

/// Readers wait at the state, writers at the word after it.
pub(super) fn rwlock(reading: &Reading<'_, '_>) -> Wait {
    const WRITER_NOTIFY: u64 = 4;
    let is_writing = reading.calls.mentions("write_contended");
    Wait { is_writing, ..reading.wait(Kind::Rwlock, if is_writing { WRITER_NOTIFY } else { 0 }) }
}

/// What a thread has parked itself for, as its callers say.
pub(super) fn parker(reading: &Reading<'_, '_>) -> Wait {
    let is_channel = reading.calls.mentions("sync::mpmc::") || reading.calls.mentions("crossbeam_channel::");
    reading.wait(if is_channel { Kind::Channel } else { Kind::Parker }, 0)
}

pub(super) fn parking_lot_mutex(reading: &Reading<'_, '_>) -> Wait {
    with_key(reading, Kind::Mutex)
}

pub(super) fn parking_lot_rwlock(reading: &Reading<'_, '_>) -> Wait {
    with_key(reading, Kind::Rwlock)
}

/// The functions around it say what it is.
pub(super) fn parking_lot(reading: &Reading<'_, '_>) -> Wait {
    let kinds = [("RawMutex", Kind::Mutex), ("RawRwLock", Kind::Rwlock), ("Condvar", Kind::Condvar)];
    match kinds.into_iter().find(|(part, _)| reading.calls.mentions(part)) {
        Some((_, kind)) if kind.is_lock() => with_key(reading, kind),
        Some((_, kind)) => reading.wait(kind, 0),
        None => reading.wait(Kind::Parker, 0),
    }
}

/// The key is the one word beside the parker that stacks refer to.
fn with_key(reading: &Reading<'_, '_>, kind: Kind) -> Wait {
    let is_key = |word: &u64| !reading.scene.index.referrers(RuntimeAddress(*word)).is_empty();
    match reading.futex.longs().find(is_key) {
        Some(key) => reading.wait_for(Resource::at(kind, RuntimeAddress(key))),
        None => reading.wait_for(Resource::named(kind, "a lock whose address is not known")),
    }
}
