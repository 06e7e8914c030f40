//! Snapshots that no honest process has, and some that are only very large: what is said of them
//! stays true, nothing panics, and time and memory are bounded.

mod cost;
mod process;
mod random;

use std::path::Path;
use std::sync::Arc;

use hangsnap::model::*;
use serde_json::Value;

use crate::record::made::Random;
use cost::{Said, stuck};
use process::{FUTEX, OWN, futex, lock, mutex, record, record_all, sleeper, snapshot, thread, tid};

const MANY: usize = 10_000;

fn said_of(what: &str, threads: Vec<Thread>, facts: WaitFacts) -> Said {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = record(directory.path(), threads, facts);
    let json = stuck(&format!("{what}, as JSON"), &path, &["--json"]);
    serde_json::from_str::<Value>(&json.text).expect("it is JSON");
    stuck(what, &path, &[])
}

fn no_stack() -> Arc<Stack> {
    Arc::new(Stack { frames: Vec::new(), gap: None, end: WalkEnd::Root })
}

fn begins(said: &Said, with: &str) {
    assert!(said.text.starts_with(with), "{with}: {}", said.text.lines().take(4).collect::<Vec<_>>().join("\n"));
}

#[test]
fn an_owner_may_be_the_one_that_waits() {
    let said = said_of("an owner that waits for itself", vec![mutex(0, lock(0), tid(0).0)], WaitFacts::default());
    begins(&said, "SELF-DEADLOCK, proved: thread-0");
}

#[test]
fn long_cycles_chains_and_queues_are_named_in_time() {
    let next = |number: usize| mutex(number, lock(number), tid((number + 1) % MANY).0);
    let said = said_of("a cycle of 10,000", (0..MANY).map(next).collect(), WaitFacts::default());
    begins(&said, "DEADLOCK, proved");
    let pair = |number: usize| mutex(number, lock(number), tid(number ^ 1).0);
    let said = said_of("5,000 cycles", (0..MANY).map(pair).collect(), WaitFacts::default());
    begins(&said, "DEADLOCK, proved");
    let chain = (0..MANY - 1).map(next).chain([sleeper(MANY - 1)]).collect();
    let said = said_of("a chain of 10,000", chain, WaitFacts::default());
    begins(&said, "CONVOY");
    assert!(said.text.lines().next().is_some_and(|line| line.contains("thread-9999")), "{}", &said.text[..200]);
    let queue = (0..MANY).map(|number| if number == 0 { sleeper(0) } else { mutex(number, lock(0), tid(0).0) });
    let said = said_of("10,000 wait for one", queue.collect(), WaitFacts::default());
    begins(&said, "CONVOY, proved: thread-0");
    // They lead into a cycle that they are no part of.
    let led = |number: usize| mutex(number, lock(number), tid(if number < 2 { number ^ 1 } else { number - 1 }).0);
    let said = said_of("a chain into a cycle", (0..MANY).map(led).collect(), WaitFacts::default());
    begins(&said, "DEADLOCK, proved");
    assert!(said.text.contains("9998 threads wait for them"), "{}", said.text.lines().take(6).collect::<String>());
}

#[test]
fn locks_that_name_no_owner_are_judged_in_time() {
    const RUST: usize = 7;
    const PARKING_LOT: usize = 8;
    const RWLOCK: usize = 9;
    let all = |of: &dyn Fn(usize) -> Thread| (0..MANY).map(of).collect::<Vec<_>>();
    said_of("10,000 wait, no owner", all(&|number| futex(number, lock(0), 2, RUST, &[(0, 2)])), WaitFacts::default());
    said_of(
        "10,000 locks, no owner",
        all(&|number| futex(number, lock(number), 2, RUST, &[(0, 2)])),
        WaitFacts::default(),
    );
    said_of("10,000 writers", all(&|number| futex(number, lock(0), 2, RWLOCK, &[(0, 2)])), WaitFacts::default());
    let refer = |count: usize, locks: usize| WaitFacts {
        references: (0..count)
            .map(|at| Reference {
                tid: tid(at % MANY),
                at: RuntimeAddress(8 * at as u64),
                lock: RuntimeAddress(lock(at / 7 % locks)),
            })
            .collect(),
        ..WaitFacts::default()
    };
    let half = |number: usize| match number % 2 {
        0 => futex(number, lock(0), 2, RUST, &[(0, 2)]),
        _ => futex(number, lock(1), 2, RUST, &[(0, 2)]),
    };
    said_of("50,000 references to two locks", all(&half), refer(50_000, 2));
    said_of(
        "50,000 references to 10,000 locks",
        all(&|number| futex(number, lock(number), 2, PARKING_LOT, &[(0, 2)])),
        refer(50_000, MANY),
    );
    let malloc = |number: usize| {
        let call = SystemCall::new(FUTEX, [lock(0), 128, 2, 0, 0, 0]);
        thread(number, call, &[0, 5, 6, OWN])
    };
    said_of("10,000 in malloc", all(&malloc), WaitFacts::default());
}

