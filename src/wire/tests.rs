//! What is encoded is decoded, and what is not of the format is refused.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;

use super::pb::record::Kind;
use super::{Decoder, Encoder, Error, Peeked, Record, packed, pb, peek};
use crate::model::*;

/// A piece of memory of each kind.
fn memory() -> Vec<MemoryPiece> {
    let piece =
        |what, bytes: &[u8]| MemoryPiece { address: RuntimeAddress(0x7fff_0000_0000), bytes: bytes.into(), what };
    vec![
        piece(MemoryOf::Futex, b"\0\x01\xff"),
        piece(MemoryOf::Argument(5), b""),
        piece(MemoryOf::Path(0), b"/a"),
        piece(MemoryOf::Asked("rsp:64".into()), &[0; 64]),
        piece(MemoryOf::Stack, &[7; 1500]),
        MemoryPiece { address: RuntimeAddress(0x7fff_0000_0123), ..piece(MemoryOf::Stack, &[8; 1500]) },
        MemoryPiece { address: RuntimeAddress(u64::MAX - 100), ..piece(MemoryOf::Stack, &[9; 30]) },
    ]
}

/// The first snapshot of a file, as the message that is written.
fn message_of(snapshot: &Snapshot) -> pb::Snapshot {
    let encoded = Encoder::default().snapshot(snapshot);
    match packed::unpack(&encoded.payload).expect("it was just encoded") {
        Some(Kind::Snapshot(message)) => message,
        other => panic!("the first is whole: {other:?}"),
    }
}

