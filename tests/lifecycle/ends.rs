//! What ends a recording.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::sampler::Sampler;
use super::{assert_whole, living, recording, recording_begun};
use crate::support::{PATIENCE, first_column, floor, hangsnap, succeed, until};

#[test]
fn a_signal_that_asks_for_the_end() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (victim, _input) = living(&["exit"]);
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let file = directory.path().join(format!("{signal}.hangsnap"));
        let mut sampler = recording_begun(&victim.pid(), &file);
        sampler.samples(3);
        sampler.signal(signal);
        let ended = sampler.end();
        assert!(ended.in_order().starts_with("stopped"), "{:?}", ended.lines);
        assert_whole(&file, ended.snapshots());
    }
}

#[test]
fn a_signal_ends_it_between_samples_that_are_far_apart() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (victim, _input) = living(&["exit"]);
    let file = directory.path().join("far.hangsnap");
    let mut command = hangsnap();
    command.args(["--pid", &victim.pid(), "--every", "1h", "-o"]).arg(&file);
    let mut sampler = Sampler::start(&mut command);
    sampler.line_with("#1 ");
    // It is not waited for until the next sample.
    sampler.signal(Signal::SIGTERM);
    assert_eq!(sampler.end().snapshots(), 1);
    assert_whole(&file, 1);
}

#[test]
fn the_number_of_snapshots() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (victim, _input) = living(&["exit"]);
    for count in [1, 2, 7] {
        let file = directory.path().join(format!("{count}.hangsnap"));
        let mut command = hangsnap();
        // Far enough apart that none is skipped.
        command.args(["--pid", &victim.pid(), "--every", "100ms", "--count", &count.to_string(), "-o"]).arg(&file);
        let ended = Sampler::start(&mut command).end();
        assert!(ended.in_order().starts_with("all samples taken"), "{:?}", ended.lines);
        assert_eq!(ended.snapshots(), count);
        assert_whole(&file, count);
    }
}

/// It was not counted: the numbers went on as if no time had passed.
#[test]
fn a_sampler_that_was_stopped_tells_what_it_has_missed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (victim, _input) = living(&["exit"]);
    let file = directory.path().join("stopped.hangsnap");
    let mut command = hangsnap();
    command.args(["--pid", &victim.pid(), "--every", "20ms", "-o"]).arg(&file);
    let mut sampler = Sampler::start(&mut command);
    sampler.samples(2);
    sampler.signal(Signal::SIGSTOP);
    let status = || fs::read_to_string(format!("/proc/{}/status", sampler.pid())).expect("it is there");
    until("it has stopped", PATIENCE, || status().contains("State:\tT"));
    let stopped = Instant::now();
    std::thread::sleep(Duration::from_millis(600));
    let missed = stopped.elapsed().as_millis() as u64 / 20 - 1;
    sampler.signal(Signal::SIGCONT);
    sampler.line_with("skipped so far, because hangsnap was not done or did not run");
    sampler.more_samples(3);
    sampler.signal(Signal::SIGINT);
    let ended = sampler.end();
    let numbers = first_column(&succeed(hangsnap().arg("list").arg(&file)));
    assert_eq!(ended.snapshots(), numbers.len() as u64, "{:?}", ended.lines);
    let gaps: Vec<u64> = numbers.windows(2).map(|pair| pair[1] - pair[0] - 1).collect();
    assert!(gaps.iter().any(|gap| *gap >= missed), "{missed} missed: {numbers:?}");
    let all = gaps.iter().sum::<u64>();
    assert!(ended.in_order().contains(&format!("; {all} skipped")), "{all} of {numbers:?}: {:?}", ended.lines);
}

#[test]
fn the_time() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (victim, _input) = living(&["exit"]);
    let file = directory.path().join("time.hangsnap");
    let shortest = floor(|| {
        let file = directory.path().join("one.hangsnap");
        Sampler::start(recording(&victim.pid(), &file).args(["--count", "1"])).end().in_order();
        fs::remove_dir_all(&file).expect("it was recorded");
    });
    let begun = Instant::now();
    let ended = Sampler::start(recording(&victim.pid(), &file).args(["--for", "700ms"])).end();
    let took = begun.elapsed();
    let longest = Duration::from_secs(10).max(shortest * 20);
    assert!(ended.in_order().starts_with("the time is over"), "{:?}", ended.lines);
    assert!((Duration::from_millis(700)..longest).contains(&took), "it took {took:?}, and {shortest:?} for one sample");
    assert!(ended.snapshots() > 1, "{:?}", ended.lines);
    assert_whole(&file, ended.snapshots());
}

#[test]
fn two_targets_have_a_file_each_and_the_end_of_one_is_not_the_end_of_the_other() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let recordings = directory.path().join("made/for/this");
    let (mut first, _first_input) = living(&["exit"]);
    let (second, _second_input) = living(&["exit"]);
    let mut command = recording(&first.pid(), &recordings);
    let mut sampler = Sampler::start(command.args(["--pid", &second.pid()]));
    sampler.samples(2);
    first.child.kill().expect("it is our child");
    first.child.wait().expect("it is our child");
    let line = sampler.line_with(": ended");
    assert!(line.contains(&first.pid()), "it says which: {line}");
    sampler.line_with("#");
    sampler.signal(Signal::SIGINT);
    let ended = sampler.end();
    ended.in_order();
    let mut files: Vec<_> =
        fs::read_dir(&recordings).expect("it was made").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert_eq!(files.len(), 2, "{files:?}");
    for victim in [&first, &second] {
        let own = files.iter().filter(|file| file.to_string_lossy().contains(&format!("-{}-", victim.pid())));
        let own: Vec<_> = own.collect();
        assert_eq!(own.len(), 1, "one file is named after {}: {files:?}", victim.pid());
        let shown = succeed(hangsnap().arg("show").arg(own[0]));
        assert!(shown.contains(&format!("(pid {})", victim.pid())), "{shown}");
        assert!(ended.said(&own[0].display().to_string()), "the summary names it: {:?}", ended.lines);
    }
    let listed = succeed(hangsnap().arg("list").arg(&recordings));
    assert_eq!(listed.matches("recorded on").count(), 2, "{listed}");
}
