//! Snapshots that are made up, each by its number and nothing else. Times of threads are multiples
//! of the units that the format keeps them in, so that they come back as they were.

use std::sync::Arc;
use std::time::Duration;

use hangsnap::model::*;

/// Pseudo-random numbers (splitmix64), the same ones for the same seed.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

/// HANGSNAP_SEED, to see again what was seen once; otherwise always the same.
pub fn seed() -> u64 {
    std::env::var("HANGSNAP_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

pub fn recording() -> Recording {
    Recording {
        version: "0".into(),
        host: "made".into(),
        kernel: "up".into(),
        boot_id: "9a6bd1f0".into(),
        machine: "x86_64".into(),
        interval: Some(Duration::from_secs(1)),
    }
}

/// When the snapshot of this number was taken, in nanoseconds since 1970: a second after the one
/// before it.
pub fn taken(number: u64) -> i64 {
    1_800_000_000_000_000_000 + 1_000_000_000 * i64::try_from(number).expect("few enough")
}

/// A process of a dozen threads; one moves from each snapshot to the next.
pub fn snapshot(number: u64) -> Snapshot {
    snapshot_of(number, 12)
}

/// A process of this many threads; every twentieth has moved since the snapshot before.
pub fn snapshot_of(number: u64, threads: u64) -> Snapshot {
    let moved = |tid: u64| (number + 20 - tid % 20) / 20;
    Snapshot {
        number,
        taken: Timestamp { realtime_ns: taken(number), monotonic_ns: 1_000_000_000 * number },
        process: Process {
            id: ProcessId { pid: Pid(1000), start: StartTime(7) },
            inner_pid: 1000,
            name: "made".into(),
            executable: "/opt/made/up".into(),
            command: vec!["up".into(), "--threads".into()],
        },
        stop: StopMode::OneAtATime,
        window: Duration::from_nanos(1000 + number % 7),
        took: Duration::from_micros(100),
        modules: (0..4).map(module).collect(),
        threads: (0..threads).map(|tid| thread(tid, moved(tid))).collect(),
        memory: Vec::new(),
        generated: Vec::new(),
        named: Vec::new(),
        wait_facts: std::sync::Arc::default(),
        notices: if number.is_multiple_of(10) { vec![lost(number)] } else { Vec::new() },
    }
}

fn lost(number: u64) -> Notice {
    Notice { subject: Subject::Process, reason: Reason::NamesUnreadable { why: format!("of snapshot {number}") } }
}

fn module(number: u64) -> Module {
    let start = 0x5555_0000_0000 + (number << 24);
    Module {
        path: format!("/opt/made/lib{number}.so"),
        build_id: Some(BuildId(vec![number as u8; 20])),
        bias: Bias(start),
        range: RuntimeAddress(start)..RuntimeAddress(start + 0x10_0000),
        image: None,
    }
}

/// A thread after this many moves. What it holds of memory is bytes that do not compress.
fn thread(tid: u64, moves: u64) -> Thread {
    let mut random = Random(tid << 32 | moves);
    let frame = |at: usize, address: u64| {
        let place = Place::InModule { module: ModuleIndex(at as u32 % 4), address: FileAddress(address) };
        match at {
            0 => Frame::new(CodeAddress::Pc(place), FoundBy::Context),
            _ => Frame::new(CodeAddress::Return(place), FoundBy::Cfi),
        }
    };
    let depth = 10 + random.below(20) as usize;
    let mut general = RegisterFile::default();
    general.set(X86_64Register::Rip, 0x5555_0000_0000 + random.below(1 << 20));
    general.set(X86_64Register::Rsp, 0x7fff_0000_0000 + random.below(1 << 20) * 8);
    let bytes: Vec<u8> = (0..8).flat_map(|_| random.next().to_le_bytes()).collect();
    Thread {
        tid: Tid(1000 + tid as i32),
        status: ThreadStatus {
            start: StartTime(7 + tid),
            name: format!("worker-{tid}"),
            state: ThreadState::from_letter('S'),
            scheduling: Scheduling { cpu_ns: Some(moves * 50_000), ..Scheduling::default() },
            signals: None,
            worker: None,
            wait: Arc::default(),
        },
        acquired: Acquired::Held(Duration::from_nanos(20_000 + moves % 100 * 4_000)),
        system_call: Some(SystemCall::new(202, [random.next(), 0, 1, 2, 3, 4])),
        registers: Registers { general, special: None, floating: None },
        stack: Arc::new(Stack {
            frames: (0..depth).map(|at| frame(at, 0x1000 + random.below(1 << 12) * 16)).collect(),
            gap: None,
            end: WalkEnd::Root,
        }),
        memory: vec![MemoryPiece { address: RuntimeAddress(0x7f00_0000), bytes: bytes.into(), what: MemoryOf::Futex }],
    }
}