/// A snapshot in which every kind of everything occurs.
fn everything(number: u64) -> Snapshot {
    let place = |address| Place::InModule { module: ModuleIndex(1), address: FileAddress(address) };
    let frames = [
        Frame::new(CodeAddress::Pc(Place::Outside(RuntimeAddress(0xdead))), FoundBy::Context),
        Frame::new(CodeAddress::Return(place(0x10)), FoundBy::Guess),
        Frame::new(CodeAddress::Return(place(0x20)), FoundBy::Cfi),
        Frame::new(CodeAddress::Pc(place(0x20)), FoundBy::SignalFrame),
        Frame::new(CodeAddress::Return(Place::Outside(RuntimeAddress(0x30))), FoundBy::FramePointer),
        Frame::new(CodeAddress::Return(place(0x40)), FoundBy::Inferred),
        Frame::new(CodeAddress::Return(place(0x50)), FoundBy::Unknown),
    ];
    let at = RuntimeAddress(0x7fff_0000_1234);
    let ends = [
        WalkEnd::Root,
        WalkEnd::NotCaptured,
        WalkEnd::MemoryNotCopied(at),
        WalkEnd::UnknownRegister(X86_64Register::R15.into()),
        WalkEnd::NoUnwindInfo(at),
        WalkEnd::BadUnwindInfo(at),
        WalkEnd::BadReturnAddress(at),
        WalkEnd::NoProgress,
        WalkEnd::TooManyFrames,
        WalkEnd::Unknown,
    ];
    let mut general = RegisterFile::default();
    general.set(X86_64Register::Rsp, u64::MAX);
    general.set(X86_64Register::Rax, 0);
    let thread = |(tid, end): (i32, WalkEnd)| Thread {
        tid: Tid(tid),
        status: ThreadStatus {
            start: StartTime(u64::MAX),
            name: "worker \u{fffd}".into(),
            state: ThreadState::from_letter(['R', 'S', 'D', 'T', 't', 'Z', 'X', 'P'][tid as usize % 8]),
            scheduling: Scheduling {
                cpu_ns: (tid % 2 == 0).then_some(0),
                run_queue_wait_ns: (tid % 2 == 1).then_some(0),
                voluntary_switches: (tid % 3 == 0).then_some(7),
                involuntary_switches: (tid % 3 == 1).then_some(0),
                last_cpu: (tid % 4 == 0).then_some(0),
                policy: (tid % 5 > 0).then(|| Policy::from_number(tid as u32 % 8)),
            },
            signals: (tid % 2 == 0).then_some(SignalSets {
                blocked: SignalSet(1),
                ignored: SignalSet(2),
                caught: SignalSet(u64::MAX),
                pending: SignalSet(0),
                process_pending: SignalSet(1 << 63),
            }),
            worker: [None, Some(KernelWorker::IoUring), Some(KernelWorker::Other)][tid as usize % 3],
            wait: KernelWait {
                channel: (tid % 2 == 0).then(|| "futex_wait_queue".into()),
                stack: [None, Some(Vec::new()), Some(vec!["a+0x1/0x2".into(), "b".into()])][tid as usize % 3].clone(),
            }
            .into(),
        },
        acquired: [
            Acquired::ReadInPlace,
            Acquired::Held(Duration::from_nanos(0)),
            Acquired::NotCaptured,
            Acquired::UnchangedSince(Moment { number: u64::MAX, realtime_ns: -1 }),
        ][tid as usize % 4],
        system_call: (tid % 2 == 1).then_some(SystemCall {
            abi: [Abi::X86_64, Abi::I386][tid as usize % 4 / 2],
            number: 0,
            arguments: [0, 1, u64::MAX, 3, 4, 5],
        }),
        registers: Registers {
            general,
            special: (tid % 3 != 0).then_some(SpecialRegisters([1, 2, 3, 4, 5, 6, 7, 8, u64::MAX])),
            floating: (tid % 4 == 1).then(|| FloatingPoint(vec![7; 512].into())),
        },
        stack: Arc::new(Stack {
            frames: frames[..tid as usize % 7].to_vec(),
            gap: match tid {
                8 | 9 => Some(Gap { after: 1, frames: 0, bytes: 0 }),
                _ => (tid % 5 == 1).then_some(Gap { after: tid as usize % 2, frames: tid as u64, bytes: 1 << 40 }),
            },
            end,
        }),
        memory: if tid % 2 == 0 { Vec::new() } else { memory() },
    };
    let notice = |subject, reason| Notice { subject, reason };
    let call = SystemCall::new(232, [1, 2, 3, 4, 5, u64::MAX]);
    let module = |path: &str, build_id: Option<&[u8]>, image: Option<&[u8]>| Module {
        path: path.into(),
        build_id: build_id.map(|id| BuildId(id.to_vec())),
        bias: Bias(0x5555_0000_0000),
        range: RuntimeAddress(1)..RuntimeAddress(2),
        image: image.map(Into::into),
    };
    let generated = |address, range: std::ops::Range<u64>, name: &str| GeneratedCode {
        address: RuntimeAddress(address),
        range: RuntimeAddress(range.start)..RuntimeAddress(range.end),
        name: name.into(),
    };
    let function = |name: Option<&str>, file: Option<&str>, line| Function {
        name: name.map(Into::into),
        file: file.map(Into::into),
        line,
    };
    let named = |address, functions: &[Function]| NamedCode {
        module: ModuleIndex(1),
        address: FileAddress(address),
        functions: functions.into(),
    };
    Snapshot {
        number,
        taken: Timestamp { realtime_ns: -5, monotonic_ns: 77 },
        process: Process {
            id: ProcessId { pid: Pid(1234), start: StartTime(9) },
            inner_pid: 1,
            name: "name".into(),
            executable: "/bin/x".into(),
            command: vec!["x".into(), String::new(), "-y".into()],
        },
        stop: [StopMode::All, StopMode::OneAtATime, StopMode::None][number as usize % 3],
        window: Duration::from_micros(12),
        took: Duration::from_micros(345),
        modules: vec![module("/bin/x", None, None), module("[vdso]", Some(&[1, 2]), Some(b"ELF"))],
        threads: (1..).zip(ends).map(thread).collect(),
        memory: memory(),
        generated: vec![generated(0x30, 0x20..0x40, "~f \u{fffd}"), generated(0xdead, 0..u64::MAX, "")],
        named: vec![
            named(0xf, &[function(Some("inlined"), Some("/a.c"), Some(3)), function(Some("~f \u{fffd}"), None, None)]),
            named(0x1f, &[]),
            named(0x20, &[function(None, None, Some(0)), function(None, Some(""), None)]),
        ],
        wait_facts: Arc::new(wait_facts()),
        notices: vec![
            notice(Subject::Process, Reason::ThreadsStillAppearing),
            notice(Subject::Process, Reason::NamesUnreadable { why: "is a FIFO".into() }),
            notice(Subject::Thread(Tid(5)), Reason::Running),
            notice(Subject::Thread(Tid(5)), Reason::Unsteady),
            notice(Subject::Thread(Tid(5)), Reason::Disturbed(call)),
            notice(Subject::Process, Reason::CallUnknown),
            notice(Subject::Process, Reason::MemoryBlocked),
            notice(Subject::Process, Reason::MemoryGone),
            notice(Subject::Thread(Tid(6)), Reason::Unknown),
            notice(Subject::Process, Reason::Executed),
            notice(Subject::Process, Reason::Ended),
            notice(Subject::Process, Reason::Degraded { to: StopMode::None, cause: Cause::Duty }),
            notice(Subject::Process, Reason::Degraded { to: StopMode::None, cause: Cause::Filter }),
            notice(Subject::Process, Reason::Degraded { to: StopMode::OneAtATime, cause: Cause::Hold }),
            notice(Subject::Thread(Tid(5)), Reason::HeldTooLong { limit_us: 10_000 }),
            notice(Subject::Thread(Tid(5)), Reason::TracerDied),
            notice(Subject::Process, Reason::Degraded { to: StopMode::None, cause: Cause::TracerKilled }),
            notice(Subject::Process, Reason::NotHeldInTime { threads: 12 }),
            notice(Subject::Thread(Tid(5)), Reason::ThreadGone),
            notice(Subject::Thread(Tid(5)), Reason::Uninterruptible),
            notice(Subject::Thread(Tid(5)), Reason::DidNotStop { waited_us: 5000 }),
            notice(Subject::Thread(Tid(5)), Reason::AlreadyTraced { tracer: Pid(812), tracer_name: "strace".into() }),
            notice(Subject::Thread(Tid(5)), Reason::StoppedLate),
            notice(Subject::Thread(Tid(5)), Reason::Exited),
            notice(Subject::Thread(Tid(5)), Reason::Refused { what: "asking".into(), errno: 1 }),
            notice(Subject::Thread(Tid(5)), Reason::StackPointerWild(at)),
            notice(Subject::Thread(Tid(5)), Reason::StackTruncated { copied: 1 << 20 }),
            notice(Subject::Module("/bin/x".into()), Reason::FileReplaced),
            notice(Subject::Module("/gone".into()), Reason::FileUnreadable { why: "it is a FIFO".into() }),
        ],
    }
}

