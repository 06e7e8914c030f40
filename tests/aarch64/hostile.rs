//! Call frame information and stacks that no compiler has made: walks end, say why, and cost
//! little.

use std::sync::Arc;
use std::time::Duration;

use hangsnap::elf::{CfiSections, Section};
use hangsnap::model::{
    Aarch64Register, AnyRegister, Bias, CodeAddress, FileAddress, ModuleIndex, Place, RegisterFile, RuntimeAddress,
    Stack, WalkEnd,
};
use hangsnap::unwind::{CodeSpace, SpaceId, StackMemory, Unwinder};

use crate::support::thread_time;

/// Code lies from here to `END`, in functions of `SIZE`.
const CODE: u64 = 0x10_0000;
const SIZE: u64 = 0x1000;
const FUNCTIONS: u64 = 4;
const STACK: u64 = 0x7f_0000_0000;
/// What a signature may look like.
const SIGNATURE: u64 = 0x0023 << 48;

/// One module, loaded where its file says, of functions without any instruction.
struct Space(Arc<CfiSections>);

impl CodeSpace for Space {
    fn id(&self) -> SpaceId {
        SpaceId(0)
    }

    fn module(&self, address: RuntimeAddress) -> Option<(ModuleIndex, Bias)> {
        self.is_executable(address).then_some((ModuleIndex(0), Bias(0)))
    }

    fn end(&self) -> RuntimeAddress {
        RuntimeAddress(1 << 39)
    }

    fn is_executable(&self, address: RuntimeAddress) -> bool {
        (CODE..CODE + FUNCTIONS * SIZE).contains(&address.0)
    }

    fn cfi(&mut self, _: ModuleIndex) -> Arc<CfiSections> {
        self.0.clone()
    }

    fn read(&mut self, _: RuntimeAddress, _: &mut [u8]) -> usize {
        0
    }
}

/// An entry, padded with instructions that do nothing.
fn entry(id: u32, rest: &[u8]) -> Vec<u8> {
    let mut bytes = [&id.to_le_bytes(), rest].concat();
    bytes.resize(bytes.len().next_multiple_of(8) + 4, 0);
    [&u32::try_from(bytes.len()).expect("a short entry").to_le_bytes(), &*bytes].concat()
}

/// `.eh_frame` with these instructions for one function each. At their beginning the CFA is sp.
fn eh_frame(functions: &[&[u8]]) -> Vec<u8> {
    // Version 1, no augmentation, code in fours, data in minus eights, x30; DW_CFA_def_cfa sp, 0.
    let mut section = entry(0, &[1, 0, 4, 0x78, 30, 0x0c, 31, 0]);
    for (start, instructions) in (CODE..).step_by(0x1000).zip(functions) {
        let id = u32::try_from(section.len() + 4).expect("a short section");
        section.extend(entry(id, &[&start.to_le_bytes(), &SIZE.to_le_bytes(), *instructions].concat()));
    }
    section
}

fn space(eh_frame: Vec<u8>) -> Space {
    let mut sections = CfiSections::default();
    sections.eh_frame.replace(Section { address: FileAddress(0), data: eh_frame });
    Space(Arc::new(sections))
}

/// Walks from the first function, with these words of stack and so on.
fn walk(functions: &[&[u8]], words: &[u64], link: u64, fp: u64) -> Stack {
    let mut registers = RegisterFile::default();
    registers.set(Aarch64Register::Pc, CODE + 0x10);
    registers.set(Aarch64Register::Sp, STACK);
    registers.set(Aarch64Register::LR, link);
    registers.set(Aarch64Register::FP, fp);
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let stack = StackMemory::new(RuntimeAddress(STACK), &bytes);
    Unwinder::default().walk(&registers, stack, &mut space(eh_frame(functions)))
}

fn addresses(stack: &Stack) -> Vec<u64> {
    let address = |code| match code {
        CodeAddress::Pc(Place::InModule { address, .. }) | CodeAddress::Return(Place::InModule { address, .. }) => {
            address.0
        }
        CodeAddress::Pc(Place::Outside(address)) | CodeAddress::Return(Place::Outside(address)) => address.0,
    };
    stack.frames.iter().map(|frame| address(frame.code())).collect()
}

/// An address in a function after its beginning.
fn inside(function: u64) -> u64 {
    CODE + function * SIZE + 0x20
}

/// DW_CFA_def_cfa_offset 16; DW_CFA_offset x29, 2 * -8; DW_CFA_offset x30, 1 * -8.
const SAVES_BOTH: &[u8] = &[0x0e, 16, 0x80 | 29, 2, 0x80 | 30, 1];
const NEGATE: u8 = 0x2d;
/// DW_CFA_undefined x30.
const ROOT: &[u8] = &[0x07, 30];

#[test]
fn aarch64_a_caller_that_has_not_saved_its_return_address_has_lost_it() {
    let stack = walk(&[&[], &[], ROOT], &[0; 8], inside(1), 0);
    assert_eq!(addresses(&stack), [CODE + 0x10, inside(1)]);
    assert_eq!(stack.end, WalkEnd::UnknownRegister(AnyRegister::Aarch64(Aarch64Register::LR)));
    // And one that has.
    let stack = walk(&[&[], SAVES_BOTH, ROOT], &[0, inside(2)], inside(1), 0);
    assert_eq!((addresses(&stack), stack.end), (vec![CODE + 0x10, inside(1), inside(2)], WalkEnd::Root));
}

