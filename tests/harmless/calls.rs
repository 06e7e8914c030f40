//! System calls that the kernel takes up again after a stop, signals and timers: under thousands of
//! samples each comes to what it comes to without hangsnap. (The calls that a stop of any kind cuts
//! short are not in the victim: MEASURED.md.)

use std::process::Command;
use std::time::{Duration, Instant};

use crate::lifecycle::sampler::{Sampler, start_told};
use crate::support::{compile, long_form, recorder};

/// What one of the victim's threads counted.
#[derive(Debug)]
struct Tally {
    name: String,
    given: u64,
    taken: u64,
    eintr: u64,
    errors: u64,
    wrong: u64,
}

impl Tally {
    fn parse(line: &str) -> Self {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |label: &str| {
            let at = words.iter().position(|word| *word == label).expect("every label is there");
            words[at + 1].parse().expect("a count follows")
        };
        Self {
            name: words[0].to_owned(),
            given: number("given"),
            taken: number("taken"),
            eintr: number("eintr"),
            errors: number("errors"),
            wrong: number("wrong"),
        }
    }
}

/// Runs the victim while something is done to it, and returns what it counted.
fn counts(meanwhile: impl FnOnce(&str)) -> Vec<Tally> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = compile("gcc", "calls.c", &["-O1", "-g", "-pthread"]);
    let (mut victim, input) = start_told(Command::new(program).arg(directory.path()));
    meanwhile(&victim.pid());
    drop(input);
    let mut tallies = Vec::new();
    loop {
        let line = victim.line();
        assert!(!line.is_empty(), "the victim ended before it had told everything");
        if line.trim() == "done" {
            return tallies;
        }
        tallies.push(Tally::parse(&line));
    }
}

fn assert_undisturbed(how: &str, tallies: &[Tally]) {
    for tally in tallies {
        eprintln!("{how}: {tally:?}");
    }
    assert!(tallies.len() > 30, "all of the victim's threads tell");
    for tally in tallies {
        let name = &tally.name;
        assert_eq!(tally.taken, tally.given, "{how}, {name}: nothing is lost and nothing comes twice");
        assert_eq!((tally.eintr, tally.errors, tally.wrong), (0, 0, 0), "{how}, {name}: EINTR, errors, wrong");
        assert!(tally.taken > 100 || name == "main", "{how}, {name}: there was enough to disturb");
    }
}

/// Samples until this many snapshots are stored: samples that were skipped have disturbed no
/// thread.
fn sample(pid: &str, stop: &str, wanted: u64) -> Duration {
    let begun = Instant::now();
    let mut taken = 0;
    while taken < wanted {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("calls.hangsnap");
        // Recordings are thrown away piece by piece; all together would fill a small disk.
        let count = (wanted - taken).min(1000).to_string();
        let sampler = Sampler::start(
            recorder(pid, "1ms").args(["--keep", "stacks", "--stop", stop, "--count", &count, "-o"]).arg(&file),
        );
        taken += sampler.end().snapshots();
    }
    eprintln!("--stop {stop}: {taken} snapshots in {:?}", begun.elapsed());
    begun.elapsed()
}

#[test]
fn thousands_of_samples_lose_no_signal_no_tick_and_cause_no_eintr() {
    let samples = if long_form() { 10_000 } else { 1_500 };
    let mut took = Duration::ZERO;
    let sampled = counts(|pid| took = sample(pid, "auto", samples / 2) + sample(pid, "all", samples / 2));
    // The same for the same time without hangsnap: what is wrong here would not be its doing.
    let control = counts(|_| std::thread::sleep(took));
    assert_undisturbed("without hangsnap", &control);
    assert_undisturbed("sampled", &sampled);
}
