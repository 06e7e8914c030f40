//! What is encoded is decoded, and what is not of the format is refused.

use std::time::Duration;

use super::{Decoder, Encoder, Error, Record};
use crate::model::*;

/// A snapshot in which every kind of everything occurs.
fn everything(number: u64) -> Snapshot {
    let place = |address| Place::InModule { module: ModuleIndex(1), address: FileAddress(address) };
    let frames = [
        Frame { code: CodeAddress::Pc(Place::Outside(RuntimeAddress(0xdead))), found: FoundBy::Context },
        Frame { code: CodeAddress::Return(place(0x10)), found: FoundBy::Guess },
        Frame { code: CodeAddress::Return(place(0x20)), found: FoundBy::Cfi },
        Frame { code: CodeAddress::Pc(place(0x20)), found: FoundBy::SignalFrame },
        Frame { code: CodeAddress::Return(Place::Outside(RuntimeAddress(0x30))), found: FoundBy::FramePointer },
    ];
    let at = RuntimeAddress(0x7fff_0000_1234);
    let ends = [
        WalkEnd::Root,
        WalkEnd::NotCaptured,
        WalkEnd::MemoryNotCopied(at),
        WalkEnd::UnknownRegister(Register::R15),
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
        start: StartTime(u64::MAX),
        name: "worker \u{fffd}".into(),
        state: ThreadState::from_letter(['R', 'S', 'D', 'T', 't', 'Z', 'X', 'P'][tid as usize % 8]),
        cpu_ns: (tid % 2 == 0).then_some(0),
        hold: if tid % 3 == 0 { Hold::Untouched } else { Hold::Held(Duration::from_nanos(0)) },
        system_call: (tid % 2 == 1).then_some(SystemCall { number: 0, arguments: [0, 1, u64::MAX, 3, 4, 5] }),
        registers: Registers {
            general,
            special: (tid % 3 != 0).then_some(SpecialRegisters([1, 2, 3, 4, 5, 6, 7, 8, u64::MAX])),
        },
        stack: Stack { frames: frames[..tid as usize % 6].to_vec(), end },
    };
    let notice = |subject, reason| Notice { subject, reason };
    let module = |path: &str, build_id: Option<&[u8]>, image: Option<&[u8]>| Module {
        path: path.into(),
        build_id: build_id.map(|id| BuildId(id.to_vec())),
        bias: Bias(0x5555_0000_0000),
        range: RuntimeAddress(1)..RuntimeAddress(2),
        image: image.map(Into::into),
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
        stop: if number.is_multiple_of(2) { StopMode::All } else { StopMode::OneAtATime },
        window: Duration::from_micros(12),
        modules: vec![module("/bin/x", None, None), module("[vdso]", Some(&[1, 2]), Some(b"ELF"))],
        threads: (1..).zip(ends).map(thread).collect(),
        notices: vec![
            notice(Subject::Process, Reason::ThreadsStillAppearing),
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
