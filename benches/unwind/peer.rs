//! framehop: an unwinder by others, on the same registers and bytes.

#[path = "sections.rs"]
mod sections;

use std::fs;
use std::ops::Range;

use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{Module, Unwinder};
use hangsnap::capture::CapturedThread;
use hangsnap::model::{Pid, RegisterFile, X86_64Register};

pub struct Framehop {
    unwinder: UnwinderX86_64<Vec<u8>>,
    cache: CacheX86_64,
}

impl Framehop {
    /// With the modules of a process.
    pub fn of(pid: Pid) -> Self {
        let mut unwinder = UnwinderX86_64::new();
        for (path, range) in files(pid) {
            let sections = sections::of_file(&path);
            unwinder.add_module(Module::new(path, range.clone(), range.start, sections));
        }
        Self { unwinder, cache: CacheX86_64::new() }
    }

    /// Forgets the addresses that it has met.
    pub fn forget(&mut self) {
        self.cache = CacheX86_64::new();
    }

    pub fn walk_all(&mut self, held: &[(&CapturedThread, RegisterFile<X86_64Register>)]) -> usize {
        let mut count = 0;
        for (thread, registers) in held {
            let register = |which| registers.get(which).expect("a held thread's registers are known");
            let (pc, sp, fp) =
                (register(X86_64Register::Rip), register(X86_64Register::Rsp), register(X86_64Register::Rbp));
            let mut read = |address: u64| {
                let offset = address.checked_sub(thread.stack.start).and_then(|offset| usize::try_from(offset).ok());
                let word = offset.and_then(|offset| thread.stack.bytes.get(offset..)?.first_chunk::<8>());
                word.map(|word| u64::from_le_bytes(*word)).ok_or(())
            };
            let start = UnwindRegsX86_64::new(pc, sp, fp);
            let mut walk = self.unwinder.iter_frames(pc, start, &mut self.cache, &mut read);
            // As those who use it do, and as hangsnap does: the frames are kept.
            let mut frames = Vec::with_capacity(64);
            while let Ok(Some(frame)) = walk.next() {
                frames.push(frame);
            }
            count += std::hint::black_box(&frames).len();
        }
        count
    }
}

/// The files that are mapped, with all of their mappings.
fn files(pid: Pid) -> Vec<(String, Range<u64>)> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("the target's map");
    let mut files: Vec<(String, Range<u64>)> = Vec::new();
    for line in maps.lines() {
        let Some(path) = line.split_whitespace().nth(5).filter(|path| path.starts_with('/')) else {
            continue;
        };
        let (start, end) = line.split_once(' ').and_then(|(range, _)| range.split_once('-')).expect("a range");
        let number = |text| u64::from_str_radix(text, 16).expect("hexadecimal");
        match files.iter_mut().find(|(known, _)| known == path) {
            Some((_, range)) => range.end = number(end),
            None => files.push((path.into(), number(start)..number(end))),
        }
    }
    files.retain(|(path, _)| object::File::parse(&*fs::read(path).unwrap_or_default()).is_ok());
    files
}
