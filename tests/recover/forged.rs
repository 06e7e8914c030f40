//! Stacks that were made up: frames that look right and are not, and bytes of any kind.

use std::process::Command;
use std::time::Duration;

use hangsnap::capture::CapturedThread;
use hangsnap::model::{FoundBy, RuntimeAddress, X86_64Register};
use hangsnap::unwind::StackMemory;

use super::{Copied, codes, memory_of, told};
use crate::support::{Victim, compile, long_form, thread_time};

/// Bytes of a stack that can be forged.
struct Forged {
    start: u64,
    bytes: Vec<u8>,
}

impl Forged {
    fn of(thread: &CapturedThread) -> Self {
        Self { start: thread.stack.start, bytes: thread.stack.bytes.to_vec() }
    }

    fn holds(&self, address: u64) -> bool {
        address.checked_sub(self.start).is_some_and(|offset| offset + 8 <= self.bytes.len() as u64)
    }

    fn at(&mut self, address: u64) -> &mut [u8; 8] {
        let offset = usize::try_from(address - self.start).expect("an address of the stack");
        self.bytes[offset..].first_chunk_mut().expect("an address of the stack")
    }

    fn word(&mut self, address: u64) -> u64 {
        u64::from_le_bytes(*self.at(address))
    }

    fn set(&mut self, address: u64, word: u64) {
        *self.at(address) = word.to_le_bytes();
    }

    fn memory(&self) -> StackMemory<'_> {
        StackMemory::new(RuntimeAddress(self.start), &self.bytes)
    }
}

/// Before the right frame lies one that looks like it: the saved frame pointer is right, so that
/// a walk that believes the return address comes to the outermost frame too.
#[test]
fn a_wrong_frame_before_the_right_one_is_not_taken() {
    let victim = Victim::start(&mut Command::new(compile("gcc", "frames.c", &["-O2", "-g", "-pthread"])));
    let (mut tried, mut threads) = (0, 0);
    Copied::of(&victim).each(|thread, registers, walker| {
        let reference = walker.walk(registers, memory_of(thread));
        let rbp = registers.get(X86_64Register::Rbp).expect("it was held");
        let addresses: Vec<u64> = reference.frames.iter().map(|frame| walker.address(frame)).collect();
        let mut forged = Forged::of(thread);
        let name = &thread.status.name;
        // The frame in question is the one whose frame pointer is still in its register: some waits
        // use it for something else.
        if !name.starts_with("alloca-") || !forged.holds(rbp + 8) {
            return;
        }
        let target = forged.word(rbp + 8);
        if !addresses.contains(&target) {
            return;
        }
        threads += 1;
        let return_addresses = addresses[1..].iter().filter(|address| **address != target);
        // A return address of another call, what lies beside one, the start of a frame's code, and
        // no code.
        let wrong = return_addresses.flat_map(|address| [*address, address + 1, address - 5]);
        for wrong in wrong.chain([target + 1, target - 5, rbp, 0, u64::MAX]) {
            let before = rbp - 40;
            let saved = forged.word(rbp);
            forged.set(before, saved);
            forged.set(before + 8, wrong);
            let without = walker.walk(&told(registers), forged.memory());
            assert_eq!(codes(&without), codes(&reference), "{name}: {wrong:#x} at {before:#x}");
            assert!(without.frames.iter().any(|frame| frame.found() == FoundBy::Inferred), "{name}");
            tried += 1;
        }
    });
    println!("{tried} forged frames on {threads} stacks, none taken");
    assert!(threads >= 3 && tried > threads * 10, "{tried} forged frames on {threads} stacks say too little");
}

/// Numbers that look random and are the same in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }
}

/// As large as a stack that is copied gets.
const LARGE: usize = 1 << 20;

#[test]
fn a_stack_of_anything_ends_in_bounded_work() {
    let victim = Victim::start(&mut Command::new(compile("gcc", "frames.c", &["-O0", "-g", "-pthread"])));
    let rounds = if long_form() { 100 } else { 2 };
    let mut random = Random(0x5eed);
    let (mut walks, mut inferred, mut most_questions, mut most_reads) = (0, 0, 0, 0);
    let mut longest = Duration::ZERO;
    Copied::of(&victim).each(|thread, registers, walker| {
        let reference = walker.walk(registers, memory_of(thread));
        let known: Vec<u64> = reference.frames.iter().map(|frame| walker.address(frame)).collect();
        for round in 0..rounds * 4 {
            let mut forged = Forged { start: thread.stack.start, bytes: vec![0; LARGE] };
            // What belongs to the frames whose registers are known stays as it is, so that the walk
            // comes to those that are not.
            let kept = 256.min(thread.stack.bytes.len());
            forged.bytes[..kept].copy_from_slice(&thread.stack.bytes[..kept]);
            for offset in (kept..LARGE).step_by(8) {
                let in_stack = forged.start + random.below(LARGE) as u64;
                let nearby = forged.start + (offset + random.below(256)) as u64 / 8 * 8;
                let word = match (round % 4, random.below(4)) {
                    // Anything.
                    (0, _) => random.next(),
                    // Return addresses of this very stack, and frame pointers that lead to others.
                    (1, 0 | 1) | (2, 0) => known[random.below(known.len())],
                    (1, _) => nearby,
                    (2, _) => in_stack,
                    // Nothing but return addresses.
                    _ => known[random.below(known.len())],
                };
                forged.set(forged.start + offset as u64, word);
            }
            walker.space.questions.set(0);
            walker.space.reads.set(0);
            let begun = thread_time();
            let stack = walker.walk(&told(registers), forged.memory());
            longest = longest.max(thread_time() - begun);
            most_questions = most_questions.max(walker.space.questions.get());
            most_reads = most_reads.max(walker.space.reads.get());
            inferred += usize::from(stack.frames.iter().any(|frame| frame.found() == FoundBy::Inferred));
            walks += 1;
        }
    });
    println!(
        "{walks} forged stacks, {inferred} with a frame inferred, at most {most_questions} questions, {most_reads} \
         reads and {longest:?} for one"
    );
    assert!(walks > 400 && inferred > 0, "{walks} walks with {inferred} inferred frames say too little");
    // A frame takes at least 16 bytes of the stack and some three questions, and what is spent on
    // recovery is bounded.
    assert!(most_questions < LARGE / 16 * 3 + 100_000, "{most_questions} questions");
    // Where call frame information needs a register, and where there is none.
    assert!(most_reads <= (1 << 10) + (1 << 13), "{most_reads} reads");
    // No one walk is what everything else waits for.
    assert!(longest < Duration::from_secs(1), "{longest:?} for one");
}
