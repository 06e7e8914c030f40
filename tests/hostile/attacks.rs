//! Files made to cost as much as they can: what grows faster than they do, and what a stack of distinct addresses multiplies.

use hangsnap::model::{Stack, WalkEnd};

use super::assemble::{PLAIN, common, elf, function};
use super::bounds::Cost;
use super::loaded::walk_words;

/// Where the functions are.
const CODE: u64 = 0x1000_0000;
/// The words of a large stack.
const WORDS: u64 = 1 << 19;

/// What walking a stack of these words through a file costs, which has to be bounded.
fn walk(file: &[u8], words: impl Iterator<Item = u64>) -> Stack {
    let words: Vec<u64> = words.collect();
    let mut stack = None;
    let cost = Cost::of(|| stack = Some(walk_words(file, &words)));
    println!("{:?}, {} KiB, for {} KiB", cost.time, cost.memory >> 10, file.len() >> 10);
    cost.check(file.len());
    stack.expect("it came to an end")
}

/// Each word another address in the same function, one byte apart.
fn distinct() -> impl Iterator<Item = u64> {
    (0..WORDS).map(|number| CODE + number)
}

/// Each function's entry had its common one read again, of which the name of the augmentation may be as long as it likes.
#[test]
fn a_long_augmentation_is_not_read_for_each_function() {
    for (section, id) in [(".eh_frame", 0), (".debug_frame", u32::MAX)] {
        let mut entries = common(id, &[&b"z"[..], &[b'S'; 400_000]].concat(), &PLAIN);
        while entries.len() < 1 << 20 {
            let start = CODE + entries.len() as u64 * 16;
            entries.extend(function(entries.len(), 0, id != 0, start, 16, &[]));
        }
        walk(&elf(&[(section, entries)]), distinct().take(100));
    }
}

/// The common entries of `.debug_frame` may lie in one another: their id is no zero, which would end the outer one's name.
#[test]
fn augmentations_that_lie_in_one_another_are_not_read_for_each_function() {
    const COMMON: usize = 16;
    let mut inner = Vec::new();
    // A length, the id, the version, and a name that goes on to the end of them all.
    let count = 20_000;
    for number in 0..count {
        let rest = u32::try_from((count - number) * COMMON).expect("small") | 0x0101_0000;
        inner.extend([rest, u32::MAX, 0x0101_0101, 0x0101_0101].map(u32::to_le_bytes).concat());
    }
    // They lie where the instructions of a function would be.
    let mut entries = common(u32::MAX, &[], &PLAIN);
    let first = entries.len() + 4 + 4 + 8 + 8;
    entries.extend(function(entries.len(), 0, true, CODE, 16, &inner));
    for number in 0..count {
        let start = CODE + number as u64 * 16;
        entries.extend(function(entries.len(), first + number * COMMON, true, start, 16, &[]));
    }
    walk(&elf(&[(".debug_frame", entries)]), distinct().take(100));
}

/// All instructions of a function were evaluated anew for each address in it.
#[test]
fn long_programs_are_not_evaluated_for_each_of_many_addresses() {
    let mut entries = common(0, &[], &PLAIN);
    let place = entries.len();
    entries.extend(function(place, 0, false, CODE, 1 << 30, &[0; 200_000]));
    let stack = walk(&elf(&[(".eh_frame", entries)]), distinct());
    assert!(stack.frames.len() > 10, "{:?}", stack.end);
}

/// Each of them may have an expression for each register, of as many steps as are allowed.
#[test]
fn long_expressions_are_not_evaluated_for_each_of_many_frames() {
    // DW_OP_dup, DW_OP_drop, and so on: the frame's address stays on the stack.
    let long = [0x12, 0x13].repeat(450);
    // DW_CFA_val_expression for every register.
    let rule = |register: u8| [&[0x16, register, 0x84, 0x07][..], &long].concat();
    let rules: Vec<u8> = (0..16).filter(|register| *register != 7).flat_map(rule).collect();
    let mut entries = common(0, &[], &[&PLAIN[..], &rules].concat());
    let place = entries.len();
    entries.extend(function(place, 0, false, CODE, 1 << 30, &[]));
    let stack = walk(&elf(&[(".eh_frame", entries)]), distinct().map(|address| address & !0xff));
    assert!(stack.frames.len() > 10, "{:?}", stack.end);
}

/// What is kept of each function to find it by took more than the section itself.
#[test]
fn the_index_of_many_small_functions_is_not_much_larger_than_they_are() {
    let mut entries = common(0, &[], &PLAIN);
    while entries.len() < 8 << 20 {
        let start = CODE + entries.len() as u64;
        entries.extend(function(entries.len(), 0, false, start, 16, &[]));
    }
    let size = entries.len();
    let file = elf(&[(".eh_frame", entries)]);
    let cost = Cost::of(|| {
        walk_words(&file, &[CODE + 100, CODE + 200, CODE + 300]);
    });
    assert!(cost.memory < 8 * size, "{} bytes for {size}", cost.memory);
    cost.check(file.len());
}

/// A usual stack of the same kind is walked to its end.
#[test]
fn a_long_stack_of_plain_functions_is_walked() {
    let mut entries = common(0, &[], &PLAIN);
    let place = entries.len();
    entries.extend(function(place, 0, false, CODE, 1 << 30, &[]));
    let stack = walk(&elf(&[(".eh_frame", entries)]), distinct().chain([0]));
    assert_eq!(stack.end, WalkEnd::Root);
    let left_out = stack.gap.map_or(0, |gap| gap.frames);
    assert_eq!(stack.frames.len() as u64 + left_out, WORDS);
}
