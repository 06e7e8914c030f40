//! A sampler that is started again and again: what earlier runs left is kept within the bounds of
//! the one that runs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use hangsnap::model::Process;
use hangsnap::store::{Writer, file_name};
use nix::sys::signal::Signal;

use super::made::{recording, snapshot};
use super::{SMALL, files, store};
use crate::lifecycle::sampler::Sampler;
use crate::support::{Victim, hangsnap, recorder, run, sleeper, succeed};

/// What hangsnap calls a recording of this program that was begun on that day.
fn called(program: &str, day: u32) -> String {
    let begun = format!("2026-01-{day:02}T00:00:00Z").parse().expect("a time");
    file_name(&Process { executable: format!("/some/where/{program}"), ..snapshot(1).process }, begun)
}

/// What the victim's main thread calls itself, which has more than one dash: what its recordings
/// were called by version 0.1.
fn program(victim: &Victim) -> String {
    let name = fs::read_to_string(format!("/proc/{}/comm", victim.pid())).expect("it is running");
    assert!(name.contains('-'), "{name}");
    name.trim().to_owned()
}

/// An earlier recording of this many segments of 128 KiB, still open.
fn earlier(path: &Path, segments: usize) -> Writer {
    let policy = hangsnap::store::Policy { max_size: 1 << 20, ..SMALL };
    let mut writer = Writer::create(path, &recording(), policy).expect("a new directory");
    let mut number = 0;
    while files(path, "index").len() < segments {
        number += 1;
        store(&mut writer, number);
    }
    writer
}

fn ended(path: &Path, segments: usize) {
    earlier(path, segments).finish().expect("it can be ended");
}

/// An earlier recording of the victim, of two segments, which is larger than one may be where
/// the user says nothing.
fn larger_than_usual(directory: &Path, victim: &Victim) -> PathBuf {
    let path = directory.join(called(&program(victim), 1));
    ended(&path, 2);
    let large = File::options().write(true).open(&files(&path, "segment")[0]).expect("it is there");
    large.set_len(600 << 20).expect("a file of ours");
    path
}

fn segments(path: &Path) -> Vec<String> {
    let name = |path: &PathBuf| path.file_name().expect("a name").to_string_lossy().into_owned();
    if path.exists() { files(path, "segment").iter().map(name).collect() } else { Vec::new() }
}

/// Records two samples, and ends when asked to.
fn sample(victim: &Victim, options: &[&str], output: &Path) {
    let mut sampler = Sampler::start(recorder(&victim.pid(), "10ms").args(options).arg("-o").arg(output));
    sampler.samples(2);
    sampler.signal(Signal::SIGTERM);
    sampler.end().in_order();
}

#[test]
fn recordings_of_a_service_that_is_restarted_keep_to_one_bound() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let victim = sleeper();
    let program = program(&victim);
    let at = |name: &str| directory.path().join(name);
    let (oldest, newer) = (at(&called(&program, 1)), at(&called(&program, 2)));
    ended(&oldest, 6);
    ended(&newer, 5);
    succeed(hangsnap().arg("pin").arg(&oldest).args(["--to", "1"]));
    let counted: Vec<PathBuf> = files(&oldest, "segment").into_iter().skip(1).chain(files(&newer, "segment")).collect();
    // What does not count: another program's, what the user gave a name, and what somebody else is
    // writing.
    let others = [at(&called("other", 1)), at("incident.hangsnap"), at(&format!("{program}-incident.hangsnap"))];
    others.iter().for_each(|other| ended(other, 2));
    let alive = earlier(&at(&called(&program, 3)), 2);
    std::os::unix::fs::symlink(&others[1], at(&called(&program, 4))).expect("a link");

    sample(&victim, &["--max-size", "1MiB"], directory.path());

    let there: Vec<PathBuf> = counted.iter().filter(|segment| segment.exists()).cloned().collect();
    assert!(there.len() < counted.len() && counted.ends_with(&there), "the oldest are gone: {there:?}");
    let bytes: u64 = there.iter().map(|segment| fs::metadata(segment).expect("it is there").len()).sum();
    assert!((600 << 10..1 << 20).contains(&bytes), "as much as is allowed is left: {bytes} bytes");
    assert!(oldest.join("00000001.segment").exists(), "what is pinned stays");
    for other in &others {
        assert_eq!(segments(other), ["00000001.segment", "00000002.segment"], "{other:?}");
    }
    assert_eq!(segments(alive.path()), ["00000001.segment", "00000002.segment"]);
    alive.finish().expect("it can be ended");

    // With nothing pinned the next run removes the directory with the last segment.
    succeed(hangsnap().arg("pin").arg(&oldest).arg("--undo"));
    std::os::unix::fs::symlink("nowhere", oldest.join("of-mine")).expect("a link");
    ended(&at(&called(&program, 5)), 6);
    sample(&sleeper(), &["--max-size", "1MiB"], directory.path());
    assert!(!newer.exists(), "{:?}", segments(&newer));
    assert!(segments(&oldest).is_empty() && oldest.exists(), "what is not hangsnap's stays");
}

#[test]
fn what_earlier_runs_left_is_removed_when_it_is_too_old() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let victim = sleeper();
    let program = program(&victim);
    let (old, young) = (directory.path().join(called(&program, 1)), directory.path().join(called(&program, 2)));
    ended(&old, 2);
    ended(&young, 2);
    let age = |segment: &Path| {
        let segment = File::options().write(true).open(segment).expect("it is there");
        segment.set_modified(SystemTime::now() - Duration::from_secs(7200)).expect("a file of ours");
    };
    files(&old, "segment").iter().for_each(|segment| age(segment));
    age(&files(&young, "segment")[0]);
    // Without a bound that was asked for nothing goes.
    sample(&victim, &[], directory.path());
    assert_eq!((segments(&old).len(), segments(&young).len()), (2, 2));
    // Another process of that program: two recordings of one would have to be begun in different
    // seconds.
    sample(&sleeper(), &["--keep-for", "1h"], directory.path());
    assert!(!old.exists());
    assert_eq!(segments(&young), ["00000002.segment"]);
    assert!(succeed(hangsnap().arg("check").arg(&young)).contains(": whole; "));
}

