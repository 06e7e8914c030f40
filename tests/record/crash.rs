//! A writer that is killed leaves everything it had stored.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use hangsnap::store::{Policy, Sync, Writer};
use nix::sys::signal::Signal;

use super::made::{Random, recording, seed};
use super::{SMALL, files, numbers, read, store};
use crate::lifecycle::sampler::Sampler;
use crate::support::{long_form, recorder, sleeper};

/// Says what the writer below is to do.
pub const WRITE_TO: &str = "HANGSNAP_TEST_WRITE_TO";
/// And when it is to end if it is not killed.
pub const UNTIL: &str = "HANGSNAP_TEST_UNTIL";
/// The name of what follows.
pub const WRITES: &str = "record::crash::writes_until_it_is_killed";

/// Stores one snapshot after another as fast as it can and says after each that it has.
#[test]
#[ignore = "is started by the tests that kill it"]
fn writes_until_it_is_killed() {
    use std::io::Write;
    let Some(path) = std::env::var_os(WRITE_TO).map(PathBuf::from) else {
        panic!("it is to be told where to write by {WRITE_TO}");
    };
    let policy = Policy { max_size: 1 << 18, sync: Sync::Segment, ..SMALL };
    let until = std::env::var(UNTIL).ok().and_then(|number| number.parse().ok()).unwrap_or(u64::MAX);
    let mut writer = Writer::create(&path, &recording(), policy).expect("a new directory");
    let mut out = std::io::stdout();
    for number in 1..until {
        store(&mut writer, number);
        writer.unsynced().iter().for_each(|unsynced| println!("{unsynced}"));
        writeln!(out, "stored {number}").and_then(|()| out.flush()).expect("somebody listens");
    }
    writer.finish().expect("it can be ended");
}

fn writer(path: &Path) -> Sampler {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--ignored", "--exact", WRITES, "--nocapture"]).env(WRITE_TO, path);
    Sampler::start(&mut command)
}

/// What is left can be read from the first segment to the last record; the number of the last one.
fn assert_all_but_a_torn_record(path: &Path, what: &str) -> u64 {
    let (snapshots, damage) = read(path);
    let found = numbers(&snapshots);
    assert!(found.windows(2).all(|pair| pair[1] == pair[0] + 1), "{what}: none is missing between others: {found:?}");
    let last = files(path, "segment").pop().expect("a segment");
    match damage.as_slice() {
        [] => {}
        [torn] => {
            assert_eq!((&torn.path, torn.what.as_str()), (&last, "the file is cut short"), "{what}");
            assert_eq!((torn.dependent, Some(torn.after)), (0, found.last().copied()), "{what}: {torn}");
        }
        more => panic!("{what}: more than a torn record at the end: {more:?}"),
    }
    *found.last().expect("a snapshot")
}

#[test]
fn a_writer_killed_at_any_moment_leaves_all_it_had_stored() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let kills = if long_form() { 1000 } else { 50 };
    let mut random = Random(seed());
    let (mut torn, mut segments) = (0, 0);
    for round in 0..kills {
        let path = directory.path().join(format!("{round}.hangsnap"));
        let mut writer = writer(&path);
        writer.line_with("stored 1");
        // The moment is random: after this many snapshots, so that it lies in a later segment on a
        // busy machine, too.
        (0..random.below(400)).for_each(|_| drop(writer.line_with("stored ")));
        std::thread::sleep(Duration::from_micros(random.below(1_000)));
        writer.signal(Signal::SIGKILL);
        let ended = writer.end();
        let said = ended.lines.iter().rev().find_map(|line| line.split("stored ").nth(1)?.parse::<u64>().ok());
        let last = assert_all_but_a_torn_record(&path, &format!("kill {round}"));
        assert!(Some(last) >= said, "kill {round}: {last} is the last one there, and {said:?} had been stored");
        torn += usize::from(!read(&path).1.is_empty());
        segments += files(&path, "segment").len();
        std::fs::remove_dir_all(&path).expect("it was just read");
    }
    eprintln!("{kills} kills, {torn} torn records, {segments} segments");
    assert!(segments > kills, "no kill came behind the first segment; this has tested too little");
}

#[test]
fn a_sampler_killed_at_any_moment_leaves_all_it_had_told_of() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let victim = sleeper();
    let kills = if long_form() { 200 } else { 20 };
    let mut random = Random(seed());
    for round in 0..kills {
        let path = directory.path().join(format!("{round}.hangsnap"));
        let mut sampler = Sampler::start(recorder(&victim.pid(), "1ms").arg("-o").arg(&path));
        sampler.line_with("#1 ");
        std::thread::sleep(Duration::from_micros(random.below(20_000)));
        sampler.signal(Signal::SIGKILL);
        let ended = sampler.end();
        let told =
            ended.lines.iter().rev().find_map(|line| line.strip_prefix('#')?.split(' ').next()?.parse::<u64>().ok());
        let (snapshots, damage) = read(&path);
        assert!(snapshots.last().map(|last| last.number) >= told, "kill {round}: {told:?} was told of");
        let cut = damage.iter().all(|torn| torn.what == "the file is cut short");
        assert!(damage.len() <= 1 && cut, "kill {round}: {damage:?}");
    }
}

/// Killed as it enters each of the calls by which it changes the disk, at its first, second, fourth
/// time and so on.
#[test]
fn a_writer_killed_at_each_system_call_leaves_what_it_had_stored() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = std::env::current_exe().expect("this program");
    let mut seen = Vec::new();
    for call in ["mkdir", "openat", "fcntl", "write", "rename", "fdatasync", "fsync", "unlink"] {
        for time in [1, 2, 4, 8, 16, 32] {
            let path = directory.path().join(format!("{call}-{time}.hangsnap"));
            let mut command = Command::new("strace");
            command.args(["-f", "-qq", "-o", "/dev/null", "-P"]).arg(&path);
            for name in ["1.new", "1.segment", "1.index", "2.new", "2.segment", "2.index"] {
                command.arg("-P").arg(path.join(format!("0000000{name}")));
            }
            command.args(["-e", &format!("inject={call}:signal=KILL:when={time}")]).arg(&program);
            command.args(["--ignored", "--exact", WRITES, "--nocapture"]).env(WRITE_TO, &path).env(UNTIL, "900");
            let ended = Sampler::start(&mut command).end();
            if ended.status.success() {
                // So often it is not called.
                continue;
            }
            assert_eq!(ended.status.signal(), Some(Signal::SIGKILL as i32), "{call} {time}: {}", ended.complaints);
            let said = ended.lines.iter().rev().find_map(|line| line.split("stored ").nth(1)?.parse::<u64>().ok());
            let what = format!("{call} {time}, after {said:?}");
            if path.exists() && !files(&path, "segment").is_empty() {
                let last = assert_all_but_a_torn_record(&path, &what);
                assert!(Some(last) >= said, "{what}: {last} is the last one there");
            } else {
                assert_eq!(said, None, "{what}: nothing is there");
            }
            seen.push(format!("{call} {time}"));
        }
    }
    eprintln!("killed at {}", seen.join(", "));
    assert!(seen.len() >= 15, "too few calls were met: {seen:?}");
}