fn snapshot_of(record: Result<Record, Error>) -> Snapshot {
    match record {
        Ok(Record::Snapshot(snapshot)) => *snapshot,
        other => panic!("not a snapshot: {other:?}"),
    }
}

fn wait_facts() -> WaitFacts {
    let task = |pid| Task { pid: Pid(pid), name: format!("~{pid}"), state: ThreadState::Sleeping, start: StartTime(9) };
    let descriptor = |number, detail| Descriptor { number, target: format!("pipe:[{number}]"), detail };
    let socket = Socket {
        protocol: "tcp".into(),
        local: "127.0.0.1:1".into(),
        peer: "[::1]:2".into(),
        state: 10,
        receive_queue: u32::MAX,
        send_queue: 1,
        others: vec![task(3)],
    };
    WaitFacts {
        last_ran: vec![LastRan { tid: Tid(5), monotonic_ns: u64::MAX }],
        descriptors: vec![
            descriptor(0, Detail::Nothing),
            descriptor(1, Detail::Pipe { is_writer: true, others: vec![task(1), task(2)] }),
            descriptor(2, Detail::Socket(socket)),
            descriptor(3, Detail::Event(0)),
            descriptor(4, Detail::Timer(7)),
            descriptor(5, Detail::Epoll(vec![1, 2])),
            descriptor(6, Detail::Process(Pid(8))),
        ],
        file_locks: vec![FileLock {
            kind: "FLOCK".into(),
            is_write: true,
            holder: None,
            waiters: vec![Pid(4)],
            file: "08:01:5".into(),
            path: Some("/a".into()),
        }],
        children: vec![task(11)],
        owners: vec![Owner { inner: 4, task: Some((Tid(6), task(5))) }, Owner { inner: 5, task: None }],
        references: vec![Reference { tid: Tid(5), at: RuntimeAddress(1), lock: RuntimeAddress(u64::MAX) }],
        thread_pointers: vec![(RuntimeAddress(0x10), 3)],
        inner_tids: vec![(1, Tid(5))],
        tracer: Some(task(12)),
        parent: Some(task(1)),
        frozen: Some("/frozen".into()),
        fuse: vec![FuseMount { path: "/mnt".into(), waiting: 3, servers: vec![task(13)] }],
        database_locks: vec![DatabaseLock {
            waiter: task(14),
            address: RuntimeAddress(0x7f00),
            of: "transaction 745".into(),
            mode: "ShareLock".into(),
            holders: vec![task(15)],
            ahead: vec![task(16)],
        }],
        unread: vec![Unread { what: "children".into(), why: "not permitted".into() }],
    }
}

