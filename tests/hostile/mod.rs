//! Hostile bytes where a process has programs and libraries: real ELF files in which a few numbers
//! were changed. Whatever they say, walking stacks through them ends with an answer or an error, in
//! bounded time and memory.
//!
//! A case is known by its number. The short form takes the first few of each file; the long form
//! takes others each time, and says which. `HANGSNAP_CASE=NUMBER` repeats one. With `--profile
//! checked` sums that overflow are found too. What once went wrong lies in `corpus/`, each with a
//! test of its name.

mod assemble;
mod attacks;
mod bounds;
mod fields;
mod loaded;
mod program;
mod random;
mod values;

use std::collections::BTreeMap;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
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

/// What went wrong and where, the first case in which it did, and in how many.
type Failures = BTreeMap<String, (u64, u64)>;

/// Tries a case. A panic is kept, so that one that is met often does not hide another.
fn attempt(number: u64, failures: &mut Failures, try_case: impl FnOnce() -> Cost) -> Cost {
    let said = Arc::new(Mutex::new(String::new()));
    let listener = said.clone();
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |panic| *listener.lock().expect("nobody panics with it") = panic.to_string()));
    let outcome = panic::catch_unwind(AssertUnwindSafe(try_case));
    panic::set_hook(before);
    outcome.unwrap_or_else(|_| {
        let said = said.lock().expect("nobody panics with it").clone();
        failures.entry(said).or_insert((number, 0)).1 += 1;
        Cost::default()
    })
}

/// Tries cases until there were enough, and returns whether all were survived; those of the long
/// form begin anywhere.
fn campaign(name: &str, cases: u64, watch: &Watch, mut try_case: impl FnMut(Random) -> Cost) -> bool {
    let wanted = std::env::var("HANGSNAP_CASE").ok().map(|case| case.parse().expect("the number of a case"));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is later than 1970");
    let first = wanted.unwrap_or(if long_form() { now.as_secs() << 32 } else { 0 });
    let begun = Instant::now();
    let (mut number, mut most, mut slowest) = (first, Cost::default(), first);
    let mut failures = Failures::new();
    loop {
        watch.begin(format!("{name}, case {number},"));
        let cost = attempt(number, &mut failures, || try_case(Random::new(number)));
        if cost.time > most.time {
            slowest = number;
        }
        most = most.most(cost);
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
    for (what, (first, count)) in &failures {
        println!("    {count} FAILED; HANGSNAP_CASE={first} repeats the first: {what}");
    }
    failures.is_empty()
}

#[test]
fn damaged_files_are_survived() {
    let watch = Watch::new();
    let mut survived = true;
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
        survived &= campaign(name, cases, &watch, |mut random| {
            bytes.copy_from_slice(&whole);
            fields.change(&mut bytes, &mut random);
            let seed = random.next();
            let cost = Cost::of(|| walked.add(load(&bytes, seed)));
            cost.check(bytes.len());
            cost
        });
        println!("    {} walks, {} to a root, {} frames", walked.ends, walked.roots, walked.frames);
    }
    assert!(survived, "not by all of them");
}

#[test]
fn the_corpus_is_survived() {
    let watch = Watch::new();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile/corpus");
    let mut survived = true;
    for entry in fs::read_dir(directory).expect("the corpus") {
        let path = entry.expect("an entry").path();
        let bytes = fs::read(&path).expect("a file");
        let name = path.display().to_string();
        let mut failures = Failures::new();
        for seed in 0..20 {
            watch.begin(name.clone());
            attempt(seed, &mut failures, || {
                let cost = Cost::of(|| {
                    load(&bytes, seed);
                });
                cost.check(bytes.len());
                cost
            });
        }
        if !failures.is_empty() {
            println!("{name}: {failures:#?}");
            survived = false;
        }
    }
    assert!(survived, "the corpus");
}
