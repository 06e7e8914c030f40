//! A disk that becomes full while it is made to have what was written.
//!
//! The kernel makes the calls fail here (strace injects the error): where room is found out only
//! then depends on the file system.

use std::path::Path;
use std::process::Command;

use super::crash::{UNTIL, WRITE_TO, WRITES};
use super::{files, numbers, read};
use crate::lifecycle::sampler::Sampler;
use crate::support::{Victim, compile, hangsnap, recorder, run, sleeper, succeed};

/// strace, which makes one of these calls fail.
fn failing(which: &str) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "--seccomp-bpf", "-qq", "-o", "/dev/null"]);
    command.args(["-e", "trace=fsync,fdatasync", "-e", &format!("inject={which}")]);
    command
}

/// A segment that the disk has no room for was said to be stored, and nothing else.
#[test]
fn a_segment_that_the_disk_may_not_have_is_told_of_once() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("full.hangsnap");
    // Its threads come and go, so that a segment is soon full.
    let victim = Victim::start(&mut Command::new(compile("gcc", "restless.c", &["-O1", "-pthread"])));
    let recorder = recorder(&victim.pid(), "1ms");
    let mut command = failing("fdatasync:error=ENOSPC:when=1");
    command.arg(recorder.get_program()).args(recorder.get_args());
    command.args(["--count", "400", "--keep", "stacks", "--max-size", "1MiB", "-o"]).arg(&path);
    let mut sampler = Sampler::start(&mut command);
    let told = sampler.line_with("the disk may not have all of ");
    assert!(told.contains("00000001.segment (") && told.contains("No space left on device"), "{told}");
    // It goes on in the next one, which the disk has.
    sampler.samples(20);
    let ended = sampler.end();
    assert!(ended.in_order().contains(" perhaps not on the disk"), "{:?}", ended.lines);
    assert_eq!(ended.lines.iter().filter(|line| line.contains("the disk may not have all")).count(), 1);
    succeed(hangsnap().arg("check").arg(&path));
}

#[test]
fn a_last_segment_that_the_disk_may_not_have_is_an_error() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("full.hangsnap");
    let victim = sleeper();
    let recorder = recorder(&victim.pid(), "2ms");
    let mut command = failing("fdatasync:error=ENOSPC");
    command.arg(recorder.get_program()).args(recorder.get_args());
    let output = run(command.args(["--count", "3", "-o"]).arg(&path));
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        told.contains("the disk may not have all of ")
            && told.contains(" (3 snapshots): ")
            && !told.contains("is whole"),
        "{told}"
    );
}

/// The next segment got the same number, and took its place.
#[test]
fn a_segment_whose_name_the_disk_may_not_have_is_not_replaced() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("named.hangsnap");
    // The first time is the first segment's.
    let mut command = failing("fsync:error=ENOSPC:when=2");
    command.arg("-P").arg(&path).arg(std::env::current_exe().expect("this program"));
    command.args(["--ignored", "--exact", WRITES, "--nocapture"]).env(WRITE_TO, &path).env(UNTIL, "200");
    let output = run(&mut command);
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(told.matches("00000002.segment (1 snapshot): No space left").count(), 1, "{told}");
    assert_contiguous(&path);
}

fn assert_contiguous(path: &Path) {
    let (snapshots, damage) = read(path);
    assert_eq!(damage, []);
    let found = numbers(&snapshots);
    assert!(files(path, "segment").len() > 1 && found.last() == Some(&199), "{found:?}");
    assert!(found.windows(2).all(|pair| pair[1] == pair[0] + 1), "none is missing or there twice: {found:?}");
}