#[test]
fn names_that_others_chose_are_printed_as_text() {
    const EVIL: &str = "\x1b[2J\x1b]0;owned\x07\nDEADLOCK, proved: \r\u{9b}31m";
    let task = Task { pid: Pid(77), name: EVIL.into(), state: ThreadState::from_letter('S'), start: StartTime(1) };
    let socket = Socket {
        protocol: EVIL.into(),
        local: EVIL.into(),
        peer: EVIL.into(),
        others: vec![task.clone()],
        ..Socket::default()
    };
    let descriptor = |number, detail| Descriptor { number, target: EVIL.into(), detail };
    let facts = WaitFacts {
        descriptors: vec![
            descriptor(3, Detail::Socket(socket)),
            descriptor(4, Detail::Pipe { is_writer: true, others: vec![task.clone()] }),
            descriptor(5, Detail::Nothing),
        ],
        children: vec![task.clone()],
        file_locks: vec![FileLock {
            kind: EVIL.into(),
            is_write: true,
            holder: Some(task.clone()),
            waiters: vec![tid(5)].into_iter().map(|tid| Pid(tid.0)).collect(),
            file: EVIL.into(),
            path: Some(EVIL.into()),
        }],
        owners: vec![Owner { inner: 77, task: Some((Tid(77), task.clone())) }],
        parent: Some(task),
        unread: vec![Unread { what: EVIL.into(), why: EVIL.into() }],
        fuse: vec![FuseMount { path: EVIL.into(), waiting: 1, servers: Vec::new() }],
        ..WaitFacts::default()
    };
    let call = |number: usize, call: u32, first: u64| {
        let mut thread = thread(number, SystemCall::new(call, [first, 0, 0, 0, 0, 0]), &[0, OWN]);
        thread.status.name = EVIL.into();
        thread
    };
    // write, read, read, wait4, flock.
    let mut threads =
        vec![call(0, 1, 3), call(1, 1, 4), call(2, 0, 5), call(3, 61, 77), mutex(4, lock(0), 77), call(5, 73, 5)];
    threads.extend([mutex(6, lock(1), tid(7).0), mutex(7, lock(2), tid(6).0)]);
    for thread in &mut threads {
        thread.status.name = EVIL.into();
    }
    for frozen in [None, Some(EVIL.to_owned())] {
        let said = said_of("names with ESC[2J and newlines", threads.clone(), WaitFacts { frozen, ..facts.clone() });
        let odd = |c: char| c.is_control() && c != '\n';
        assert!(!said.text.contains(odd), "{:?}", said.text);
        let forged = said.text.lines().filter(|line| line.starts_with("DEADLOCK, proved: \\r")).count();
        assert_eq!(forged, 0, "{}", said.text);
    }
}

