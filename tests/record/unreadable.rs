//! Places on a disk that cannot be read any more: what lies before and after them can.
//!
//! The kernel makes the calls fail here (strace injects the error), one after another rather than
//! by place.

use std::fs;
use std::path::Path;
use std::process::Output;

use super::{SMALL, files, numbers, read, write, write_segments};
use crate::support::{first_column, hangsnap, limited, run};

/// Runs hangsnap while some of its reads of that file fail.
fn with_failing_reads(which: &str, file: &Path, arguments: &[&str], recording: &Path) -> Output {
    let mut command = limited("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-P"]).arg(file);
    command.args(["-e", &format!("inject=pread64:error=EIO:when={which}")]).arg(hangsnap().get_program());
    run(command.args(arguments).arg(recording))
}

fn listed(output: &Output) -> Vec<u64> {
    first_column(&String::from_utf8_lossy(&output.stdout))
}

#[test]
fn a_sector_that_cannot_be_read_takes_what_needs_it_and_no_more() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (path, last) = write_segments(directory.path());
    let segment = files(&path, "segment").remove(1);
    let of_it = numbers(&read(&segment).0);
    fs::remove_file(segment.with_extension("index")).expect("it is there");
    // The first read is the magic's, with what stands after it; the third is of the middle.
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
        for (command, code) in [("list", 2), ("check", 1), ("diff", 2)] {
            let output = with_failing_reads(which, &segment, &[command], &path);
            let told = String::from_utf8_lossy(if command == "check" { &output.stdout } else { &output.stderr });
            assert_eq!(output.status.code(), Some(code), "{which}, {command}: {told}");
            assert!(told.contains("00000002.segment: "), "{which}, {command}: {told}");
            let found = listed(&output);
            let mut others = (1..=last).filter(|number| !of_it.contains(number));
            assert!(command != "list" || others.all(|number| found.contains(&number)), "{which}: {found:?}");
        }
    }
}

/// Where a record breaks off it is looked at once more, and there a sector that cannot be read was
/// the end of everything.
#[test]
fn no_read_that_fails_costs_what_was_read_before() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = write(directory.path(), 1..=100, SMALL);
    let segment = files(&path, "segment").remove(0);
    let whole = fs::read(&segment).expect("it is there");
    let torn = directory.path().join("torn.hangsnap");
    fs::write(&torn, &whole[..whole.len() - 10]).expect("a file of ours");
    let mut failed = 0;
    for which in 1..30 {
        let output = with_failing_reads(&which.to_string(), &torn, &["list"], &torn);
        let (found, told) = (listed(&output), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(2), "read {which}: {output:?}");
        assert!(!found.is_empty() && told.contains(" bytes are lost"), "read {which}: {found:?}, {told}");
        failed += usize::from(told.contains("a part of the disk that cannot be read"));
    }
    assert!(failed > 1, "it reads only {failed} times");
}
