//! Which lock of PostgreSQL a backend waits for, and who has it: what pg_blocking_pids() says, read
//! from the server's shared memory.
//!
//! `MyProc` of a backend points to its PGPROC; that names the LOCK that it waits for, which lists a
//! PROCLOCK for each process that has it or waits for it. Layouts are those of the server's
//! src/include/storage/{proc,lock}.h on x86-64 and aarch64, releases 13 to 18.
//!
//! Promises: nothing is believed that does not agree with itself: the PGPROC has the process's id,
//! and its PROCLOCK names both it and its lock. All is read twice, and only what was the same both
//! times is said, so that it was so at one moment. Lists are bounded, and one that leads elsewhere
//! ends. Locks of other databases, lightweight locks and predicate locks are not read.

use std::collections::{BTreeMap, VecDeque};
use std::fs;

use super::{Reading, tasks};
use crate::model::{DatabaseLock, RuntimeAddress, Task};

/// Where a release has what is needed in PGPROC. After the lock come the PROCLOCK and the mode.
struct Layout {
    pid: u64,
    wait_lock: u64,
    /// Whether the kinds of locks are numbered as from 14 on.
    has_frozen_ids: bool,
}

const LAYOUTS: [Layout; 3] = [
    // 13: no `xid` in it, and a latch without `maybe_sleeping`.
    Layout { pid: 52, wait_lock: 96, has_frozen_ids: false },
    // 14 to 16.
    Layout { pid: 64, wait_lock: 112, has_frozen_ids: true },
    // 17 and 18: `lxid` has moved after the process's id.
    Layout { pid: 60, wait_lock: 112, has_frozen_ids: true },
];
const PROC_SIZE: usize = 136;
/// PROCLOCK: lock, process, leader of its group, modes that it has; its link in the lock's list.
const PROCLOCK_SIZE: usize = 48;
const LOCK_LINK: u64 = 32;
/// LOCK: its tag; the list of PROCLOCKs and the queue of PGPROCs, each a link to the last and the
/// next.
const LOCK_SIZE: usize = 64;
const PROC_LOCKS: u64 = 24;
const QUEUE: u64 = 40;
/// The pointer to the next in a link.
const NEXT: u64 = 8;

/// Processes that are looked at for one snapshot, and members of one list.
const MOST_WAITERS: usize = 64;
const MOST_MEMBERS: usize = 512;
const TRIES: usize = 3;

/// For each mode the modes that conflict with it, as bits: `LockConflicts` in lock.c.
const CONFLICTS: [u32; 9] = [0, 0x100, 0x180, 0x1e0, 0x1f0, 0x1d8, 0x1f8, 0x1fc, 0x1fe];
const MODES: [&str; 9] = [
    "NoLock",
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
];

/// A PGPROC and its process's id.
type Backend = (u64, i32);

#[derive(PartialEq, Eq)]
struct Raw {
    lock: u64,
    tag: [u8; 16],
    mode: usize,
    holders: Vec<Backend>,
    ahead: Vec<Backend>,
}

struct Memory<R>(R);

/// The lock that the process waits for, and those that the holders of it wait for, and so on.
/// `my_proc` is where the process has its pointer to its PGPROC.
pub(super) fn locks(
    reading: &mut Reading<'_>,
    my_proc: RuntimeAddress,
    read: impl Fn(RuntimeAddress, &mut [u8]) -> bool,
) -> Vec<DatabaseLock> {
    let memory = Memory(read);
    // It has none until it is a backend.
    let Some(own) = memory.pointer(my_proc.0).filter(|own| *own != 0) else { return Vec::new() };
    let pid = reading.process.inner_pid;
    let Some(proc) = memory.bytes::<PROC_SIZE>(own) else { return Vec::new() };
    let with_pid = || LAYOUTS.iter().filter(|layout| word(&proc, layout.pid) == Some(pid.cast_unsigned()));
    let mut waiting = with_pid().filter(|layout| memory.proclock_of(layout, own, &proc).is_some());
    let layout = match (waiting.next(), waiting.next()) {
        (Some(layout), None) => layout,
        // Where it waits for nothing there is nothing to say, whatever the layout.
        (None, _) if with_pid().any(|layout| long(&proc, layout.wait_lock) == Some(0)) => return Vec::new(),
        _ => {
            reading.unread("locks of PostgreSQL", "its structures are not those of releases 13 to 18");
            return Vec::new();
        }
    };
    let mut names = Names::of(reading);
    let mut open = VecDeque::from([(own, pid)]);
    let mut seen = vec![own];
    let mut found = Vec::new();
    while let Some((proc, pid)) = open.pop_front() {
        if reading.is_over() || found.len() == MOST_WAITERS {
            break;
        }
        let Some(raw) = memory.settled(layout, proc, pid) else { continue };
        let Some(waiter) = names.task(pid) else { continue };
        for holder in &raw.holders {
            if !seen.contains(&holder.0) && seen.len() < MOST_WAITERS {
                seen.push(holder.0);
                open.push_back(*holder);
            }
        }
        let mut named = |all: &[Backend]| all.iter().filter_map(|(_, pid)| names.task(*pid)).collect();
        found.push(DatabaseLock {
            waiter,
            address: RuntimeAddress(raw.lock),
            of: describe(&raw.tag, layout),
            mode: MODES[raw.mode].into(),
            holders: named(&raw.holders),
            ahead: named(&raw.ahead),
        });
    }
    found
}

