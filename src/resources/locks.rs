//! Around futex words: ids of owners outside of the process, thread pointers, and the addresses of
//! locks as they lie on other threads' stacks.
//!
//! Which object a word belongs to is known only when the functions have names, so more is looked up
//! than is used later: each word around that could be an id or a pointer.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::{Reading, tasks};
use crate::model::{MemoryOf, MemoryPiece, Owner, Reference, RuntimeAddress, SystemCall, Thread, Tid, WaitFacts};

/// Where owners lie, in bytes from the word that is waited on: in the word itself, in a mutex, in a
/// rwlock from both of its words.
const OWNERS: [u64; 4] = [0, 8, 12, 16];
/// FUTEX_TID_MASK.
const TID_MASK: u32 = 0x3fff_ffff;
/// pid_max can be no more than this (proc_sys_kernel(5)).
const LARGEST_TID: i32 = 1 << 22;
/// Where locks begin, in bytes before the word.
const BEGINNINGS: [u64; 4] = [0, 4, 8, 12];
/// Bounds on what is kept for one snapshot.
const MOST_OWNERS: usize = 256;
const MOST_REFERENCES: usize = 4096;
const MOST_LOCKS: usize = 16_384;

/// The word that is waited on and those around it, if a thread waits for a futex.
fn futex(call: Option<SystemCall>, memory: &[MemoryPiece]) -> Option<(u64, &MemoryPiece)> {
    let call = call.filter(|call| matches!(call.name(), Some("futex" | "futex_time64")))?;
    let piece = memory.iter().find(|piece| piece.what == MemoryOf::Futex)?;
    Some((call.abi.values(call.arguments)[0], piece))
}

fn word(piece: &MemoryPiece, address: u64) -> Option<u32> {
    let from = usize::try_from(address.checked_sub(piece.address.0)?).ok()?;
    Some(u32::from_le_bytes(piece.bytes.get(from..from.checked_add(4)?)?.try_into().ok()?))
}

fn long(piece: &MemoryPiece, address: u64) -> Option<u64> {
    let from = usize::try_from(address.checked_sub(piece.address.0)?).ok()?;
    Some(u64::from_le_bytes(piece.bytes.get(from..from.checked_add(8)?)?.try_into().ok()?))
}

/// The addresses at which the lock may begin that a thread in this call waits for: before the word,
/// and whatever lies around it and looks like a pointer, as parking_lot's keys do.
pub fn lock_addresses(call: Option<SystemCall>, memory: &[MemoryPiece]) -> Vec<u64> {
    let Some((address, piece)) = futex(call, memory) else { return Vec::new() };
    let skip = ((8 - piece.address.0 % 8) % 8) as usize;
    let (longs, _) = piece.bytes.get(skip..).unwrap_or_default().as_chunks::<8>();
    let pointers = longs.iter().map(|bytes| u64::from_le_bytes(*bytes)).filter(|long| is_pointer(*long));
    BEGINNINGS.iter().map(|before| address.saturating_sub(*before)).chain(pointers).collect()
}

/// Whether it could be an address of user space that something was allocated at.
fn is_pointer(long: u64) -> bool {
    (0x1_0000..0x7fff_ffff_f000).contains(&long) && long > u64::from(u32::MAX) / 16
}

/// The bytes of a thread's stack that were copied.
pub struct StackCopy<'a> {
    /// Its id, as hangsnap counts.
    pub tid: Tid,
    /// Each with the address of its first byte.
    pub pieces: Vec<(u64, &'a [u8])>,
}

/// Addresses at which locks may begin. All words of all stacks are looked up in it, which the
/// standard library's hash takes several times as long for; this one is seeded at random, too.
pub type Locks = HashSet<u64, foldhash::fast::RandomState>;

/// Excludes most words without a look at the addresses.
struct Filter([u64; 64]);

impl Filter {
    fn of(locks: &Locks) -> Self {
        let mut filter = Self([0; 64]);
        for lock in locks {
            let (word, bit) = Self::place(*lock);
            filter.0[word] |= bit;
        }
        filter
    }

    /// The upper bits of a product depend on all of the address.
    fn place(address: u64) -> (usize, u64) {
        let hash = address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52;
        ((hash >> 6) as usize, 1 << (hash & 63))
    }

    fn may_have(&self, address: u64) -> bool {
        let (word, bit) = Self::place(address);
        self.0[word] & bit != 0
    }
}

