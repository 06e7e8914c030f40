//! A program for aarch64 at every one of its instructions.
//!
//! qemu runs it instruction by instruction for a client of gdb's remote protocol. What
//! the program does to its stack of calls is seen from the instructions: one that leaves the
//! address after it in x30 has called, and one that arrives at such an address has returned. That
//! account owes nothing to call frame information, and a walk from the registers at each
//! instruction has to agree with it.

use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use hangsnap::model::{Aarch64Register, RegisterFile, RuntimeAddress, Stack, WalkEnd};
use hangsnap::unwind::{StackMemory, Unwinder};
use object::{Object, ObjectSymbol};

use super::recorded::{COMPILER, OWN};
use super::space::Space;
use crate::support::{PATIENCE, compile, long_form};

/// As much of the stack as is looked at.
const STACK: u64 = 0x2000;

/// A program that qemu runs for a debugger.
struct Stepped {
    qemu: Child,
    wire: UnixStream,
    _directory: tempfile::TempDir,
}

impl Drop for Stepped {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

impl Stepped {
    fn start(program: &Path, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let socket = directory.path().join("gdb");
        let qemu = Command::new("qemu-aarch64")
            .arg("-g")
            .arg(&socket)
            .arg(program)
            .args(arguments)
            .stdout(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("qemu-aarch64 cannot be run ({error}); tests/run installs it"));
        let begun = Instant::now();
        let wire = loop {
            match UnixStream::connect(&socket) {
                Ok(wire) => break wire,
                Err(error) => assert!(begun.elapsed() < PATIENCE, "qemu does not listen: {error}"),
            }
        };
        wire.set_read_timeout(Some(PATIENCE)).expect("a socket");
        Self { qemu, wire, _directory: directory }
    }

    /// Sends a packet and waits for the answer.
    fn ask(&mut self, what: &str) -> String {
        let sum = what.bytes().fold(0_u8, u8::wrapping_add);
        write!(self.wire, "${what}#{sum:02x}").expect("qemu listens");
        let mut answer = Vec::new();
        let mut byte = [0];
        loop {
            self.wire.read_exact(&mut byte).unwrap_or_else(|error| panic!("no answer to {what}: {error}"));
            match byte[0] {
                b'+' if answer.is_empty() => {}
                b'#' => break,
                other => answer.push(other),
            }
        }
        self.wire.read_exact(&mut [0; 2]).expect("a checksum");
        self.wire.write_all(b"+").expect("qemu listens");
        String::from_utf8_lossy(answer.strip_prefix(b"$").expect("a packet")).into_owned()
    }

    fn bytes(&mut self, what: &str) -> Vec<u8> {
        let answer = self.ask(what);
        let digits = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
        answer.as_bytes().chunks(2).map(|pair| digits(pair).unwrap_or_else(|| panic!("{what}: {answer}"))).collect()
    }

    fn registers(&mut self) -> RegisterFile<Aarch64Register> {
        let bytes = self.bytes("g");
        let (words, _) = bytes.as_chunks::<8>();
        let mut registers = RegisterFile::default();
        for (register, word) in Aarch64Register::ALL.into_iter().zip(words) {
            registers.set(register, u64::from_le_bytes(*word));
        }
        registers
    }

    /// Memory in pieces that fit into a packet.
    fn memory(&mut self, start: u64, length: u64) -> Vec<u8> {
        let pieces = (start..start + length).step_by(0x400);
        pieces.flat_map(|at| self.bytes(&format!("m{at:x},{:x}", 0x400.min(start + length - at)))).collect()
    }