#[test]
fn what_is_missing_or_of_others_proves_nothing() {
    let bare = |number: usize| {
        let call = SystemCall::new(FUTEX, [lock(number), 128, 2, 0, 0, 0]);
        thread(number, call, &[0, 1, OWN])
    };
    let said = said_of("locks at unmapped addresses", (0..4).map(bare).collect(), WaitFacts::default());
    assert!(!said.text.contains(", proved"), "{}", said.text);
    let without = |number: usize| Thread { stack: no_stack(), ..mutex(number, lock(number), tid(number ^ 1).0) };
    let said = said_of("threads without stacks", (0..4).map(without).collect(), WaitFacts::default());
    assert!(!said.text.contains(", proved"), "{}", said.text);
    let lost = |number: usize| Thread {
        stack: no_stack(),
        acquired: Acquired::NotCaptured,
        system_call: None,
        memory: Vec::new(),
        ..mutex(number, lock(number), tid(number ^ 1).0)
    };
    let said = said_of("threads that were not captured", (0..4).map(lost).collect(), WaitFacts::default());
    assert_eq!(said.code, 0, "{}", said.text);
    assert!(said.text.contains("4 threads of made (1000) could not be captured"), "{}", said.text);
    // Facts about threads that this process does not have.
    let others = |from: i32| (from..from + 50_000).map(Tid);
    let facts = WaitFacts {
        last_ran: others(50_000).map(|tid| LastRan { tid, monotonic_ns: 1 }).collect(),
        references: others(50_000)
            .map(|tid| Reference { tid, at: RuntimeAddress(8), lock: RuntimeAddress(lock(0)) })
            .collect(),
        inner_tids: others(50_000).map(|tid| (tid.0 - 50_000, tid)).collect(),
        thread_pointers: (0..50_000).map(|at| (RuntimeAddress(at), 1)).collect(),
        ..WaitFacts::default()
    };
    let owned = (0..MANY).map(|number| mutex(number, lock(0), tid((number + 1) % MANY).0)).collect();
    let said = said_of("facts of another process's threads", owned, facts);
    assert!(!said.text.contains("DEADLOCK"), "{}", said.text.lines().take(4).collect::<String>());
    let task = |pid: i32| Task {
        pid: Pid(pid),
        name: "x".repeat(4096),
        state: ThreadState::from_letter('S'),
        start: StartTime(1),
    };
    let facts = WaitFacts { children: (1..3_000).map(task).collect(), ..WaitFacts::default() };
    let waiting = (0..MANY).map(|number| thread(number, SystemCall::new(61, [u64::MAX, 0, 0, 0, 0, 0]), &[0, OWN]));
    said_of("10,000 wait for 3,000 children", waiting.collect(), facts);
}

/// Eight threads that took two locks in order were a "deadlock" one time in eight: each owned the
/// lock at the moment at which another was looked at.
#[test]
fn threads_that_have_a_lock_in_turn_are_no_deadlock() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let ran = |number: u64, mut thread: Thread| {
        thread.status.scheduling.voluntary_switches = Some(number);
        thread
    };
    let recorded = |name: &str, samples: u64, threads: &dyn Fn(u64) -> Vec<Thread>| {
        let directory = directory.path().join(name);
        std::fs::create_dir(&directory).expect("a new directory");
        let sample = |number| snapshot(number, threads(number), WaitFacts::default());
        stuck(name, &record_all(&directory, (1..=samples).map(sample)), &[])
    };
    let in_turn = |number| (0..2).map(|at| ran(number, mutex(at, lock(0), tid(1 - at).0))).collect::<Vec<_>>();
    let said = recorded("a lock in turn", 3, &in_turn);
    assert_eq!(said.code, 0, "{}", said.text);
    assert!(!said.text.contains("DEADLOCK"), "{}", said.text);
    let said = recorded("its own owner for a moment", 3, &|number| vec![ran(number, mutex(0, lock(0), tid(0).0))]);
    assert_eq!(said.code, 0, "{}", said.text);
    let said = recorded("a lock in turn, seen once", 1, &in_turn);
    assert_eq!(said.code, 0, "{}", said.text);
    begins(&said, "Nothing is known to be stuck");
    // Threads that begin, take the lock and end; the one that waits is not woken.
    let said = recorded("owners that come and go", 3, &|number| {
        vec![mutex(0, lock(0), tid(100 + usize::try_from(number).expect("few")).0), sleeper(1)]
    });
    assert_eq!(said.code, 0, "{}", said.text);
    let said = recorded("an owner that is gone", 3, &|_| vec![mutex(0, lock(0), tid(100).0), sleeper(1)]);
    begins(&said, "ABANDONED LOCK, proved");
}

