//! What is encoded is decoded, and what is not of the format is refused.

use std::time::Duration;

use super::{Decoder, Encoder, Error, Record};
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
    ]
}

/// A snapshot in which every kind of everything occurs.
fn everything(number: u64) -> Snapshot {
    let place = |address| Place::InModule { module: ModuleIndex(1), address: FileAddress(address) };
    let frames = [
        Frame { code: CodeAddress::Pc(Place::Outside(RuntimeAddress(0xdead))), found: FoundBy::Context },
        Frame { code: CodeAddress::Return(place(0x10)), found: FoundBy::Guess },
        Frame { code: CodeAddress::Return(place(0x20)), found: FoundBy::Cfi },
        Frame { code: CodeAddress::Pc(place(0x20)), found: FoundBy::SignalFrame },
        Frame { code: CodeAddress::Return(Place::Outside(RuntimeAddress(0x30))), found: FoundBy::FramePointer },
        Frame { code: CodeAddress::Return(place(0x40)), found: FoundBy::Inferred },
    ];
    let at = RuntimeAddress(0x7fff_0000_1234);
    let ends = [
        WalkEnd::Root,
        WalkEnd::NotCaptured,
        WalkEnd::MemoryNotCopied(at),
        WalkEnd::UnknownRegister(Register::R15.into()),
        WalkEnd::NoUnwindInfo(at),
        WalkEnd::BadUnwindInfo(at),
        WalkEnd::BadReturnAddress(at),
        WalkEnd::NoProgress,
        WalkEnd::TooManyFrames,
    ];
    let mut general = RegisterFile::default();
    general.set(Register::Rsp, u64::MAX);
    general.set(Register::Rax, 0);
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
            wait: KernelWait {
                channel: (tid % 2 == 0).then(|| "futex_wait_queue".into()),
                stack: [None, Some(Vec::new()), Some(vec!["a+0x1/0x2".into(), "b".into()])][tid as usize % 3].clone(),
            },
        },
        hold: [Hold::InPlace, Hold::Held(Duration::from_nanos(0)), Hold::NotCaptured][tid as usize % 3],
        system_call: (tid % 2 == 1).then_some(SystemCall { number: 0, arguments: [0, 1, u64::MAX, 3, 4, 5] }),
        registers: Registers {
            general,
            special: (tid % 3 != 0).then_some(SpecialRegisters([1, 2, 3, 4, 5, 6, 7, 8, u64::MAX])),
            floating: (tid % 4 == 1).then(|| FloatingPoint(vec![7; 512].into())),
        },
        stack: Stack {
            frames: frames[..tid as usize % 7].to_vec(),
            gap: (tid % 5 == 1).then_some(Gap { after: tid as usize % 2, frames: tid as u64, bytes: 1 << 40 }),
            end,
        },
        memory: if tid % 2 == 0 { Vec::new() } else { memory() },
    };
    let notice = |subject, reason| Notice { subject, reason };
    let call = SystemCall { number: 232, arguments: [1, 2, 3, 4, 5, u64::MAX] };
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
        notices: vec![
            notice(Subject::Process, Reason::ThreadsStillAppearing),
            notice(Subject::Process, Reason::NamesUnreadable { why: "is a FIFO".into() }),
            notice(Subject::Thread(Tid(5)), Reason::Running),
            notice(Subject::Thread(Tid(5)), Reason::Unsteady),
            notice(Subject::Thread(Tid(5)), Reason::Disturbed(call)),
            notice(Subject::Process, Reason::CallUnknown),
            notice(Subject::Process, Reason::MemoryBlocked),
            notice(Subject::Process, Reason::Degraded { to: StopMode::None, cause: Cause::Duty }),
            notice(Subject::Process, Reason::Degraded { to: StopMode::None, cause: Cause::Filter }),
            notice(Subject::Process, Reason::Degraded { to: StopMode::OneAtATime, cause: Cause::Hold }),
            notice(Subject::Thread(Tid(5)), Reason::HeldTooLong { limit_us: 10_000 }),
            notice(Subject::Thread(Tid(5)), Reason::TracerDied),
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

#[test]
fn everything_comes_back_as_it_was() {
    let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
    for number in 1..4 {
        let snapshot = everything(number);
        let bytes = encoder.snapshot(&snapshot);
        assert_eq!(snapshot_of(decoder.record(&bytes)), snapshot);
    }
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
    let first = encoder.snapshot(&everything(1)).len();
    let second = encoder.snapshot(&everything(1)).len();
    assert!(second < first - 200, "{second} bytes after {first}");
}

#[test]
fn a_process_that_executes_for_ever_does_not_make_the_tables_grow() {
    let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
    let first = encoder.snapshot(&everything(1)).len();
    decoder.record(&encoder.snapshot(&everything(1))).expect_err("it has missed the first");
    for number in 2..5 {
        let mut elsewhere = everything(number);
        for module in &mut elsewhere.modules {
            module.range = RuntimeAddress(number << 20)..RuntimeAddress(number << 21);
        }
        let bytes = encoder.snapshot(&elsewhere);
        assert!(bytes.len().abs_diff(first) < 50, "{} bytes after {first}: everything is stored again", bytes.len());
        assert_eq!(snapshot_of(decoder.record(&bytes)), elsewhere, "and needs nothing of what came before");
    }
}

#[test]
fn a_reader_that_missed_a_record_says_so() {
    let mut encoder = Encoder::default();
    encoder.snapshot(&everything(1));
    let second = encoder.snapshot(&everything(2));
    assert_eq!(Decoder::default().record(&second), Err(Error::Dangling("rows of the tables")));
}

#[test]
fn damaged_bytes_are_an_error_or_another_record_and_never_a_panic() {
    let whole = Encoder::default().snapshot(&everything(1));
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
