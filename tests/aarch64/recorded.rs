//! Stacks that a program has recorded of itself, with its own account of who called whom.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use hangsnap::model::{
    Aarch64Register, Acquired, FoundBy, Pid, Process, ProcessId, RegisterFile, Registers, RuntimeAddress, Scheduling,
    Snapshot, Stack, StartTime, StopMode, Thread, ThreadState, ThreadStatus, Tid, Timestamp, WalkEnd,
};
use hangsnap::symbols::{Finder, Names};
use hangsnap::unwind::{StackMemory, Unwinder};

use super::space::Space;
use crate::support::{compile, victim_source};

pub const COMPILER: &str = "aarch64-linux-gnu-gcc";
/// Where the cross-compiler's libraries are.
const ROOT: &str = "/usr/aarch64-linux-gnu";
/// Every call of the program is one.
pub const OWN: [&str; 2] = ["-fno-optimize-sibling-calls", "-fno-inline"];

/// What lies in no file.
const OUTSIDE: [&str; 2] = ["signal", "nowhere"];

/// What the program has written down.
struct Recorded {
    program: PathBuf,
    registers: RegisterFile<Aarch64Register>,
    stack: (u64, Vec<u8>),
    frames: Vec<String>,
    space: Space,
}

fn number(text: &str) -> u64 {
    u64::from_str_radix(text, 16).unwrap_or_else(|_| panic!("{text} is no hexadecimal number"))
}

fn record(flags: &[&str], case: &str) -> Recorded {
    let program = compile(COMPILER, "aarch64.c", &[&OWN[..], flags].concat());
    let output = Command::new("qemu-aarch64").args(["-L", ROOT]).arg(&program).arg(case).output();
    let output = output.unwrap_or_else(|error| panic!("qemu-aarch64 cannot be run ({error}); tests/run installs it"));
    assert!(output.status.success(), "{case}: {} {}", output.status, String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    let (mut maps, mut memory, mut frames) = (String::new(), Vec::new(), Vec::new());
    let mut registers = RegisterFile::default();
    for line in text.lines() {
        let (word, rest) = line.split_once(' ').expect("a word and what follows");
        match word {
            "map" => writeln!(maps, "{rest}").expect("memory"),
            "frame" => frames.push(rest.to_owned()),
            "memory" => {
                let (start, bytes) = rest.split_once(' ').expect("an address and bytes");
                let digits = bytes.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("digits"));
                memory.push((number(start), digits.map(|digits| number(digits) as u8).collect::<Vec<_>>()));
            }
            name => {
                let register = Aarch64Register::ALL.into_iter().find(|register| register.name() == name);
                registers.set(register.unwrap_or_else(|| panic!("{line} is of no known kind")), number(rest));
            }
        }
    }
    let sp = registers.get(Aarch64Register::Sp).expect("sp");
    let own = memory.iter().position(|(start, _)| *start == sp).expect("the stack");
    let stack = memory.swap_remove(own);
    let mut space = Space::new(&maps);
    space.memory = memory;
    Recorded { program, registers, stack, frames, space }
}

impl Recorded {
    fn walk(&mut self) -> Stack {
        let stack = StackMemory::new(RuntimeAddress(self.stack.0), &self.stack.1);
        Unwinder::default().walk(&self.registers, stack, &mut self.space)
    }

    /// The names of the program's own frames, and the signals' between them, from the outermost of
    /// which it has an account.
    fn own_names(&self, stack: &Stack) -> Vec<String> {
        let names = stack.frames.iter().map(|frame| (self.space.is_in(frame, &self.program), self.space.name(frame)));
        let mut names: Vec<String> =
            names.filter(|(own, name)| *own || OUTSIDE.contains(&&**name)).map(|(_, name)| name).collect();
        // Of a static program the C library is in the same file.
        names.retain(|name| OUTSIDE.contains(&&**name) || self.frames.contains(name));
        names
    }

    /// Words of the stack that are return addresses of this walk, with something above the address.
    fn signed_words(&self, stack: &Stack) -> usize {
        let addresses: Vec<u64> = stack.frames.iter().map(|frame| self.space.runtime_address(frame)).collect();
        let (words, _) = self.stack.1.as_chunks::<8>();
        let words = words.iter().map(|word| u64::from_le_bytes(*word));
        // No address of a program under qemu has more bits than this.
        words.filter(|word| word >> 48 != 0 && addresses.contains(&(word & 0xffff_ffff_ffff))).count()
    }

    fn describe(&self, stack: &Stack) -> String {
        let mut text = String::new();
        for frame in &stack.frames {
            writeln!(text, "{:x} {} {:?}", self.space.runtime_address(frame), self.space.name(frame), frame.found())
                .expect("memory");
        }
        format!("{text}{:?}", stack.end)
    }
}

/// Records a case and holds the walk against the program's account.
fn check(flags: &[&str], case: &str) -> (Recorded, Stack) {
    let mut recorded = record(flags, case);
    let stack = recorded.walk();
    let described = format!("{case} {flags:?}:\n{}", recorded.describe(&stack));
    assert_eq!(recorded.own_names(&stack), recorded.frames, "{described}");
    assert_eq!(stack.end, WalkEnd::Root, "{described}");
    (recorded, stack)
}

const CASES: [&str; 8] = ["plain", "recursion", "noreturn", "leaf", "nested", "raise", "null", "callback"];