#[test]
fn aarch64_signatures_are_taken_off_where_the_sign_state_says_so_and_nowhere_else() {
    let signs = [&[NEGATE], SAVES_BOTH].concat();
    let signs_twice = [&[NEGATE, NEGATE], SAVES_BOTH].concat();
    let words = [0, inside(1) | SIGNATURE, 0, inside(2)];
    let stack = walk(&[&signs, SAVES_BOTH, ROOT], &words, 0, 0);
    assert_eq!((addresses(&stack), stack.end), (vec![CODE + 0x10, inside(1), inside(2)], WalkEnd::Root));
    for plain in [SAVES_BOTH, &signs_twice] {
        let stack = walk(&[plain, SAVES_BOTH, ROOT], &words, 0, 0);
        assert_eq!(stack.end, WalkEnd::BadReturnAddress(RuntimeAddress(inside(1) | SIGNATURE)));
    }
    // In the register, before it is saved and after it was restored.
    let stack = walk(&[&[NEGATE], SAVES_BOTH, ROOT], &[0, inside(2)], inside(1) | SIGNATURE, 0);
    assert_eq!((addresses(&stack), stack.end), (vec![CODE + 0x10, inside(1), inside(2)], WalkEnd::Root));
}

#[test]
fn aarch64_walks_that_go_in_circles_end() {
    // DW_CFA_def_cfa x29, 16; x29 and x30 saved; the record points to itself.
    let by_fp: &[u8] = &[0x0c, 29, 16, 0x80 | 29, 2, 0x80 | 30, 1];
    let stack = walk(&[by_fp], &[STACK, inside(0)], 0, STACK);
    assert_eq!((stack.frames.len(), stack.end), (2, WalkEnd::NoProgress));
    // The same without call frame information, and with a record below the other.
    for (fp, records) in [(STACK, [STACK, inside(0), 0, 0]), (STACK + 16, [0, 0, STACK, inside(0)])] {
        let stack = walk(&[], &records, 0, fp);
        assert_eq!((stack.frames.len(), stack.end), (1, WalkEnd::NoUnwindInfo(RuntimeAddress(CODE + 0x10))));
    }
    // DW_CFA_val_offset x30: the return address is the frame's own, again and again.
    let stack = walk(&[&[0x14, 30, 0]], &[0; 8], inside(0), 0);
    assert!(stack.frames.len() <= 2 && stack.end != WalkEnd::Root, "{stack:?}");
}

#[test]
fn aarch64_information_that_cannot_be_evaluated_is_called_that() {
    let bad: [&[u8]; 6] = [
        // A rule for the sign state, and then DW_CFA_AARCH64_negate_ra_state.
        &[0x05, 34, 1, NEGATE],
        // DW_CFA_AARCH64_negate_ra_state_with_pc, which gimli does not know.
        &[0x2c],
        // DW_CFA_def_cfa_expression: DW_OP_skip to itself, for ever.
        &[0x0f, 3, 0x2f, 0xfd, 0xff],
        // The same, of a register that there is not.
        &[0x0f, 2, 0x70 + 31, 0x80],
        // DW_CFA_def_cfa of one of them; DW_CFA_restore_state of none.
        &[0x0c, 64, 0],
        &[0x0b],
    ];
    for instructions in bad {
        let stack = walk(&[instructions], &[0; 8], inside(1), 0);
        assert_eq!(stack.end, WalkEnd::BadUnwindInfo(RuntimeAddress(CODE + 0x10)), "{instructions:x?}");
    }
}

#[test]
fn aarch64_walks_are_bounded_whatever_the_information_says() {
    let signs = [&[NEGATE], SAVES_BOTH].concat();
    let by_fp: &[u8] = &[0x0c, 29, 16, 0x80 | 29, 2, 0x80 | 30, 1];
    let whole = eh_frame(&[SAVES_BOTH, &signs, by_fp, ROOT]);
    // Words that may be any of what a walk looks for.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: u64| {
        // xorshift64 (Marsaglia 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let words: Vec<u64> = (0..4096)
        .map(|_| match random(4) {
            0 => STACK + 8 * random(4096),
            1 => inside(random(FUNCTIONS)),
            2 => inside(random(FUNCTIONS)) | SIGNATURE,
            _ => random(u64::MAX),
        })
        .collect();
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let (mut longest, mut frames, mut ends) = (Duration::ZERO, 0, std::collections::BTreeSet::new());
    for _ in 0..20_000 {
        let mut damaged = whole.clone();
        for _ in 0..random(6) {
            let at = usize::try_from(random(damaged.len() as u64)).expect("small");
            damaged[at] = u8::try_from(random(256)).expect("a byte");
        }
        let mut registers = RegisterFile::default();
        registers.set(Aarch64Register::Pc, inside(random(FUNCTIONS)));
        registers.set(Aarch64Register::Sp, STACK + 16 * random(64));
        registers.set(Aarch64Register::FP, STACK + 16 * random(256));
        registers.set(Aarch64Register::LR, inside(random(FUNCTIONS)));
        let begun = thread_time();
        let stack = StackMemory::new(RuntimeAddress(STACK), &bytes);
        let stack = Unwinder::default().walk(&registers, stack, &mut space(damaged));
        longest = longest.max(thread_time() - begun);
        frames += stack.frames.len();
        ends.insert(format!("{:?}", stack.end).split('(').next().unwrap_or_default().to_owned());
    }
    println!("20000 walks: {frames} frames, the longest took {longest:?}, ends: {ends:?}");
    assert!(longest < Duration::from_secs(1), "{longest:?}");
    assert!(ends.len() >= 5, "the damage was all of one kind: {ends:?}");
}
