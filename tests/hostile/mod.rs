//! Hostile bytes where a process has programs and libraries: real ELF files of which a few numbers were changed. Whatever
//! they say, walking stacks through them ends with an answer or an error, in bounded time and memory.
//!
//! A case is known by its number. The short form takes the first few of each file; the long form takes others each time,
//! and says which. `HANGSNAP_CASE=NUMBER` repeats one. With `--profile checked` sums that overflow are found too. What
//! once went wrong lies in `corpus/`, each with a test of its name.

mod assemble;
mod attacks;
mod bounds;
mod fields;
mod loaded;
mod program;
mod random;

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use bounds::{Cost, Watch};
use fields::{Fields, Part};
use loaded::{Walked, load};
use random::Random;

use crate::support::{compile, long_form};

/// What each file is given in the long form.
const LONG: Duration = Duration::from_secs(90);

/// A file to begin with, and what of it has to be there for it to be worth the while.
struct Base {
    name: &'static str,
    path: PathBuf,
    parts: &'static [Part],
    /// Cases of the short form: large files take longer.
    cases: u64,
}

fn bases() -> Vec<Base> {
    use Part::{Compressed, Entries, GoTable, Instructions, Notes, SearchTable, Sections};
    let go = compile("go", "empty.go", &["build", "-ldflags=-s -w"]);
    let c = |flags: &[&str]| compile("gcc", "sleeper.c", flags);
    let debug_frame = ["-O2", "-g", "-pthread", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables"];
    vec![
        Base {
            name: "a program of C",
            path: c(&["-O2", "-pthread"]),
            parts: &[Entries, Instructions, SearchTable, Notes, Sections],
            cases: 3000,
        },
        Base {
            name: "one of C++",
            path: compile("g++", "stacks.cpp", &["-O2", "-pthread"]),
            parts: &[Entries, SearchTable],
            cases: 1000,
        },
        Base {
            name: "without .eh_frame_hdr",
            path: c(&["-O2", "-pthread", "-Wl,--no-eh-frame-hdr"]),
            parts: &[Entries],
            cases: 2000,
        },
        Base { name: "with .debug_frame", path: c(&debug_frame), parts: &[Entries], cases: 2000 },
        Base {
            name: "compressed",
            path: c(&[&debug_frame[..], &["-gz=zlib"]].concat()),
            parts: &[Compressed],
            cases: 2000,
        },
        Base { name: "libc", path: libc(), parts: &[Entries, SearchTable], cases: 100 },
        Base { name: "one of Go", path: go, parts: &[GoTable], cases: 100 },
    ]
}

/// The library that this test itself has loaded.
fn libc() -> PathBuf {
    let maps = fs::read_to_string("/proc/self/maps").expect("our own map");
    let path = maps.split_whitespace().find(|word| word.ends_with("/libc.so.6"));
    path.expect("this test is linked to glibc").into()
}

/// Says which case it was, when a test panics in it.
struct Case<'a>(&'a str, u64);

impl Drop for Case<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("in {}, case {}: HANGSNAP_CASE tells which to repeat", self.0, self.1);
        }
    }
}

/// Tries cases until there were enough; those of the long form begin anywhere.
fn campaign(name: &str, cases: u64, watch: &Watch, mut try_case: impl FnMut(Random) -> Cost) {
    let wanted = std::env::var("HANGSNAP_CASE").ok().map(|case| case.parse().expect("the number of a case"));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is later than 1970");
    let first = wanted.unwrap_or(if long_form() { now.as_secs() << 32 } else { 0 });
    let begun = Instant::now();
    let (mut number, mut most, mut slowest) = (first, Cost::default(), first);
    loop {
        let case = Case(name, number);
        watch.begin(format!("{name}, case {number},"));
        let cost = try_case(Random::new(number));
        if cost.time > most.time {
            slowest = number;
        }
        most = most.most(cost);
        drop(case);
        number += 1;
        let done = number - first;
        let is_enough = if long_form() { begun.elapsed() >= LONG } else { done == cases };
        if wanted.is_some() || is_enough {
            break;
        }
    }
    let Cost { time, memory } = most;
    let (count, kib) = (number - first, memory >> 10);
    println!("{name}: {count} cases from {first} on; at most {time:?} (case {slowest}) and {kib} KiB each");
}

#[test]
fn damaged_files_are_survived() {
    let watch = Watch::new();
    for Base { name, path, parts, cases } in bases() {
        let whole = fs::read(&path).expect("it was just made");
        let fields = Fields::of(&whole);
        for part in parts {
            assert!(fields.has(*part), "{}: nothing of {part:?} is in it", path.display());
        }
        let mut walked = Walked::default();
        let undamaged = load(&whole, 0);
        assert!(undamaged.frames > undamaged.ends, "{name}: {} frames", undamaged.frames);
        let mut bytes = whole.clone();
        campaign(name, cases, &watch, |mut random| {
            bytes.copy_from_slice(&whole);
            fields.change(&mut bytes, &mut random);
            let seed = random.next();
            let cost = Cost::of(|| walked.add(load(&bytes, seed)));
            cost.check(bytes.len());
            cost
        });
        println!("    {} walks, {} to a root, {} frames", walked.ends, walked.roots, walked.frames);
    }
}

#[test]
fn the_corpus_is_survived() {
    let watch = Watch::new();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile/corpus");
    for entry in fs::read_dir(directory).expect("the corpus") {
        let path = entry.expect("an entry").path();
        let bytes = fs::read(&path).expect("a file");
        let name = path.display().to_string();
        for seed in 0..20 {
            let _case = Case(&name, seed);
            watch.begin(name.clone());
            Cost::of(|| {
                load(&bytes, seed);
            })
            .check(bytes.len());
        }
    }
}