    fn run_to(&mut self, address: u64) {
        assert_eq!(self.ask(&format!("Z0,{address:x},4")), "OK");
        let stopped = self.ask("c");
        assert!(stopped.starts_with('T'), "{stopped}");
        assert_eq!(self.ask(&format!("z0,{address:x},4")), "OK");
    }
}

/// The address of a function of a program.
fn function(program: &Path, name: &str) -> u64 {
    let bytes = fs::read(program).expect("the program");
    let file = object::File::parse(&*bytes).expect("an ELF file");
    let symbol = file.symbols().find(|symbol| symbol.name() == Ok(name));
    symbol.unwrap_or_else(|| panic!("no function {name}")).address()
}

/// Where the stack of each kind is to be read, and what the walk said, in words.
fn describe(space: &Space, stack: &Stack) -> String {
    let frames = stack.frames.iter();
    let lines =
        frames.map(|frame| format!("{:x} {} {:?}", space.runtime_address(frame), space.name(frame), frame.found()));
    format!("{}\n{:?}", lines.collect::<Vec<_>>().join("\n"), stack.end)
}

/// Walks at each instruction from the beginning of `main` to its end; how many there were, and how
/// many had something signed in x30.
fn step_through(flags: &[&str], case: &str) -> (usize, usize) {
    let program = compile(COMPILER, "aarch64_steps.c", &[&OWN[..], &["-static"], flags].concat());
    let mut stepped = Stepped::start(&program, &[case]);
    stepped.run_to(function(&program, "main"));
    // Static and at a fixed address: what is mapped is what the program headers say.
    let maps = format!(
        "00400000-00600000 r-xp 00000000 00:01 1 {}\n5500000000-5600000000 rw-p 00000000 00:00 0 [stack]\n",
        program.display()
    );
    let mut space = Space::new(&maps);
    let mut unwinder = Unwinder::default();
    let mut code: HashMap<u64, u32> = HashMap::new();
    // The return addresses of all calls that have not returned, the outermost first.
    let mut calls: Vec<u64> = Vec::new();
    let mut behind_main: Option<Vec<u64>> = None;
    let (mut steps, mut signed) = (0, 0);
    loop {
        let registers = stepped.registers();
        let [pc, sp, link] = [Aarch64Register::Pc, Aarch64Register::Sp, Aarch64Register::LR]
            .map(|which| registers.get(which).expect("read"));
        if behind_main.is_none() {
            calls.push(link);
        }
        // Arriving at the newest return address is the return: no call of this program is to the
        // instruction after it.
        if calls.last() == Some(&pc) {
            calls.pop();
        }
        if calls.is_empty() {
            break;
        }
        let bytes = stepped.memory(sp, STACK);
        let stack = unwinder.walk(&registers, StackMemory::new(RuntimeAddress(sp), &bytes), &mut space);
        let found: Vec<u64> = stack.frames.iter().map(|frame| space.runtime_address(frame)).collect();
        let outer = behind_main.get_or_insert_with(|| found[2..].to_vec());
        let expected: Vec<u64> = [&[pc], &*calls.iter().rev().copied().collect::<Vec<_>>(), outer].concat();
        assert!(
            found == expected && stack.end == WalkEnd::Root,
            "{case} {flags:?}, step {steps}:\n{}\nexpected {expected:x?}",
            describe(&space, &stack)
        );
        signed += usize::from(link >> 48 != 0);
        let instruction = *code.entry(pc).or_insert_with(|| {
            let bytes = stepped.memory(pc, 4);
            u32::from_le_bytes(bytes.try_into().expect("four bytes"))
        });
        let is_call =
            instruction & 0xfc00_0000 == 0x9400_0000 || instruction & 0xfeff_f01f == 0xd63f_0000 & 0xfeff_f01f;
        let stopped = stepped.ask("s");
        assert!(stopped.starts_with('T'), "{stopped}");
        if is_call {
            calls.push(pc + 4);
        }
        steps += 1;
    }
    (steps, signed)
}

#[test]
fn aarch64_walks_are_right_at_every_instruction() {
    let kinds: &[(&[&str], bool)] = &[
        (&["-O0"], false),
        (&["-O2"], false),
        (&["-O2", "-fomit-frame-pointer", "-fstack-clash-protection"], false),
        (&["-O1", "-mbranch-protection=pac-ret+leaf"], true),
        (&["-O2", "-mbranch-protection=standard"], true),
        (&["-O2", "-mbranch-protection=pac-ret+leaf+b-key"], true),
    ];
    for (flags, signs) in kinds {
        for case in if long_form() { &["calls", "library"][..] } else { &["calls"] } {
            let (steps, signed) = step_through(flags, case);
            println!("{flags:?} {case}: {steps} instructions, x30 signed at {signed}");
            assert!(steps > 200, "{steps} instructions say little");
            assert!(!signs || signed > 10, "x30 was signed at {signed} instructions only");
        }
    }
}
