//! Processes that are made up: threads in calls, with names of functions and words around futexes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hangsnap::model::*;
use hangsnap::store::{Policy, Stored, Sync, Writer};

use crate::record::made;

pub const FUTEX: u32 = 202;
pub const NANOSLEEP: u32 = 35;
const WAIT_PRIVATE: u64 = 128;
/// Bytes that lie before a futex word in its piece of memory.
const BEFORE: u64 = 64;
/// The functions that stacks may have; the first is the kernel's door, the last the program's own.
pub const FUNCTIONS: [&str; 12] = [
    "__futex_abstimed_wait",
    "___pthread_mutex_lock",
    "___pthread_rwlock_wrlock",
    "__pthread_cond_wait",
    "__pthread_join",
    "__lll_lock_wait_private",
    "__libc_malloc",
    "std::sys::sync::mutex::futex::Mutex::lock_contended",
    "parking_lot::raw_mutex::RawMutex::lock_slow",
    "std::sys::sync::rwlock::futex::RwLock::write_contended",
    "_IO_puts",
    "work",
];
pub const OWN: usize = FUNCTIONS.len() - 1;

pub fn tid(number: usize) -> Tid {
    Tid(1000 + i32::try_from(number).expect("few"))
}

/// The address of a made-up lock.
pub fn lock(number: usize) -> u64 {
    0x7f00_0000_0000 + 64 * number as u64
}

/// A thread that sleeps in a call, below these functions.
pub fn thread(number: usize, call: SystemCall, functions: &[usize]) -> Thread {
    let mut thread = made::snapshot_of(1, 1).threads.remove(0);
    thread.tid = tid(number);
    thread.status.name = format!("thread-{number}");
    thread.status.start = StartTime(7);
    thread.status.scheduling = Scheduling {
        cpu_ns: Some(1000),
        voluntary_switches: Some(3),
        involuntary_switches: Some(1),
        ..thread.status.scheduling
    };
    thread.acquired = Acquired::ReadInPlace;
    thread.system_call = Some(call);
    thread.memory = Vec::new();
    let frame = |(at, function): (usize, &usize)| {
        let module = ModuleIndex(u32::from(*function == OWN));
        let address = FileAddress(0x1000 * (*function as u64 + 1) + u64::from(at > 0));
        let place = Place::InModule { module, address };
        match at {
            0 => Frame::new(CodeAddress::Pc(place), FoundBy::Context),
            _ => Frame::new(CodeAddress::Return(place), FoundBy::Cfi),
        }
    };
    let frames = functions.iter().enumerate().map(frame).collect();
    thread.stack = Arc::new(Stack { frames, gap: None, end: WalkEnd::Root });
    thread
}

/// One that waits for a futex, with what lies around the word.
pub fn futex(number: usize, address: u64, expected: u32, function: usize, words: &[(u64, u32)]) -> Thread {
    let call = SystemCall::new(FUTEX, [address, WAIT_PRIVATE, expected.into(), 0, 0, 0]);
    let mut thread = thread(number, call, &[0, function, OWN]);
    let mut bytes = vec![0; 3 * BEFORE as usize];
    for (offset, word) in words {
        let at = (BEFORE + offset) as usize;
        bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }
    thread.memory =
        vec![MemoryPiece { address: RuntimeAddress(address - BEFORE), bytes: bytes.into(), what: MemoryOf::Futex }];
    thread
}

/// One that waits for a mutex of glibc's with this owner.
pub fn mutex(number: usize, address: u64, owner: i32) -> Thread {
    futex(number, address, 2, 1, &[(0, 2), (8, owner.cast_unsigned()), (12, 1)])
}

pub fn sleeper(number: usize) -> Thread {
    const AN_HOUR: u64 = 3600;
    let bytes = [AN_HOUR.to_le_bytes(), 0_u64.to_le_bytes()].concat();
    let asked = MemoryPiece { address: RuntimeAddress(1), bytes: bytes.into(), what: MemoryOf::Argument(0) };
    Thread { memory: vec![asked], ..thread(number, SystemCall::new(NANOSLEEP, [1, 0, 0, 0, 0, 0]), &[0, OWN]) }
}

/// A snapshot of them.
pub fn snapshot(number: u64, threads: Vec<Thread>, facts: WaitFacts) -> Snapshot {
    let made = made::snapshot_of(number, 0);
    let module = |path: &str, of: &Module| Module { path: path.into(), ..of.clone() };
    let modules = vec![module("/opt/made/libc.so.6", &made.modules[0]), module("/opt/made/up", &made.modules[1])];
    let named = FUNCTIONS.iter().enumerate().map(|(at, name)| {
        let function = Function { name: Some((*name).into()), file: Some("made.c".into()), line: Some(1) };
        let module = ModuleIndex(u32::from(at == OWN));
        NamedCode { module, address: FileAddress(0x1000 * (at as u64 + 1)), functions: [function].into() }
    });
    Snapshot { modules, threads, named: named.collect(), wait_facts: Arc::new(facts), notices: Vec::new(), ..made }
}

/// Records the same threads three times: none of them has run.
pub fn record(directory: &Path, threads: Vec<Thread>, facts: WaitFacts) -> PathBuf {
    record_all(directory, (1..=3).map(|number| snapshot(number, threads.clone(), facts.clone())))
}

pub fn record_all(directory: &Path, snapshots: impl Iterator<Item = Snapshot>) -> PathBuf {
    let path = directory.join("made.hangsnap");
    let policy = Policy { max_size: 1 << 30, earlier_count: true, keep_for: None, sync: Sync::Never };
    let mut writer = Writer::create(&path, &made::recording(), policy).expect("a new directory");
    for snapshot in snapshots {
        let stored = writer.append(&snapshot);
        assert!(matches!(stored, Ok(Stored::Yes { .. })), "there is room");
    }
    writer.finish().expect("it can be ended");
    path
}
