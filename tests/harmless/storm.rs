//! An hour's worth of snapshots in fast motion, in a storm of births, signals, timers, children and
//! executions: nothing is lost or comes twice, the target goes on, and the sampler ends with the
//! descriptors and the memory it began with.
//!
//! An hour has 720 snapshots at 5 s; the long form takes ten hours' worth. That it was a storm is
//! asserted, too, by how much happened for each snapshot.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use nix::sys::signal::Signal;

use super::holdings::{Family, MEMORY_SLACK_KIB};
use super::{Counters, states_and_tracers};
use crate::lifecycle::sampler::{PATIENCE, Sampler, start_told};
use crate::support::{compile, hangsnap, long_form, until};

/// When it is warm: every kind of thread has been seen in every kind of place.
const WARM: u64 = 240;
/// It has no more threads at a time: those that receive, that give birth and fork, that are born,
/// or that sleep until it executes.
const MOST_THREADS: usize = 24;
/// How many samples are taken to be an hour, and in the long form ten hours.
const HOUR: u64 = 720;

/// What the storm counted of one kind, on both sides.
#[derive(Debug)]
struct Tally {
    kind: String,
    given: u64,
    taken: u64,
    wrong: u64,
}

impl Tally {
    fn parse(line: &str) -> Self {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [kind, "given", given, "taken", taken, "wrong", wrong] = words[..] else {
            panic!("the storm said: {line}");
        };
        let number = |word: &str| word.parse().expect("a count");
        Self { kind: kind.to_owned(), given: number(given), taken: number(taken), wrong: number(wrong) }
    }
}

/// Samples an hour's worth and returns how many snapshots that made.
fn sample(pid: &str, stop: &str, file: &Path, goes_on: impl Fn()) -> u64 {
    let samples = if long_form() { 10 * HOUR } else { HOUR };
    let begun = Instant::now();
    let mut sampler = Sampler::start(hangsnap().args(["--pid", pid, "--every", "5ms", "--stop", stop, "-o"]).arg(file));
    let family = Family(sampler.pid().as_raw());
    sampler.samples(WARM);
    let warm = family.keep();
    sampler.samples(samples - WARM);
    goes_on();
    // A leaked descriptor never comes back; one that is open for a moment does.
    until("it has no more descriptors than when it was warm", PATIENCE, || {
        family.holdings().is_some_and(|now| {
            now.processes == warm.processes && now.is_complete(warm.memory_kib) && now.descriptors <= warm.descriptors
        })
    });
    let end = family.keep();
    sampler.signal(Signal::SIGINT);
    let ended = sampler.end();
    let summary = ended.in_order();
    eprintln!("--stop {stop}: {:?}; warm {warm:?}, at the end {end:?}; {summary}", begun.elapsed());
    assert!(end.watches <= 2 * MOST_THREADS, "--stop {stop}: more threads are watched than there are");
    let (before, after) = (warm.memory_kib, end.memory_kib);
    assert!(after <= before + MEMORY_SLACK_KIB, "--stop {stop}: {before} KiB when warm, {after} KiB at the end");
    ended.snapshots()
}

/// What the storm says when it is over, after an hour's worth of samples in each mode; and how
/// many snapshots there were.
fn in_a_storm(how: &[&str], goes_on: impl Fn(&[u64], &[u64]) -> bool) -> (Vec<Tally>, u64) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let shared = directory.path().join("tallies");
    let program = compile("gcc", "storm.c", &["-O1", "-g", "-pthread"]);
    let mut all = 0;
    let (mut victim, input) = start_told(Command::new(program).arg(&shared).args(how));
    let counters = Counters::open(&shared);
    for stop in ["auto", "all", "none"] {
        let file = directory.path().join(format!("{stop}.hangsnap"));
        let snapshots = sample(&victim.pid(), stop, &file, || {
            let before = counters.all();
            until("the storm goes on while it is sampled", PATIENCE, || goes_on(&before, &counters.all()));
        });
        all += snapshots;
        assert!(snapshots >= HOUR, "--stop {stop}: {snapshots} snapshots are not an hour's worth");
        until("nobody is left held", PATIENCE, || {
            states_and_tracers(&victim).iter().all(|&(state, tracer)| !matches!(state, 't' | 'T') && tracer == 0)
        });
        let before = counters.all();
        until("the storm goes on afterwards", PATIENCE, || goes_on(&before, &counters.all()));
    }
    drop(input);
    let mut tallies = Vec::new();
    loop {
        let line = victim.line();
        assert!(!line.is_empty(), "the storm ended before it had told everything");
        if line.trim() == "done" {
            return (tallies, all);
        }
        tallies.push(Tally::parse(&line));
    }
}

fn assert_nothing_lost(tallies: &[Tally]) {
    for tally in tallies {
        eprintln!("{tally:?}");
    }
    for tally in tallies {
        assert_eq!(tally.taken, tally.given, "{}: nothing is lost and nothing comes twice", tally.kind);
        assert_eq!(tally.wrong, 0, "{}: in order, with its value, from where it was sent", tally.kind);
    }
}

#[test]
fn a_storm_of_threads_signals_timers_and_children_loses_nothing_and_costs_nothing() {
    // Of eleven kinds each is taken; the twelfth is for the other test.
    let (tallies, snapshots) = in_a_storm(&[], |before, now| {
        before.chunks(3).zip(now.chunks(3)).take(11).all(|(before, now)| now[1] > before[1] + 20)
    });
    assert_nothing_lost(&tallies);
    assert_eq!(tallies.len(), 11, "all kinds tell");
    let taken = |kinds: fn(&str) -> bool| -> u64 {
        tallies.iter().filter(|tally| kinds(&tally.kind)).map(|tally| tally.taken).sum()
    };
    let (births, signals) = (taken(|kind| kind == "births"), taken(|kind| kind.starts_with("to-")));
    eprintln!("{births} births and {signals} queued signals during {snapshots} snapshots");
    assert!(births >= snapshots && signals >= 50 * snapshots, "{births} births, {signals} signals: this is no storm");
}

#[test]
fn a_target_that_executes_itself_again_and_again_loses_no_signal_and_goes_on() {
    let executions = 11 * 3;
    let (tallies, _) = in_a_storm(&["exec"], |before, now| now[executions + 1] > before[executions + 1] + 20);
    assert_nothing_lost(&tallies);
    assert!(tallies.len() == 1 && tallies[0].taken > 300, "it executed itself often enough");
}