#[test]
fn facts_that_have_not_changed_cost_nothing() {
    let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
    let first = encoder.snapshot(&everything(1));
    decoder.record(&first.payload).expect("a record");
    let length = |snapshot: &Snapshot, encoder: &mut Encoder, decoder: &mut Decoder| {
        let encoded = encoder.snapshot(snapshot);
        assert_eq!(snapshot_of(decoder.record(&encoded.payload)).wait_facts, snapshot.wait_facts);
        encoded.payload.len()
    };
    let same = length(&everything(2), &mut encoder, &mut decoder);
    let mut without = everything(3);
    without.wait_facts = Arc::default();
    let gone = length(&without, &mut encoder, &mut decoder);
    let still_gone = length(&Snapshot { number: 4, ..without }, &mut encoder, &mut decoder);
    assert!(same.abs_diff(still_gone) <= 8, "{same} with facts, {still_gone} without, {gone} when they go");
}

/// A thread of a thousand that runs must not make the others' facts be stored again.
#[test]
fn a_fact_that_has_changed_costs_no_more_than_itself() {
    let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
    let template = everything(1);
    let snapshot = |number: u64, ran: i32| {
        let thread = |tid: i32| Thread {
            tid: Tid(tid),
            acquired: match number {
                1 => Acquired::ReadInPlace,
                _ if tid < ran => Acquired::Held(Duration::from_micros(4)),
                _ => Acquired::UnchangedSince(template.moment()),
            },
            ..template.threads[0].clone()
        };
        let threads: Vec<Thread> = (0..1000).map(thread).collect();
        let slept = threads.iter().filter(|thread| thread.acquired.time().is_none());
        let last_ran = slept
            .map(|thread| LastRan { tid: thread.tid, monotonic_ns: u64::from(thread.tid.0.unsigned_abs()) << 20 })
            .collect();
        let wait_facts = Arc::new(WaitFacts { last_ran, ..wait_facts() });
        Snapshot { number, threads, wait_facts, ..template.clone() }
    };
    let mut length = |snapshot: &Snapshot| {
        let encoded = encoder.snapshot(snapshot);
        assert_eq!(snapshot_of(decoder.record(&encoded.payload)).wait_facts, snapshot.wait_facts);
        encoded.payload.len()
    };
    let lengths = [(1, 0), (2, 0), (3, 0), (4, 1), (5, 2)].map(|(number, ran)| length(&snapshot(number, ran)));
    let [.., still, one_ran, another_ran] = lengths;
    assert!(one_ran.max(another_ran) < still + 500, "{lengths:?}");
}

#[test]
fn everything_comes_back_as_it_was() {
    let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
    for number in 1..4 {
        let snapshot = everything(number);
        let bytes = encoder.snapshot(&snapshot).payload;
        assert_eq!(snapshot_of(decoder.record(&bytes)), snapshot);
    }
}

/// What is written about an address holds until something else is.
#[test]
fn what_a_file_says_of_an_address_is_told_when_it_is_new() {
    let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
    let names = |number, fewer: usize, name: &str| {
        let mut snapshot = everything(number);
        snapshot.named.truncate(3 - fewer);
        let functions = [Function { name: Some(name.into()), ..Function::default() }];
        snapshot.named[0].functions = functions.into();
        snapshot
    };
    let long = "long ".repeat(100);
    let mut sizes = Vec::new();
    for (number, name) in [(1, "short"), (2, &*long), (3, &*long), (4, "short"), (5, &*long)] {
        let snapshot = names(number, 0, name);
        let encoded = encoder.snapshot(&snapshot);
        assert_eq!(snapshot_of(decoder.record(&encoded.payload)).named, snapshot.named, "{number}");
        sizes.push(encoded.payload.len());
    }
    assert!(sizes[2] < sizes[1], "{sizes:?}");
    // One of no module of its, and one that is on no stack, are not there.
    let mut odd = names(6, 0, "short");
    odd.named.push(NamedCode { module: ModuleIndex(9), ..odd.named[0].clone() });
    odd.named.push(NamedCode { address: FileAddress(0x7777), ..odd.named[0].clone() });
    let read = snapshot_of(decoder.record(&encoder.snapshot(&odd).payload));
    assert_eq!(read.named, odd.named[..3]);
}

/// It cost the whole snapshot.
#[test]
fn a_notice_that_only_a_newer_version_has_words_for_costs_nothing_else() {
    let snapshot = everything(1);
    let mut message = message_of(&snapshot);
    // Field 1000 of a notice, an empty message.
    let newer = [0xc2, 0x3e, 0x00];
    let mut notice = pb::Notice { tid: 5, ..Default::default() }.encode_to_vec();
    notice.extend(newer);
    message.notices = vec![pb::Notice::decode(&notice[..]).expect("fields that are not known are skipped")];
    let record = pb::Record { kind: Some(Kind::Snapshot(message)), summary: None }.encode_to_vec();
    let decoded = snapshot_of(Decoder::default().record(&record));
    assert_eq!(decoded.threads.len(), snapshot.threads.len());
    assert_eq!(decoded.notices, [Notice { subject: Subject::Thread(Tid(5)), reason: Reason::Unknown }]);
}

