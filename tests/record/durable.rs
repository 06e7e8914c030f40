//! What the disk has been made to have, and when.
//!
//! No power is cut here. What is tested is the order of system calls that the promise rests on:
//! what was reported as stored had been handed to the disk before, and names of files after what is
//! in them.

use std::fs;
use std::process::Command;

use crate::support::{hangsnap, sleeper, succeed};

/// Records some samples and returns the calls that concern files, one a line.
fn calls(sync: &str, options: &[&str]) -> Vec<String> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let victim = sleeper();
    let log = directory.path().join("calls");
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-e", "trace=write,fdatasync,fsync,rename,renameat,renameat2,mkdir", "-o"]).arg(&log);
    command
        .arg(hangsnap().get_program())
        .args(["--pid", &victim.pid(), "--every", "20ms", "--sync", sync])
        .args(options);
    succeed(command.arg("-o").arg(directory.path().join("synced.hangsnap")));
    let text = fs::read_to_string(log).expect("strace's log");
    let about = |line: &&str| ["synced.hangsnap", "\"#", " fsync("].iter().any(|part| line.contains(part));
    let renamed = |line: &&str| !line.contains("resumed>");
    text.lines().filter(about).filter(renamed).map(str::to_owned).collect()
}

/// A letter for each call: d a directory is made, w a record is written, s the segment is synced, r
/// it gets its name, n names are synced, i an index is written, # a sample is reported.
fn letters(calls: &[String]) -> String {
    calls
        .iter()
        .map(|line| match line {
            line if line.contains(" mkdir(") => 'd',
            line if line.contains(" rename") => 'r',
            line if line.contains("fdatasync(") => 's',
            line if line.contains("fsync(") => 'n',
            line if line.contains("\"#") => '#',
            line if line.contains(".index>") => 'i',
            line if line.contains("write(") => 'w',
            line => panic!("another call: {line}"),
        })
        .collect()
}

#[test]
fn each_sample_is_on_the_disk_before_it_is_told_of() {
    assert_eq!(letters(&calls("sample", &["--count", "4"])), "dwsrnn#ws#ws#ws#si");
}

#[test]
fn a_segment_is_on_the_disk_when_it_ends() {
    assert_eq!(letters(&calls("segment", &["--count", "4"])), "dwrnn#w#w#w#si");
}

#[test]
fn nothing_is_waited_for_where_that_is_asked_for() {
    assert_eq!(letters(&calls("never", &["--count", "4"])), "dwr#w#w#w#i");
}