/// A user who types no `-o` has not asked for anything to be removed in the current directory.
#[test]
fn a_recording_made_by_the_way_removes_nothing_of_those_beside_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let victim = sleeper();
    let old = directory.path().join(called(&program(&victim), 1));
    ended(&old, 6);
    let before = segments(&old);
    let mut command = hangsnap();
    command.args([
        "--pid",
        &victim.pid(),
        "--every",
        "10ms",
        "--count",
        "2",
        "--max-size",
        "1MiB",
        "--keep-for",
        "1ms",
    ]);
    succeed(command.current_dir(directory.path()));
    assert_eq!(segments(&old), before);
    assert_eq!(files(directory.path(), "hangsnap").len(), 2);
}

/// A directory full of recordings of an incident lost the oldest to the first that was made without
/// a word about bounds.
#[test]
fn what_earlier_runs_left_stays_unless_a_bound_is_asked_for() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let victim = sleeper();
    let old = larger_than_usual(directory.path(), &victim);
    sample(&victim, &[], directory.path());
    assert_eq!(segments(&old).len(), 2);
    sample(&sleeper(), &["--max-size", "512MiB"], directory.path());
    assert_eq!(segments(&old), ["00000002.segment"]);
}

/// A sampler that was killed just before it removed the last segment, or just after, left the
/// directory for good.
#[test]
fn a_recording_of_which_nothing_is_left_goes_with_the_next_run() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let victim = sleeper();
    let [old, young] = [1, 2].map(|day| directory.path().join(called(&program(&victim), day)));
    [&old, &young].iter().for_each(|path| fs::create_dir(path).expect("a new directory"));
    succeed(Command::new("touch").args(["-d", "1 hour ago"]).arg(&old));
    sample(&victim, &["--max-size", "1MiB"], directory.path());
    // Somebody may be about to begin the other one.
    assert_eq!((old.exists(), young.exists()), (false, true));
}

/// A user who asked for an age only lost what was beyond a size that was not asked for.
#[test]
fn an_age_that_is_asked_for_bounds_no_size_of_what_earlier_runs_left() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let victim = sleeper();
    let old = larger_than_usual(directory.path(), &victim);
    sample(&victim, &["--keep-for", "24h"], directory.path());
    assert_eq!(segments(&old).len(), 2);
}

#[test]
fn what_killed_processes_left_is_removed_and_what_is_pinned_gets_its_name_back() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let victim = sleeper();
    let mut paths = Vec::new();
    for day in [1, 2] {
        let path = directory.path().join(called(&program(&victim), day));
        ended(&path, 3);
        let first = path.join("00000001.segment");
        // Killed as it is about to put the scrubbed segment in the place of the other.
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", "inject=rename:signal=KILL"]);
        let killed = run(command.arg(hangsnap().get_program()).arg("scrub").arg(&path));
        assert!(!killed.status.success() && path.join("00000001.segment.unfinished").exists(), "{killed:?}");
        // Killed between the two steps of removing a segment, once before and once after somebody
        // pinned it.
        fs::rename(&first, path.join("00000001.old")).expect("it is there");
        fs::rename(path.join("00000002.segment"), path.join("00000002.old")).expect("it is there");
        fs::write(path.join("00000002.pin"), "").expect("a file of ours");
        // Killed before a segment had a name.
        fs::write(path.join("00000004.new"), "HANGSEG1").expect("a file of ours");
        paths.push(path);
    }
    // One is cleared by the next run with a bound, one by who repairs it.
    let told = succeed(hangsnap().arg("check").arg(&paths[0]).arg("--repair"));
    assert_eq!(told.matches("a process that was killed had left it").count(), 3, "{told}");
    sample(&victim, &["--max-size", "512MiB"], directory.path());
    for path in paths {
        let mut left: Vec<String> = fs::read_dir(&path)
            .expect("it is there")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        left.sort();
        let of_it = ["00000002.index", "00000002.pin", "00000002.segment", "00000003.index", "00000003.segment"];
        assert_eq!(left, of_it, "{path:?}");
    }
}

/// It would take all the room, and whatever is recorded now would go instead.
#[test]
fn what_cannot_be_removed_of_an_earlier_run_costs_the_present_one_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let [old, new] = [1, 2].map(|day| directory.path().join(called("made", day)));
    ended(&old, 6);
    for segment in files(&old, "segment") {
        // The name that it would get on its way out is taken by what is not replaced.
        fs::create_dir_all(segment.with_extension("old").join("full")).expect("a directory of ours");
    }
    let found = hangsnap::store::earlier(directory.path(), &snapshot(1).process);
    assert_eq!(found, std::slice::from_ref(&old));
    let policy = hangsnap::store::Policy { max_size: 1 << 20, ..SMALL };
    let mut writer = Writer::create(&new, &recording(), policy).expect("a new directory");
    writer.succeed(&found);
    let mut number = 0;
    while segments(&new).len() < 4 {
        number += 1;
        assert!(number < 3000, "they are removed as they are written: {:?}", segments(&new));
        store(&mut writer, number);
    }
    writer.finish().expect("it can be ended");
    assert_eq!(segments(&old).len(), 6);
    assert!(new.join("00000001.segment").exists());
}
