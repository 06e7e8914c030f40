//! Places on a disk that cannot be read any more: what lies before and behind them can.
//!
//! The kernel makes the calls fail here (strace injects the error), one after another rather than by place.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use super::{files, numbers, read, write_segments};
use crate::support::{hangsnap, run};

/// Runs hangsnap while some of its reads of that file fail.
fn with_failing_reads(which: &str, file: &Path, arguments: &[&str], recording: &Path) -> Output {
    let mut command = Command::new("timeout");
    command.args(["60", "strace", "-f", "-qq", "-o", "/dev/null", "-P"]).arg(file);
    command.args(["-e", &format!("inject=pread64:error=EIO:when={which}")]).arg(hangsnap().get_program());
    run(command.args(arguments).arg(recording))
}

fn listed(output: &Output) -> Vec<u64> {
    let number = |line: &str| line.split_whitespace().next().and_then(|number| number.parse().ok());
    String::from_utf8_lossy(&output.stdout).lines().filter_map(number).collect()
}

#[test]
fn a_sector_that_cannot_be_read_takes_what_needs_it_and_no_more() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (path, last) = write_segments(directory.path());
    let segment = files(&path, "segment").remove(1);
    let of_it = numbers(&read(&segment).0);
    fs::remove_file(segment.with_extension("index")).expect("it is there");
    // The first read is the magic's, with what stands behind it; the third is of the middle.
    let output = with_failing_reads("3", &segment, &["list"], &path);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("00000002.segment: a part of the disk that cannot be read at byte "), "{told}");
    let found = listed(&output);
    let lost: Vec<u64> = (1..=last).filter(|number| !found.contains(number)).collect();
    assert!(!lost.is_empty() && lost.iter().all(|number| of_it.contains(number)), "{lost:?}");
    assert!(!lost.contains(&of_it[0]) && !lost.contains(&of_it[of_it.len() - 1]), "{lost:?} of {of_it:?}");
    let checked = with_failing_reads("3", &segment, &["check"], &path);
    assert_eq!(checked.status.code(), Some(1), "{checked:?}");
    assert!(String::from_utf8_lossy(&checked.stdout).contains("a part of the disk that cannot be read"), "{checked:?}");
}

#[test]
fn the_beginning_of_a_segment_can_be_what_cannot_be_read() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (path, last) = write_segments(directory.path());
    let segment = files(&path, "segment").remove(1);
    let of_it = numbers(&read(&segment).0);
    fs::remove_file(segment.with_extension("index")).expect("it is there");
    for which in ["1", "1..4"] {
        let output = with_failing_reads(which, &segment, &["list"], &path);
        assert_eq!(output.status.code(), Some(2), "{which}: {output:?}");
        let found = listed(&output);
        assert!(found.contains(&of_it[of_it.len() - 1]), "{which}: its end is found: {found:?}");
        assert!((1..=last).all(|number| of_it.contains(&number) || found.contains(&number)), "{which}: {found:?}");
    }
}

#[test]
fn a_segment_of_which_nothing_can_be_read_hides_no_other_and_is_given_up() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (path, last) = write_segments(directory.path());
    let segment = files(&path, "segment").remove(1);
    let of_it = numbers(&read(&segment).0);
    fs::remove_file(segment.with_extension("index")).expect("it is there");
    for which in ["1+", "2+", "4+"] {
        for arguments in [&["list"][..], &["check"], &["diff"]] {
            let output = with_failing_reads(which, &segment, arguments, &path);
            let (is_listed, code) = (arguments == ["list"], output.status.code());
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(code == Some(2) || (!is_listed && code == Some(1)), "{which}, {arguments:?}: {code:?}, {told}");
            let found = listed(&output);
            let others = (1..=last).filter(|number| !of_it.contains(number));
            assert!(!is_listed || others.into_iter().all(|number| found.contains(&number)), "{which}: {found:?}");
        }
    }
}