#[test]
fn a_cycle_that_ends_by_a_limit_is_said_and_not_accused() {
    let waits = |number: usize| mutex(number, lock(number), tid(number ^ 1).0);
    let timed = |mut thread: Thread| {
        let call = thread.system_call.as_mut().expect("it waits");
        call.arguments[3] = 0x1000;
        thread
    };
    let said = said_of("a timed lock in a cycle", vec![timed(waits(0)), waits(1)], WaitFacts::default());
    assert_eq!(said.code, 0, "{}", said.text);
    assert!(said.text.contains("DEADLOCK, proved: no member has run"), "{}", said.text);
    assert!(said.text.starts_with("Nothing is known to be stuck"), "{}", said.text);
}

/// A mutex that checks nothing may be unlocked by a thread that has not locked it: one that keeps
/// its address may be about to.
#[test]
fn a_mutex_that_another_thread_may_unlock_is_no_self_deadlock() {
    let reference = |of: usize| Reference { tid: tid(of), at: RuntimeAddress(8), lock: RuntimeAddress(lock(0)) };
    let threads = || vec![mutex(0, lock(0), tid(0).0), sleeper(1)];
    let facts = WaitFacts { references: vec![reference(1)], ..WaitFacts::default() };
    let said = said_of("a mutex that another thread refers to", threads(), facts);
    assert_eq!(said.code, 0, "{}", said.text);
    assert!(said.text.contains("SELF-DEADLOCK, guessed"), "{}", said.text);
    let facts = WaitFacts { references: vec![reference(0)], ..WaitFacts::default() };
    let said = said_of("a mutex that no other refers to", threads(), facts);
    begins(&said, "SELF-DEADLOCK, proved");
}

/// Of a process that two runs have recorded all threads were counted twice.
#[test]
fn a_process_with_two_recordings_is_one() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let threads = || vec![mutex(0, lock(0), tid(1).0), sleeper(1)];
    for (name, from) in [("first", 1), ("second", 4)] {
        let place = directory.path().join(name);
        std::fs::create_dir(&place).expect("a new directory");
        let samples = (from..from + 3).map(|number| snapshot(number, threads(), WaitFacts::default()));
        let made = record_all(&place, samples);
        std::fs::rename(made, directory.path().join(format!("{name}.hangsnap"))).expect("the same file system");
        std::fs::remove_dir_all(place).expect("it is ours");
    }
    let alone = stuck("one recording", &directory.path().join("second.hangsnap"), &[]);
    let both = stuck("two recordings", directory.path(), &[]);
    begins(&alone, "CONVOY, proved: thread-1");
    assert_eq!(both.text, alone.text);
}

#[test]
fn recordings_from_before_these_facts_accuse_no_thread() {
    for name in ["first-format.hangsnap", "second-format.hangsnap"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        let said = stuck(name, &path, &[]);
        assert!(!said.text.contains(", proved"), "{}", said.text);
        assert_eq!(said.code, 0, "{}", said.text);
    }
}

#[test]
fn a_long_recording_of_many_threads_is_judged_in_time() {
    const SAMPLES: u64 = 720;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut threads: Vec<Thread> = (0..MANY)
        .map(|number| if number == 0 { sleeper(0) } else { mutex(number, lock(number % 100), tid(0).0) })
        .collect();
    let mut random = Random(7);
    let snapshots = (1..=SAMPLES).map(|number| {
        for (at, thread) in threads.iter_mut().enumerate() {
            // One of a hundred has run, and is where it was; the others have not since the first.
            let has_run = number > 1 && at % 10 == 9 && random.below(10) == 0;
            if has_run {
                thread.status.scheduling.voluntary_switches =
                    thread.status.scheduling.voluntary_switches.map(|count| count + 1);
                thread.acquired = Acquired::ReadInPlace;
            } else if number > 1 && thread.acquired == Acquired::ReadInPlace {
                let realtime_ns = crate::record::made::taken(number - 1);
                thread.acquired = Acquired::UnchangedSince(Moment { number: number - 1, realtime_ns });
            }
        }
        snapshot(number, threads.clone(), WaitFacts::default())
    });
    let path = record_all(directory.path(), snapshots);
    stuck("10,000 threads, 720 samples (first)", &path, &[]);
    let said = stuck("10,000 threads, 720 samples (warm)", &path, &[]);
    begins(&said, "CONVOY, proved: thread-0");
    assert!(said.text.lines().next().is_some_and(|line| line.ends_with("for 11 min 59 s")), "{}", &said.text[..300]);
}