fn word(bytes: &[u8], at: u64) -> Option<u32> {
    let from = usize::try_from(at).ok()?;
    Some(u32::from_le_bytes(bytes.get(from..from.checked_add(4)?)?.try_into().ok()?))
}

fn long(bytes: &[u8], at: u64) -> Option<u64> {
    let from = usize::try_from(at).ok()?;
    Some(u64::from_le_bytes(bytes.get(from..from.checked_add(8)?)?.try_into().ok()?))
}

impl<R: Fn(RuntimeAddress, &mut [u8]) -> bool> Memory<R> {
    fn bytes<const N: usize>(&self, at: u64) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        (self.0)(RuntimeAddress(at), &mut bytes).then_some(bytes)
    }

    fn pointer(&self, at: u64) -> Option<u64> {
        self.bytes(at).map(u64::from_le_bytes)
    }

    /// The lock that a PGPROC waits for and its PROCLOCK, if that names both.
    fn proclock_of(&self, layout: &Layout, at: u64, proc: &[u8; PROC_SIZE]) -> Option<(u64, [u8; PROCLOCK_SIZE])> {
        let lock = long(proc, layout.wait_lock).filter(|lock| *lock != 0)?;
        let proclock = self.bytes::<PROCLOCK_SIZE>(long(proc, layout.wait_lock + 8)?)?;
        (long(&proclock, 0) == Some(lock) && long(&proclock, 8) == Some(at)).then_some((lock, proclock))
    }

    /// What a process waits for, if it was the same in two readings.
    fn settled(&self, layout: &Layout, proc: u64, pid: i32) -> Option<Raw> {
        let mut before = self.wait(layout, proc, pid)?;
        for _ in 0..TRIES {
            let again = self.wait(layout, proc, pid)?;
            if again == before {
                return Some(again);
            }
            before = again;
        }
        None
    }

    fn wait(&self, layout: &Layout, at: u64, pid: i32) -> Option<Raw> {
        let proc = self.bytes::<PROC_SIZE>(at)?;
        if word(&proc, layout.pid) != Some(pid.cast_unsigned()) {
            return None;
        }
        let (address, proclock) = self.proclock_of(layout, at, &proc)?;
        let leader = long(&proclock, 16)?;
        let mode = mode_of(layout, &proc)?;
        let lock = self.bytes::<LOCK_SIZE>(address)?;
        let mut holders = Vec::new();
        let mut link = long(&lock, PROC_LOCKS + NEXT)?;
        let mut members = 0;
        while link != address.checked_add(PROC_LOCKS)? {
            members += 1;
            let proclock = self.bytes::<PROCLOCK_SIZE>(link.checked_sub(LOCK_LINK)?)?;
            if members > MOST_MEMBERS || long(&proclock, 0) != Some(address) {
                return None;
            }
            // Processes of one parallel query are in each other's way by design.
            if word(&proclock, 24)? & CONFLICTS[mode] != 0 && long(&proclock, 16)? != leader {
                let holder = long(&proclock, 8)?;
                let pid = word(&self.bytes::<PROC_SIZE>(holder)?, layout.pid)?.cast_signed();
                holders.push((holder, pid));
            }
            link = long(&proclock, LOCK_LINK + NEXT)?;
        }
        let ahead = self.ahead(layout, at, address, &lock, mode, leader)?;
        let ahead = ahead.into_iter().filter(|proc| !holders.contains(proc)).collect();
        Some(Raw { lock: address, tag: *lock.first_chunk()?, mode, holders, ahead })
    }

    /// Those before a process in the queue of a lock with whose requests its own conflicts.
    fn ahead(
        &self,
        layout: &Layout,
        at: u64,
        address: u64,
        lock: &[u8; LOCK_SIZE],
        mode: usize,
        leader: u64,
    ) -> Option<Vec<Backend>> {
        let mut ahead = Vec::new();
        // A PGPROC begins with its link.
        let mut link = long(lock, QUEUE + NEXT)?;
        let mut members = 0;
        while link != at {
            members += 1;
            let proc = self.bytes::<PROC_SIZE>(link)?;
            let (waits_for, proclock) = self.proclock_of(layout, link, &proc)?;
            if members > MOST_MEMBERS || waits_for != address {
                return None;
            }
            if CONFLICTS[mode] & 1 << mode_of(layout, &proc)? != 0 && long(&proclock, 16)? != leader {
                ahead.push((link, word(&proc, layout.pid)?.cast_signed()));
            }
            link = long(&proc, NEXT)?;
        }
        Some(ahead)
    }
}

