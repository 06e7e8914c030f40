//! Files made to cost as much as they can: what grows faster than they do, and what a stack of
//! distinct addresses multiplies.

use hangsnap::model::{Stack, WalkEnd};

use super::assemble::{PLAIN, common, elf, function};
use super::bounds::Cost;
use super::loaded::{load, walk_words};

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

/// Each function's entry had its common one read again, and the name of its augmentation may
/// be as long as it likes.
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

/// The common entries of `.debug_frame` may lie in one another: their id is no zero, which would
/// end the outer one's name. Nor must their lengths have one, so this takes 16 MiB.
#[test]
fn augmentations_that_lie_in_one_another_are_not_read_for_each_function() {
    const LENGTH: u32 = 0x0101_0101;
    // A length, the id, the version, and a name that goes on to the end of them all.
    let inner = [LENGTH, u32::MAX, LENGTH, LENGTH].map(u32::to_le_bytes).concat();
    let count = 4000;
    let inside = [inner.repeat(count), vec![1; LENGTH as usize]].concat();
    // They lie where the instructions of a function would be.
    let mut entries = common(u32::MAX, &[], &PLAIN);
    let first = entries.len() + 4 + 4 + 8 + 8;
    entries.extend(function(entries.len(), 0, true, CODE, 16, &inside));
    for number in 0..count {
        let start = CODE + number as u64 * 16;
        entries.extend(function(entries.len(), first + number * 16, true, start, 16, &[]));
    }
    walk(&elf(&[(".debug_frame", entries)]), distinct().take(100));
}

/// All instructions of a function were evaluated again for each address in it.
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

/// A program of Go has one table; each place that looked like one was searched for a function that
/// every program has.
#[test]
fn tables_of_go_are_not_sought_at_any_number_of_places() {
    let (tables, count) = (8_000, 30_000);
    let headers: Vec<u8> = (0..tables).flat_map(|number| header(count, 80 * (tables - number))).collect();
    let data = [headers, index(count)].concat();
    let file = elf(&[(".note.go.buildid", note()), (".text", vec![0x90; 64]), (".data", data)]);
    load_within_bounds(&with_note(file));
}

/// Names were read to their ends, and may be 64 KiB long, to see whether they are one that is
/// sought.
#[test]
fn long_names_of_functions_of_go_are_not_read_to_their_ends() {
    let count = 150_000;
    let names = vec![b'x'; 80 << 10];
    let table = [header(count, 80 + names.len() as u64), names, index(count)].concat();
    load_within_bounds(&elf(&[(".text", vec![0x90; 64]), (".gopclntab", table)]));
}

/// The header of a table as of Go 1.18, with nowhere its text: so it has to be found out. 80 bytes.
fn header(functions: u64, index: u64) -> Vec<u8> {
    let magic = [0xf0, 0xff, 0xff, 0xff, 0, 0, 1, 8];
    // Functions, files, text, and where names, units, files, values and the index begin.
    let numbers = [functions, 1, 0, 80, 80, 80, 80, index, 0].map(u64::to_le_bytes).concat();
    [&magic[..], &numbers].concat()
}

/// The index of such a table: functions of 16 bytes, all with the same description, which is
/// nothing but zeroes.
fn index(functions: u64) -> Vec<u8> {
    let small = |number: u64| u32::try_from(number).expect("small").to_le_bytes();
    let mut index: Vec<u8> =
        (0..functions).flat_map(|number| [small(16 * number), small(8 * functions + 4)].concat()).collect();
    index.extend(small(16 * functions));
    index.resize(index.len() + 64, 0);
    index
}

/// Of each section the name was kept, which may be part of another's.
#[test]
fn names_of_sections_that_lie_in_one_another_do_not_fill_the_memory() {
    let names = [&[b'x'; 4000][..], &[0]].concat().repeat(1000);
    let mut file = elf(&[(".text", names), (".data", vec![0; 64 * 65_000])]);
    // The section headers are moved into the second section, and the first becomes the one with
    // their names.
    let data = (0x100_usize + 4001 * 1000).next_multiple_of(16);
    for number in 0..65_000 {
        let header = data + 64 * number;
        file[header..header + 4].copy_from_slice(&u32::try_from(number * 61).expect("small").to_le_bytes());
    }
    // The second one has the names.
    let names = [3 << 32, 0, 0, 0x100, 4001 * 1000].map(u64::to_le_bytes).concat();
    file[data + 64..data + 64 + names.len()].copy_from_slice(&names);
    file[40..48].copy_from_slice(&(data as u64).to_le_bytes());
    file[60..62].copy_from_slice(&65_000_u16.to_le_bytes());
    file[62..64].copy_from_slice(&[1, 0]);
    let cost = load_within_bounds(&file);
    assert!(cost.memory < 2 * file.len(), "{} bytes", cost.memory);
}

/// One note: its name is `Go`, with a zero and padding, and nothing is in it.
fn note() -> Vec<u8> {
    [&[3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0][..], b"Go\0\0"].concat()
}

/// Makes the file's first section its notes: a second program header where nothing else lies.
fn with_note(mut file: Vec<u8>) -> Vec<u8> {
    file[56..58].copy_from_slice(&[2, 0]);
    let header = [4 | 4 << 32, 0x100, 0x100, 0x100, 16, 16, 4].map(u64::to_le_bytes).concat();
    file[120..176].copy_from_slice(&header);
    file
}

fn load_within_bounds(file: &[u8]) -> Cost {
    let cost = Cost::of(|| {
        load(file, 0);
    });
    println!("{:?}, {} KiB, for {} KiB", cost.time, cost.memory >> 10, file.len() >> 10);
    cost.check(file.len());
    cost
}