#[test]
fn aarch64_stacks_are_what_the_program_says() {
    let kinds: [(&str, &[&str]); 12] = [
        ("-O0", &["-O0"]),
        ("-O1", &["-O1"]),
        ("-O2", &["-O2"]),
        ("-O3", &["-O3"]),
        ("-Os", &["-Os"]),
        ("no frame pointer", &["-O2", "-fomit-frame-pointer"]),
        ("no frame pointer in leaves", &["-O1", "-momit-leaf-frame-pointer"]),
        ("static", &["-O2", "-static"]),
        ("static, signed", &["-O2", "-static", "-mbranch-protection=standard"]),
        ("static, no PLT", &["-O2", "-fno-plt", "-static-pie"]),
        (".debug_frame only", &["-O2", "-g", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables"]),
        ("stack protector and probes", &["-O2", "-fstack-protector-all", "-fstack-clash-protection"]),
    ];
    for (kind, flags) in kinds {
        let frames: usize = CASES.iter().map(|case| check(flags, case).1.frames.len()).sum();
        println!("{kind:<32} {} cases, {frames} frames", CASES.len());
    }
}

#[test]
fn aarch64_return_addresses_that_are_signed_are_found() {
    let kinds: [&[&str]; 6] = [
        &["-O0", "-mbranch-protection=standard"],
        &["-O2", "-mbranch-protection=standard"],
        &["-O2", "-mbranch-protection=pac-ret+leaf"],
        &["-O2", "-mbranch-protection=pac-ret+leaf+b-key"],
        &["-O2", "-mbranch-protection=pac-ret+b-key", "-fomit-frame-pointer"],
        &["-O2", "-mbranch-protection=bti+pac-ret+b-key", "-g", "-fno-asynchronous-unwind-tables"],
    ];
    for flags in kinds {
        for case in CASES {
            let (recorded, stack) = check(flags, case);
            let signed = recorded.signed_words(&stack);
            println!("{flags:?} {case}: {} frames, {signed} signed words", stack.frames.len());
            assert!(signed > 0, "{case} {flags:?}: no return address on the stack is signed");
        }
        // The function that was interrupted has signed nothing but x30.
        let (recorded, stack) = check(flags, "leaf");
        assert!(
            stack.frames.iter().any(|frame| frame.found() == FoundBy::SignalFrame),
            "{}",
            recorded.describe(&stack)
        );
    }
}

#[test]
fn aarch64_frame_records_lead_to_the_root_without_call_frame_information() {
    for flags in [&["-O0"][..], &["-O2"], &["-O2", "-static"], &["-O2", "-mbranch-protection=standard"]] {
        // qsort's frames and raise's are others' business: without call frame information they are
        // where records are.
        for case in ["plain", "recursion", "leaf", "nested", "raise", "null"] {
            let mut recorded = record(flags, case);
            recorded.space = recorded.space.without_cfi();
            let stack = Unwinder::default().walk(
                &recorded.registers,
                StackMemory::new(RuntimeAddress(recorded.stack.0), &recorded.stack.1),
                &mut recorded.space,
            );
            let described = format!("{case} {flags:?}:\n{}", recorded.describe(&stack));
            assert_eq!(recorded.own_names(&stack), recorded.frames, "{described}");
            assert_eq!(stack.end, WalkEnd::Root, "{described}");
            assert!(stack.frames.iter().all(|frame| frame.found() != FoundBy::Cfi), "{described}");
        }
    }
}

/// What the viewer would make of a recorded stack.
fn viewed(recorded: &Recorded, stack: Stack) -> Snapshot {
    let thread = Thread {
        tid: Tid(1),
        status: ThreadStatus {
            start: StartTime(0),
            name: String::new(),
            state: ThreadState::Running,
            scheduling: Scheduling::default(),
            signals: None,
            worker: None,
            wait: Arc::default(),
        },
        acquired: Acquired::ReadInPlace,
        system_call: None,
        registers: Registers::default(),
        stack: stack.into(),
        memory: Vec::new(),
    };
    Snapshot {
        number: 1,
        taken: Timestamp { realtime_ns: 0, monotonic_ns: 0 },
        process: Process {
            id: ProcessId { pid: Pid(1), start: StartTime(0) },
            inner_pid: 1,
            name: String::new(),
            executable: String::new(),
            command: Vec::new(),
        },
        stop: StopMode::None,
        window: Duration::ZERO,
        took: Duration::ZERO,
        modules: recorded.space.modules(),
        threads: vec![thread],
        memory: Vec::new(),
        generated: Vec::new(),
        named: Vec::new(),
        wait_facts: std::sync::Arc::default(),
        notices: Vec::new(),
    }
}

#[test]
fn aarch64_frames_have_names_and_lines() {
    let source = fs::read_to_string(victim_source("aarch64.c")).expect("the source");
    let source: Vec<&str> = source.lines().collect();
    for flags in [&["-O0", "-g"][..], &["-O2", "-g", "-mbranch-protection=standard"], &["-O2", "-g", "-static"]] {
        let (recorded, stack) = check(flags, "plain");
        let snapshot = viewed(&recorded, stack);
        let names = Names::resolve(&Finder::new(Vec::new()), [&snapshot]);
        let frames = &snapshot.threads[0].stack.frames[..recorded.frames.len()];
        let mut callee: Option<&str> = None;
        for (frame, expected) in frames.iter().zip(&recorded.frames) {
            let [function] = names.of(&snapshot, frame) else {
                panic!("{expected} {flags:?}: {:?}", names.of(&snapshot, frame));
            };
            assert_eq!(function.name.as_ref(), Some(expected), "{flags:?}");
            let line = function.line.expect("a line");
            let text = source[line as usize - 1];
            assert!(
                callee.is_none_or(|callee| text.contains(&format!("{callee}("))),
                "{expected}, line {line}: {text}"
            );
            callee = Some(expected);
        }
    }
}