fn mode_of(layout: &Layout, proc: &[u8]) -> Option<usize> {
    let mode = usize::try_from(word(proc, layout.wait_lock + 16)?).ok()?;
    (1..MODES.len()).contains(&mode).then_some(mode)
}

/// LOCKTAG: three numbers of 32 bits, one of 16, the kind.
fn describe(tag: &[u8; 16], layout: &Layout) -> String {
    let number = |at| word(tag, at).unwrap_or(0);
    let (first, second, third) = (number(0), number(4), number(8));
    let fourth = u16::from_le_bytes([tag[12], tag[13]]);
    match (tag[14], layout.has_frozen_ids) {
        (0, _) if first == 0 => format!("shared relation {second}"),
        (0, _) => format!("relation {second} of database {first}"),
        (1, true) => format!("extension of relation {second} of database {first}"),
        (2, true) => format!("frozen ids of database {first}"),
        (3, true) => format!("page {third} of relation {second} of database {first}"),
        (4, true) => format!("tuple ({third},{fourth}) of relation {second} of database {first}"),
        (5, true) => format!("transaction {first}"),
        (6, true) => format!("virtual transaction {first}/{second}"),
        (8, true) => format!("object {third} of class {second} of database {first}"),
        (10, true) => format!("advisory lock [{first},{second},{third},{fourth}]"),
        (kind, _) => format!("lock of kind {kind} [{first},{second},{third},{fourth}]"),
    }
}

/// Processes by the ids that the server knows them by.
struct Names {
    /// Of the server's children, where it has a PID namespace of its own.
    inner: Option<BTreeMap<i32, i32>>,
}

impl Names {
    fn of(reading: &Reading<'_>) -> Self {
        const MOST_CHILDREN: usize = 1024;
        let process = reading.process;
        if process.inner_pid == process.id.pid.0 {
            return Self { inner: None };
        }
        let server = tasks::parent(reading).map_or(0, |server| server.pid.0);
        let children = fs::read_to_string(format!("/proc/{server}/task/{server}/children")).unwrap_or_default();
        let pids = children.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok());
        let pairs =
            pids.take(MOST_CHILDREN).filter_map(|pid| Some((tasks::inner_id(&format!("/proc/{pid}/status"))?, pid)));
        Self { inner: Some(pairs.collect()) }
    }

    /// A prepared transaction has no process.
    fn task(&mut self, pid: i32) -> Option<Task> {
        let outer = match &self.inner {
            Some(inner) => *inner.get(&pid)?,
            None => pid,
        };
        tasks::process(outer).filter(|_| outer > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_conflict_in_both_directions() {
        for (one, conflicts) in CONFLICTS.iter().enumerate() {
            for (other, back) in CONFLICTS.iter().enumerate() {
                assert_eq!(conflicts >> other & 1, back >> one & 1, "{one} {other}");
            }
        }
    }
}
