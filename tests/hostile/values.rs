//! Hostile debug information where variables are looked for: real programs with some bytes of
//! their debug sections changed. Whatever they say of types, lists and expressions, there is an
//! answer in bounded time and memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hangsnap::model::{Snapshot, Thread};
use hangsnap::store::Reader;
use hangsnap::symbols::{Finder, NamedFile};
use hangsnap::variables::{Absent, Locals, Value};
use object::{Object, ObjectSection};

use super::bounds::{Cost, Watch};
use super::campaign;
use super::random::Random;
use crate::support::{Victim, compile, hangsnap, succeed};

/// Bytes that are changed in one case.
const MOST_CHANGES: usize = 6;

fn place(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// A snapshot with the bytes of the stacks.
fn snapshot(program: &Path) -> Snapshot {
    let victim = Victim::start(&mut Command::new(program));
    let file = place("hostile-values.hangsnap");
    let _ = fs::remove_file(&file);
    succeed(hangsnap().args([&*victim.pid(), "--keep", "stacks", "-o"]).arg(&file));
    let mut reader = Reader::open(&file).expect("a recording");
    reader.next_snapshot().expect("it can be read").expect("one snapshot").expect("undamaged")
}

/// Where the debug sections of a file lie in it.
fn sections(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let elf = object::File::parse(bytes).expect("an ELF file");
    let is_debug = |name: &str| name.starts_with(".debug_") && name != ".debug_line" && name != ".debug_str";
    let ranges = elf.sections().filter(|section| section.name().is_ok_and(is_debug));
    let ranges = ranges.filter_map(|section| section.file_range());
    ranges.map(|(start, size)| start as usize..(start + size) as usize).filter(|range| !range.is_empty()).collect()
}

fn change(bytes: &mut [u8], sections: &[std::ops::Range<usize>], random: &mut Random) {
    for _ in 0..=random.below(MOST_CHANGES) {
        let section = &sections[random.below(sections.len())];
        let at = section.start + random.below(section.len());
        match random.below(3) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
            _ => bytes[at] = random.byte(),
        }
    }
}

/// How many values are known, and how many are not.
fn look(snapshot: &Snapshot, file: &Path) -> (usize, usize) {
    let finder = NamedFile::open(file).map(|named| Finder::new(Vec::new()).with_named(vec![named], Vec::new()));
    let Ok(finder) = finder else { return (0, 0) };
    let threads: Vec<&Thread> = snapshot.threads.iter().collect();
    let locals = Locals::resolve(&finder, snapshot, &threads, &[]);
    let (mut known, mut absent) = (0, 0);
    for thread in threads {
        for frame in 0..thread.stack.frames.len() {
            for variable in locals.of(thread.tid, frame).iter().flat_map(|scope| &scope.variables) {
                match variable.value {
                    Value::Absent(
                        Absent::OptimizedOut | Absent::NotSaved | Absent::NotCaptured | Absent::Unreadable,
                    ) => {
                        absent += 1;
                    }
                    _ => known += 1,
                }
            }
        }
    }
    (known, absent)
}

#[test]
fn damaged_debug_information_is_survived_where_values_are_shown() {
    let watch = Watch::new();
    let bases = [
        ("values of C", compile("gcc", "locals.c", &["-g", "-O2", "-pthread"]), 100),
        ("values of C without a list of units", compile("clang", "locals.c", &["-g", "-O2", "-pthread"]), 100),
        ("values of C++", compile("g++", "locals.cpp", &["-g", "-O0", "-std=c++17"]), 50),
    ];
    let mut survived = true;
    for (name, program, cases) in bases {
        let whole = fs::read(&program).expect("it was just made");
        let snapshot = snapshot(&program);
        let (sections, changed) = (sections(&whole), place("hostile-values"));
        let undamaged = look(&snapshot, &program).0;
        assert!(undamaged > 20, "{name}: {undamaged} values");
        let (mut known, mut absent) = (0, 0);
        let mut bytes = whole.clone();
        survived &= campaign(name, cases, &watch, |mut random| {
            bytes.copy_from_slice(&whole);
            change(&mut bytes, &sections, &mut random);
            fs::write(&changed, &bytes).expect("the directory can be written to");
            let mut seen = (0, 0);
            let cost = Cost::of(|| seen = look(&snapshot, &changed));
            cost.check(bytes.len() + LIBRARIES);
            known += seen.0;
            absent += seen.1;
            cost
        });
        println!("    {known} values, {absent} that are not known");
        assert!(known > 0, "{name}: nothing was looked at");
    }
    assert!(survived, "not by all of them");
}

/// What is read of the debug information of libraries that are as they were.
const LIBRARIES: usize = 16 << 20;