/// It cost the whole snapshot, and all that were stored as changes of it.
#[test]
fn a_stack_that_only_a_newer_version_has_words_for_costs_nothing_else() {
    let snapshot = everything(1);
    let mut message = message_of(&snapshot);
    let tables = message.tables.as_mut().expect("it is whole");
    tables.frames.iter_mut().for_each(|frame| frame.found_by = 1000);
    tables.stacks.iter_mut().for_each(|stack| stack.end = 1000);
    let record = pb::Record { kind: Some(Kind::Snapshot(message)), summary: None }.encode_to_vec();
    let decoded = snapshot_of(Decoder::default().record(&record));
    assert_eq!(decoded.threads.len(), snapshot.threads.len());
    for (decoded, written) in decoded.threads.iter().zip(&snapshot.threads) {
        let codes = |thread: &Thread| thread.stack.frames.iter().map(Frame::code).collect::<Vec<_>>();
        assert_eq!(codes(decoded), codes(written));
        assert!(decoded.stack.frames.iter().all(|frame| frame.found() == FoundBy::Unknown));
        assert_eq!(decoded.stack.end, WalkEnd::Unknown);
    }
}

/// Those of the snapshot before were taken for its own.
#[test]
fn a_snapshot_that_has_no_modules_any_more_comes_back_without() {
    let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
    for (number, modules) in [(1, true), (2, false), (3, false), (4, true), (5, false)] {
        let mut snapshot = Snapshot { threads: Vec::new(), named: Vec::new(), ..everything(number) };
        if !modules {
            snapshot.modules.clear();
        }
        assert_eq!(snapshot_of(decoder.record(&encoder.snapshot(&snapshot).payload)), snapshot, "{number}");
    }
}

/// Pieces that no thread has were stored after the tables that hold them.
#[test]
fn a_piece_of_stack_that_is_no_thread_s_comes_back() {
    let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
    for number in 1..4 {
        let bytes = vec![number as u8; 5000].into();
        let piece = MemoryPiece { address: RuntimeAddress(0x7000 + number), bytes, what: MemoryOf::Stack };
        let snapshot = Snapshot { memory: vec![piece], ..everything(number) };
        assert_eq!(snapshot_of(decoder.record(&encoder.snapshot(&snapshot).payload)), snapshot, "{number}");
    }
}

/// More than are at hand, and stacks that differ in what is said of them only.
#[test]
fn stacks_of_thousands_of_frames_come_back() {
    let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
    for number in 1..4 {
        let mut snapshot = everything(number);
        let frame = |address: u64| {
            Frame::new(CodeAddress::Return(Place::Outside(RuntimeAddress(address * (number + 1)))), FoundBy::Cfi)
        };
        let ends = [WalkEnd::Root, WalkEnd::NoProgress, WalkEnd::NoUnwindInfo(RuntimeAddress(number))];
        for (thread, at) in snapshot.threads.iter_mut().zip(0..) {
            let frames = (at / 4 * 100..at / 4 * 100 + 3000).map(frame).collect();
            let gap = (at % 2 == 0).then_some(Gap { after: 7, frames: 5, bytes: 0 });
            thread.stack = Arc::new(Stack { frames, gap, end: ends[at as usize % 3] });
        }
        keep_named(&mut snapshot, &[]);
        assert_eq!(snapshot_of(decoder.record(&encoder.snapshot(&snapshot).payload)), snapshot, "{number}");
    }
}

#[test]
fn a_change_that_does_not_tell_how_registers_have_changed_is_refused() {
    let change = |differences, special_differences| pb::RegisterChange {
        known: 3,
        changed: 3,
        differences,
        special_changed: 1,
        special_differences,
        ..Default::default()
    };
    assert_eq!(change(vec![1, 2], vec![3]).check(), Ok(()));
    for wrong in [change(vec![1], vec![3]), change(vec![1, 2, 3], vec![3]), change(vec![1, 2], vec![])] {
        assert_eq!(wrong.check(), Err(Error::Unknown("the value of a register")));
    }
}