/// The words of stacks that are one of these addresses: for each thread and lock the outermost, for
/// a lock that is held was taken further out than what the thread does now.
pub fn references<'a>(locks: &Locks, stacks: impl Iterator<Item = StackCopy<'a>>) -> Vec<Reference> {
    if locks.is_empty() || locks.len() > MOST_LOCKS {
        return Vec::new();
    }
    let filter = Filter::of(locks);
    let mut found: BTreeMap<(Tid, u64), u64> = BTreeMap::new();
    for StackCopy { tid, pieces } in stacks {
        for (start, bytes) in pieces {
            let skip = (8 - start % 8) % 8;
            let (longs, _) = bytes.get(skip as usize..).unwrap_or_default().as_chunks::<8>();
            for (long, number) in longs.iter().zip(0_u64..) {
                let value = u64::from_le_bytes(*long);
                if filter.may_have(value) && locks.contains(&value) {
                    found.insert((tid, value), start + skip + number * 8);
                }
            }
        }
        if found.len() > MOST_REFERENCES {
            break;
        }
    }
    found
        .into_iter()
        .take(MOST_REFERENCES)
        .map(|((tid, lock), at)| Reference { tid, at: RuntimeAddress(at), lock: RuntimeAddress(lock) })
        .collect()
}

/// The threads outside of the process that words around futexes may be the ids of.
pub(super) fn owners(reading: &mut Reading<'_>, facts: &WaitFacts) -> Vec<Owner> {
    let is_inside = reading.process.inner_pid != reading.process.id.pid.0;
    let own: HashSet<i32> = match is_inside {
        true => facts.inner_tids.iter().map(|(inner, _)| *inner).collect(),
        false => reading.threads.iter().map(|thread| thread.tid.0).collect(),
    };
    let mut ids = BTreeSet::new();
    for thread in reading.threads {
        let Some((address, piece)) = futex(thread.system_call, &thread.memory) else { continue };
        let words = OWNERS.iter().filter_map(|after| word(piece, address.saturating_add(*after)));
        let of_pointer = long(piece, address.saturating_add(8))
            .and_then(|pointer| facts.thread_pointers.iter().find(|(at, _)| at.0 == pointer))
            .map(|(_, tid)| *tid);
        let ids_here = words.filter_map(|word| i32::try_from(word & TID_MASK).ok()).chain(of_pointer);
        ids.extend(ids_here.filter(|id| (1..=LARGEST_TID).contains(id) && !own.contains(id)));
        if ids.len() > MOST_OWNERS {
            break;
        }
    }
    if ids.is_empty() {
        return Vec::new();
    }
    if is_inside {
        // Which thread has this id in another namespace is known only by looking at all of them.
        reading.unread("owners of locks in other processes", "the process has a PID namespace of its own");
        return Vec::new();
    }
    // That there is no such thread is said only of words that lie where a mutex has its owner: any
    // other number is the id of no thread, too.
    ids.into_iter()
        .take(MOST_OWNERS)
        .filter_map(|inner| Some(Owner { inner, task: Some(tasks::task(inner)?) }))
        .collect()
}

/// Words after locks that are thread pointers, each with the thread's id: a stdio lock has its
/// owner's. `struct pthread` of glibc begins with two pointers to itself, sixteen bytes apart
/// (`tcbhead_t`), and has the id at 720 on x86-64 from 2.31 to 2.42; both are verified.
pub(super) fn thread_pointers(
    reading: &Reading<'_>,
    read: impl Fn(RuntimeAddress, &mut [u8]) -> bool,
) -> Vec<(RuntimeAddress, i32)> {
    const SELF: u64 = 16;
    const TID: u64 = 720;
    const LOW_LEVEL_LOCK: u64 = 2;
    let pointer = |thread: &Thread| {
        let (address, piece) = futex(thread.system_call, &thread.memory)?;
        let expected = thread.system_call?.arguments[2];
        let pointer = long(piece, address.saturating_add(8)).filter(|pointer| is_pointer(*pointer))?;
        (expected & u64::from(u32::MAX) == LOW_LEVEL_LOCK).then_some(pointer)
    };
    let pointers: BTreeSet<u64> = reading.threads.iter().filter_map(pointer).collect();
    let long_at = |address: u64| {
        let mut bytes = [0; 8];
        read(RuntimeAddress(address), &mut bytes).then(|| u64::from_le_bytes(bytes))
    };
    let tid = |pointer: &u64| {
        let is_own = long_at(*pointer)? == *pointer && long_at(pointer.checked_add(SELF)?)? == *pointer;
        let tid = i32::try_from(long_at(pointer.checked_add(TID)?)? & u64::from(u32::MAX)).ok()?;
        (is_own && tid > 0).then_some((RuntimeAddress(*pointer), tid))
    };
    pointers.iter().take(MOST_OWNERS).filter_map(tid).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outermost_word_of_a_stack_is_kept_for_each_lock() {
        let mut bytes = vec![0; 64];
        for at in [8, 40] {
            bytes[at..at + 8].copy_from_slice(&0x7fff_0000_1000_u64.to_le_bytes());
        }
        let stack = StackCopy { tid: Tid(7), pieces: vec![(0x1000, &bytes)] };
        let found = references(&Locks::from_iter([0x7fff_0000_1000]), std::iter::once(stack));
        assert_eq!(found.iter().map(|found| found.at.0).collect::<Vec<_>>(), [0x1028]);
    }
}
