//! The table of what a futex wait means, by the function that waits.
//!
//! A new lock is a row here, a function in the file of its family, and a program in `tests/victims`
//! that hangs in it. Rows are tried for each function from the innermost outwards, so that a mutex
//! taken by a condition variable is one, and a lock below `dlopen` is what it is.

use super::futex::Futex;
use super::{Call, Calls, Kind, Resource, Scene, Wait, glibc, musl, rust};
use crate::model::Thread;

/// A futex wait with all that explains it.
pub(super) struct Reading<'s, 'a> {
    pub(super) scene: &'s Scene<'a>,
    pub(super) thread: &'s Thread,
    pub(super) calls: &'s Calls<'a>,
    pub(super) futex: &'s Futex<'s>,
    /// The function that decides what the word means.
    pub(super) name: &'s str,
}

impl Reading<'_, '_> {
    /// A wait for this kind of thing, so many bytes before the word.
    pub(super) fn wait(&self, kind: Kind, offset: u64) -> Wait {
        self.wait_for(Resource::at(kind, self.futex.base(offset)))
    }

    pub(super) fn wait_for(&self, resource: Resource) -> Wait {
        Wait {
            is_private: self.futex.is_private,
            is_word_other: self.futex.is_other(),
            ..Wait::for_what(resource).timed(self.futex.is_timed)
        }
    }
}

type Read = fn(&Reading<'_, '_>) -> Wait;

/// A name as the table knows it.
enum Function {
    /// Exactly, without what libraries put around it.
    Is(&'static str),
    Begins(&'static str),
    /// Part of a name with its path, as of Rust and C++.
    Has(&'static str),
}
use Function::{Begins, Has, Is};

/// Of the functions of a C library that both have: glibc's meaning.
const GLIBC: [(Function, Read); 11] = [
    (Begins("pthread_mutex_"), glibc::mutex),
    (Begins("pthread_rwlock_"), glibc::rwlock),
    (Begins("pthread_cond_"), glibc::condvar),
    (Begins("pthread_join"), glibc::join),
    (Begins("pthread_clockjoin"), glibc::join),
    (Begins("pthread_timedjoin"), glibc::join),
    (Is("pthread_barrier_wait"), glibc::barrier),
    (Begins("new_sem_"), glibc::semaphore),
    (Begins("sem_"), glibc::semaphore),
    (Begins("pthread_once"), |reading| reading.wait(Kind::Once, 0)),
    (Is("call_once"), |reading| reading.wait(Kind::Once, 0)),
];

/// What glibc's own locks wait in, where none of the above is on the stack.
const LOW_LEVEL: [(Function, Read); 3] = [
    (Begins("lll_lock_wait"), glibc::low_level_lock),
    (Is("flockfile"), glibc::low_level_lock),
    (Is("malloc"), glibc::low_level_lock),
];

const MUSL: [(Function, Read); 13] = [
    (Begins("pthread_mutex_"), musl::mutex),
    (Begins("pthread_rwlock_"), musl::rwlock),
    (Begins("pthread_cond_"), |reading| reading.wait(Kind::Condvar, 0)),
    (Begins("private_cond_"), |reading| reading.wait(Kind::Condvar, 0)),
    (Begins("pthread_join"), |reading| reading.wait(Kind::Thread, 0)),
    (Begins("pthread_timedjoin"), |reading| reading.wait(Kind::Thread, 0)),
    (Is("pthread_barrier_wait"), |reading| reading.wait(Kind::Barrier, 0)),
    (Begins("sem_"), |reading| reading.wait(Kind::Semaphore, 0)),
    (Begins("pthread_once"), |reading| reading.wait(Kind::Once, 0)),
    (Is("lockfile"), musl::stdio),
    (Is("flockfile"), musl::stdio),
    (Is("lock"), |reading| reading.wait(Kind::InternalLock, 0)),
    (Is("malloc"), |reading| reading.wait(Kind::InternalLock, 0)),
];

/// Of languages above the C library. A park is said to be what is parked for.
const ABOVE: [(Function, Read); 16] = [
    (Has("sync::mutex::futex::Mutex"), rust::mutex),
    (Has("sync::rwlock::futex::RwLock"), rust::rwlock),
    (Has("condvar::futex::Condvar"), |reading| reading.wait(Kind::Condvar, 0)),
    (Has("sync::once::futex::Once"), |reading| reading.wait(Kind::Once, 0)),
    (Has("once::futex::Once"), |reading| reading.wait(Kind::Once, 0)),
    (Has("parking_lot::raw_mutex::RawMutex"), rust::parking_lot_mutex),
    (Has("parking_lot::raw_rwlock::RawRwLock"), rust::parking_lot_rwlock),
    (Has("parking_lot::condvar::Condvar"), |reading| reading.wait(Kind::Condvar, 0)),
    (Has("thread_parking::futex::Parker"), rust::parker),
    (Has("parking_lot_core::thread_parker"), rust::parking_lot),
    (Has("parking_lot_core::parking_lot"), rust::parking_lot),
    // libstdc++ does not say to the kernel that its word is private, but it is.
    (Has("__atomic_futex_unsigned"), |reading| Wait { is_private: true, ..reading.wait(Kind::Future, 0) }),
    (Has("std::call_once"), |reading| reading.wait(Kind::Once, 0)),
    (Has("std::__detail::__platform_wait"), |reading| reading.wait(Kind::Futex, 0)),
    (Is("take_gil"), |reading| reading.wait_for(Resource::named(Kind::Gil, "Python's GIL"))),
    (Is("PyThread_acquire_lock_timed"), |reading| reading.wait(Kind::Semaphore, 0)),
];

/// What the wait is for.
pub(super) fn read(scene: &Scene<'_>, thread: &Thread, calls: &Calls<'_>, futex: &Futex<'_>) -> Wait {
    let reading = |name| Reading { scene, thread, calls, futex, name };
    let libc: &[(Function, Read)] = if musl::is_musl(calls) { &MUSL } else { &GLIBC };
    let mut is_any_named = false;
    // What a language waits for is known by its own functions, which call those of the C library.
    for table in [&ABOVE[..], libc, &LOW_LEVEL] {
        for call in calls.innermost() {
            is_any_named |= !call.name().is_empty();
            if let Some((_, read)) = table.iter().find(|(function, _)| function.is(call)) {
                return read(&reading(call.plain()));
            }
        }
    }
    if let Some(wait) = glibc::nameless_join(&reading("")) {
        return wait;
    }
    let wait = reading("").wait(Kind::Futex, 0);
    if is_any_named && calls.innermost().next().is_some_and(|call| !call.name().is_empty()) {
        return wait;
    }
    glibc::nameless(&reading("")).unwrap_or(wait)
}

impl Function {
    fn is(&self, call: &Call<'_>) -> bool {
        match self {
            Is(name) => call.plain() == *name,
            Begins(name) => call.plain().starts_with(name),
            Has(part) => call.name().contains(part),
        }
    }
}

/// A word that lies in a lock as the address of a thread's own structure.
pub(super) fn thread_of_pointer(scene: &Scene<'_>, pointer: u64) -> Option<i32> {
    scene.index.thread_of_pointer(pointer)
}