/// The numbers of its modules were taken for threads.
#[test]
fn a_module_more_is_told_in_a_change() {
    let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
    let mut now = everything(1);
    let module = now.modules[0].clone();
    now.modules.extend((0..8).map(|number| Module { path: format!("/lib/{number}"), ..module.clone() }));
    for (number, what) in ["at first", "one more", "one less", "another order"].into_iter().enumerate() {
        now.number = number as u64 + 1;
        match what {
            "one more" => now.modules.push(Module { path: "/lib/loaded".into(), ..module.clone() }),
            "one less" => drop(now.modules.remove(4)),
            "another order" => now.modules[3..].reverse(),
            _ => {}
        }
        let encoded = encoder.snapshot(&now);
        assert_eq!(encoded.whole, number == 0, "{what}");
        assert_same(&snapshot_of(decoder.record(&encoded.payload)), &now);
    }
}

/// A thousand snapshots in which anything may have changed since the one before.
#[test]
fn whatever_changes_comes_back() {
    let (mut encoder, mut decoder, mut passing) = (Encoder::default(), Decoder::default(), Decoder::default());
    let mut random = 1_u64;
    let mut draw = move |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let mut now = everything(1);
    let mut said = now.named.clone();
    let mut whole = 0;
    for number in 1..1000 {
        now.number += 1 + draw(2);
        now.taken.realtime_ns -= draw(1000) as i64;
        for thread in &mut now.threads {
            let scheduling = &mut thread.status.scheduling;
            scheduling.cpu_ns = scheduling.cpu_ns.map(|time| time + draw(100_000));
            scheduling.voluntary_switches = scheduling.voluntary_switches.map(|count| count + draw(3));
            change(thread, &mut draw);
        }
        if draw(3) == 0 {
            // One ends, one begins, one is another of the same id, and one is stored whole again
            // because the kernel stops counting.
            let at = draw(now.threads.len() as u64) as usize;
            let mut thread = now.threads.remove(at);
            thread.tid = Tid(draw(100) as i32 + 1);
            thread.status.start = StartTime(draw(2));
            thread.status.scheduling.run_queue_wait_ns = None;
            now.threads.retain(|other| other.tid != thread.tid);
            now.threads.push(thread);
            now.threads.sort_by_key(|thread| thread.tid);
        }
        if draw(10) == 0 {
            now.process.name = format!("name {number}");
            now.memory.truncate(draw(4) as usize);
            now.modules[0].path = format!("/bin/{}", draw(3));
            let name = format!("function {}", draw(3));
            said[draw(3) as usize].functions = [Function { name: Some(name), ..Function::default() }].into();
        }
        keep_named(&mut now, &said);
        let encoded = encoder.snapshot(&now);
        whole += usize::from(encoded.whole);
        let decoded = snapshot_of(decoder.record(&encoded.payload));
        assert_same(&decoded, &now);
        // A reader that passes over one loses nothing.
        if draw(2) == 0 {
            passing.pass(&encoded.payload).expect("it is whole");
        } else {
            assert_eq!(snapshot_of(passing.record(&encoded.payload)), decoded);
        }
        let Ok(Peeked::Snapshot { summary, whole }) = peek(&encoded.payload) else { panic!("no summary") };
        assert_eq!((&summary, whole), (&encoded.summary, encoded.whole));
        assert_eq!(Summary { not_run: None, ..summary }, Summary::from(&now));
    }
    assert!((15..100).contains(&whole), "{whole} of a thousand are whole");
}

/// What is said of the addresses at which this snapshot has frames, as it is put together.
fn keep_named(snapshot: &mut Snapshot, said: &[NamedCode]) {
    let frames = snapshot.threads.iter().flat_map(|thread| &thread.stack.frames);
    let places: Vec<_> = frames.filter_map(Frame::inside).collect();
    snapshot.named = said.iter().filter(|code| places.contains(&(code.module, code.address))).cloned().collect();
}

