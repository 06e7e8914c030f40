//! The same copied stacks, walked by hangsnap and by framehop: an unwinder written by others on the
//! same kind of data.
//!
//! framehop carries three registers only, so it may end earlier than hangsnap does; as far as it
//! goes, each return address must be the same.

#[path = "../benches/unwind/sections.rs"]
mod sections;

use std::fs;
use std::process::Command;

use ::framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use ::framehop::{FrameAddress, Module, Unwinder};
use hangsnap::model::X86_64Register;

use crate::support::held::{held, registers};
use crate::support::{Victim, hangsnap, succeed};

/// Threads parked in Python's lock, queue, sleep and select. No thread is made to give up the
/// interpreter's lock but by blocking, so one that has said it will wait is waiting by the time
/// another can run.
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/programs/deep.py");

/// Where each file is loaded, by its first mapping.
fn modules(pid: &str) -> Vec<Module<Vec<u8>>> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("the victim's map");
    let mut ranges: Vec<(String, u64, u64)> = Vec::new();
    for line in maps.lines() {
        let Some(path) = line.split_whitespace().nth(5).filter(|path| path.starts_with('/')) else {
            continue;
        };
        let (start, end) = line.split_once(' ').and_then(|(range, _)| range.split_once('-')).expect("a range");
        let number = |text| u64::from_str_radix(text, 16).expect("hexadecimal");
        match ranges.iter_mut().find(|(known, ..)| known == path) {
            Some((.., last)) => *last = number(end),
            None => ranges.push((path.into(), number(start), number(end))),
        }
    }
    let has_code = |path: &str| object::File::parse(&*fs::read(path).unwrap_or_default()).is_ok();
    ranges
        .into_iter()
        .filter(|(path, ..)| has_code(path))
        .map(|(path, start, end)| Module::new(path.clone(), start..end, start, sections::of_file(&path)))
        .collect()
}

#[test]
fn framehop_finds_the_same_return_addresses() {
    let victim = Victim::start(Command::new("python3").arg(PROGRAM));
    let ours: serde_json::Value =
        serde_json::from_str(&succeed(hangsnap().args(["--pid", &victim.pid(), "--json"]))).expect("JSON");
    let (_, captured) = held(&victim);
    let mut unwinder = UnwinderX86_64::new();
    for module in modules(&victim.pid()) {
        unwinder.add_module(module);
    }
    let mut cache = CacheX86_64::new();
    let (mut compared, mut threads) = (0, 0);
    for thread in &captured.threads {
        let registers = registers(thread);
        let register = |which| registers.get(which).expect("a held thread's registers are known");
        let mut read = |address: u64| {
            let offset = address.checked_sub(thread.stack.start).and_then(|offset| usize::try_from(offset).ok());
            let word = offset.and_then(|offset| thread.stack.bytes.get(offset..)?.first_chunk::<8>());
            word.map(|word| u64::from_le_bytes(*word)).ok_or(())
        };
        let start = UnwindRegsX86_64::new(
            register(X86_64Register::Rip),
            register(X86_64Register::Rsp),
            register(X86_64Register::Rbp),
        );
        let mut theirs = Vec::new();
        let mut frames = unwinder.iter_frames(register(X86_64Register::Rip), start, &mut cache, &mut read);
        while let Ok(Some(frame)) = frames.next() {
            theirs.push(match frame {
                FrameAddress::InstructionPointer(address) => address,
                FrameAddress::ReturnAddress(address) => address.get(),
            });
        }
        let mine: Vec<u64> = ours["threads"]
            .as_array()
            .expect("threads")
            .iter()
            .find(|mine| mine["tid"] == thread.tid.0)
            .and_then(|mine| mine["frames"].as_array())
            .expect("the same thread")
            .iter()
            .map(|frame| frame["address"].as_str().and_then(|text| text.strip_prefix("0x")).expect("an address"))
            .map(|address| u64::from_str_radix(address, 16).expect("hexadecimal"))
            .collect();
        assert!(theirs.len() <= mine.len(), "framehop went on: {theirs:x?} after {mine:x?}");
        assert_eq!(mine[..theirs.len()], theirs, "thread {}", thread.tid);
        compared += theirs.len();
        threads += 1;
    }
    println!("{compared} frames of {threads} threads, all alike");
    assert!(threads >= 9 && compared > threads * 8, "{compared} frames of {threads} threads say too little");
}