/// Changes something of a thread, or nothing.
fn change(thread: &mut Thread, draw: &mut impl FnMut(u64) -> u64) {
    let word = draw(u64::MAX);
    let stack = Arc::make_mut(&mut thread.stack);
    match draw(20) {
        0 => thread.status.name = format!("name {}", word % 5),
        1 => thread.status.state = ThreadState::from_letter(['R', 'S', 'D'][word as usize % 3]),
        2 => {
            let since = Moment { number: word % 3 + 1, realtime_ns: (word % 5).cast_signed() };
            thread.acquired =
                [Acquired::ReadInPlace, Acquired::NotCaptured, Acquired::UnchangedSince(since)][word as usize / 16 % 3];
        }
        3 => thread.acquired = Acquired::Held(Duration::from_nanos(word % 1_000_000)),
        4 => {
            let abi = [Abi::X86_64, Abi::I386][word as usize / 2 % 2];
            thread.system_call =
                (word.is_multiple_of(2)).then_some(SystemCall { abi, number: word as u32 % 9, arguments: [word; 6] });
        }
        5 => thread.registers.general = RegisterFile::default(),
        6 => thread.registers.general.set(X86_64Register::ALL[word as usize % 17], word),
        7 => thread.registers.special = (word.is_multiple_of(2)).then_some(SpecialRegisters([word; 9])),
        8 => thread.registers.floating = (word.is_multiple_of(2)).then(|| FloatingPoint(vec![word as u8; 512].into())),
        9 => stack.frames.truncate(word as usize % 4),
        10 => stack
            .frames
            .insert(0, Frame::new(CodeAddress::Pc(Place::Outside(RuntimeAddress(word % 7))), FoundBy::Context)),
        11 => stack.end = [WalkEnd::Root, WalkEnd::BadUnwindInfo(RuntimeAddress(word))][word as usize % 2],
        12 => thread.memory = if word.is_multiple_of(2) { Vec::new() } else { memory() },
        13 => {
            Arc::make_mut(&mut thread.status.wait).stack =
                (word.is_multiple_of(2)).then(|| vec![format!("k{}", word % 4)]);
        }
        14 => Arc::make_mut(&mut thread.status.wait).channel = (word.is_multiple_of(2)).then(|| "channel".into()),
        15 if word.is_multiple_of(3) => thread.status.signals = None,
        15 => {
            let [ignored, caught, pending, process_pending] = [SignalSet(word / 3); 4];
            let sets = SignalSets { blocked: SignalSet(word), ignored, caught, pending, process_pending };
            thread.status.signals =
                Some(SignalSets { blocked: SignalSet(word), ..thread.status.signals.unwrap_or(sets) });
        }
        16 => thread.status.scheduling.last_cpu = (word.is_multiple_of(2)).then_some(word as u32 % 9),
        _ => {}
    }
    // Of a stack that was cut short nothing is left out after its last frame.
    stack.gap = stack.gap.map(|gap| Gap { after: gap.after.min(stack.frames.len()), ..gap });
    // And of none that has no frame.
    stack.gap = stack.gap.filter(|gap| gap.after > 0 || gap.frames > 0);
}

/// All is the same but what is counted, which is less by less than a unit, and holds, which are
/// rounded.
fn assert_same(decoded: &Snapshot, original: &Snapshot) {
    let mut original = original.clone();
    assert_eq!(decoded.threads.len(), original.threads.len());
    for (decoded, original) in decoded.threads.iter().zip(&mut original.threads) {
        let (stored, true_one) = (decoded.status.scheduling, &mut original.status.scheduling);
        for (stored, true_one) in
            [(stored.cpu_ns, &mut true_one.cpu_ns), (stored.run_queue_wait_ns, &mut true_one.run_queue_wait_ns)]
        {
            let less =
                true_one.zip(stored).map_or(0, |(true_one, stored)| true_one.checked_sub(stored).expect("not ahead"));
            assert!(less < 50_000, "{less} ns less");
            *true_one = stored.filter(|_| true_one.is_some());
        }
        if let (Acquired::Held(stored), Acquired::Held(true_one)) = (decoded.acquired, &mut original.acquired) {
            assert!(stored.abs_diff(*true_one) <= Duration::from_micros(2), "{stored:?} instead of {true_one:?}");
            *true_one = stored;
        }
    }
    assert_eq!(decoded, &original);
}

#[test]
fn a_change_is_not_worked_out_from_another_snapshot_than_the_one_before_it() {
    let mut encoder = Encoder::default();
    let records: Vec<Vec<u8>> = (1..4).map(|number| encoder.snapshot(&everything(number)).payload).collect();
    let mut decoder = Decoder::default();
    decoder.record(&records[0]).expect("it is whole");
    assert_eq!(decoder.record(&records[2]), Err(Error::Dangling("the snapshot before")));
    assert_eq!(decoder.record(&records[1]), Err(Error::Dangling("the snapshot before")), "nor after such a failure");
}

#[test]
fn a_small_record_that_unpacks_to_much_is_refused() {
    let bomb = |plain: &[u8]| {
        let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        std::io::Write::write_all(&mut packer, plain).expect("into memory");
        let packed = packer.finish().expect("into memory");
        let record = pb::Record { kind: Some(pb::record::Kind::Packed(packed)), summary: None };
        prost::Message::encode_to_vec(&record)
    };
    // Nothing but zeroes, and a snapshot of very many threads that nothing is said of, which are
    // two bytes each.
    let threads = [0x4a, 0].repeat(4 << 20);
    let mut snapshot = vec![0x12];
    prost::encoding::encode_varint(threads.len() as u64, &mut snapshot);
    snapshot.extend(threads);
    for plain in [vec![0; 64 << 20], snapshot.clone()] {
        assert_eq!(Decoder::default().record(&bomb(&plain)), Err(Error::TooMuch));
    }
    assert_eq!(Decoder::default().record(&snapshot), Err(Error::TooMuch), "nor one that is not packed");
    let twice = bomb(&bomb(&Encoder::default().snapshot(&everything(1)).payload));
    assert_eq!(Decoder::default().record(&twice), Err(Error::Unknown("what is packed twice")));
}

#[test]
fn a_small_record_that_refers_to_much_is_refused() {
    let mut snapshot = pb::Snapshot {
        process: Some(pb::Process { command: vec![0; 100_000], ..Default::default() }),
        stop: pb::StopMode::All.into(),
        tables: Some(pb::Tables { strings: vec!["a".repeat(200_000)], ..Default::default() }),
        ..Default::default()
    };
    let record = |snapshot: &pb::Snapshot| {
        let kind = Some(pb::record::Kind::Snapshot(snapshot.clone()));
        prost::Message::encode_to_vec(&pb::Record { kind, summary: None })
    };
    assert_eq!(Decoder::default().record(&record(&snapshot)), Err(Error::TooMuch));
    snapshot.process.as_mut().expect("it has one").command.truncate(100);
    Decoder::default().record(&record(&snapshot)).expect("what is within bounds is read");
}

#[test]
fn threads_that_are_not_in_order_are_put_in_order_and_not_read() {
    let mut snapshot = everything(1);
    let ordered = snapshot.clone();
    snapshot.threads.reverse();
    snapshot.threads.push(snapshot.threads[0].clone());
    let mut encoder = Encoder::default();
    assert_eq!(snapshot_of(Decoder::default().record(&encoder.snapshot(&snapshot).payload)), ordered);
    let message = pb::Snapshot {
        process: Some(pb::Process::default()),
        threads: vec![pb::Thread::default(), pb::Thread::default()],
        ..Default::default()
    };
    let record = pb::Record { kind: Some(pb::record::Kind::Snapshot(message)), summary: None };
    let read = Decoder::default().record(&prost::Message::encode_to_vec(&record));
    assert_eq!(read, Err(Error::Unknown("the order of its threads")));
}

#[test]
fn a_recording_comes_back_as_it_was() {
    let recording = Recording {
        version: "1".into(),
        host: "h".into(),
        kernel: "k".into(),
        boot_id: "b".into(),
        machine: "m".into(),
        interval: Some(Duration::from_secs(5)),
    };
    let bytes = Encoder::default().recording(&recording);
    assert_eq!(Decoder::default().record(&bytes), Ok(Record::Recording(recording)));
}

#[test]
fn what_was_seen_before_is_not_stored_again() {
    let mut encoder = Encoder::default();
    let first = encoder.snapshot(&everything(1)).payload.len();
    let second = encoder.snapshot(&everything(1)).payload.len();
    assert!(second < first - 200, "{second} bytes after {first}");
}

#[test]
fn a_process_that_executes_for_ever_does_not_make_the_tables_grow() {
    let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
    let first = encoder.snapshot(&everything(1)).payload.len();
    decoder.record(&encoder.snapshot(&everything(1)).payload).expect_err("it has missed the first");
    for number in 2..5 {
        let mut elsewhere = everything(number);
        for module in &mut elsewhere.modules {
            module.range = RuntimeAddress(number << 20)..RuntimeAddress(number << 21);
        }
        let bytes = encoder.snapshot(&elsewhere).payload;
        assert!(bytes.len().abs_diff(first) < 50, "{} bytes after {first}: everything is stored again", bytes.len());
        assert_eq!(snapshot_of(decoder.record(&bytes)), elsewhere, "and needs nothing of what came before");
    }
}

#[test]
fn damaged_bytes_are_an_error_or_another_record_and_never_a_panic() {
    let whole = Encoder::default().snapshot(&everything(1)).payload;
    let mut refused = 0;
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << bit;
            refused += usize::from(Decoder::default().record(&damaged).is_err());
        }
        refused += usize::from(Decoder::default().record(&whole[..at]).is_err());
    }
    assert!(refused > whole.len(), "only {refused} of some {} damaged records were refused", whole.len() * 9);
}
