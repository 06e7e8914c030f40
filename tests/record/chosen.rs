//! What is chosen of a recording, to be pinned, cut out or shown, and what is said where something
//! of it is not there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use super::{files, numbers, read, write_segments};
use crate::support::{hangsnap, run, succeed};

fn told(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The numbers in each segment of a recording.
fn of_segments(path: &Path) -> Vec<Vec<u64>> {
    files(path, "segment").iter().map(|segment| numbers(&read(segment).0)).collect()
}

/// It found no times, and took that for all times.
#[test]
fn a_range_of_numbers_that_is_empty_pins_nothing_and_unpins_nothing() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (path, _) = write_segments(directory.path());
    let empty = ["--from", "4", "--to", "1"];
    let output = run(hangsnap().arg("pin").arg(&path).args(empty));
    assert!(told(&output, 1).contains("holds no snapshot of that time"), "{output:?}");
    assert_eq!(files(&path, "pin"), Vec::<PathBuf>::new());
    succeed(hangsnap().arg("pin").arg(&path));
    let printed = succeed(hangsnap().arg("pin").arg(&path).args(empty).arg("--undo"));
    assert!(printed.starts_with("no longer pinned: 0 segments with 0 snapshots"), "{printed}");
    assert_eq!(files(&path, "pin").len(), 5);
    // One number is a range, too.
    succeed(hangsnap().arg("pin").arg(&path).args(["--from", "1", "--to", "1", "--undo"]));
    assert_eq!(files(&path, "pin").len(), 4);
}

/// It was left out without a word, and retention could take it.
#[test]
fn a_segment_that_cannot_be_read_and_so_not_be_pinned_is_told_of() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (path, _) = write_segments(directory.path());
    fs::write(path.join("00000002.segment"), "no segment").expect("a file of ours");
    for undo in [&[][..], &["--undo"]] {
        let output = run(hangsnap().arg("pin").arg(&path).args(undo));
        assert!(told(&output, 2).contains("00000002.segment: nothing that is a record"), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("pinned: 4 segments"), "{output:?}");
    }
}

/// `list` showed it, and what was made for another did not.
#[test]
fn cut_and_merge_tell_of_a_segment_that_is_gone() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (path, last) = write_segments(directory.path());
    let lost = of_segments(&path).remove(2);
    fs::remove_file(path.join("00000003.segment")).expect("it is there");
    for command in ["cut", "merge"] {
        let made = directory.path().join(format!("{command}.hangsnap"));
        let output = run(hangsnap().arg(command).arg(&path).arg("-o").arg(&made));
        let told = told(&output, 2);
        assert!(told.contains("00000003.segment: the segment is gone, and its index is there"), "{command}: {told}");
        let expected: Vec<u64> = (1..=last).filter(|number| !lost.contains(number)).collect();
        assert_eq!(numbers(&read(&made).0), expected, "{command}: what is there is taken");
    }
}

/// It was said that no snapshot comes before it, and that one should record again.
#[test]
fn what_is_said_of_a_segment_that_cannot_be_read_is_what_lies_around_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (path, _) = write_segments(directory.path());
    let of = of_segments(&path);
    let (before, behind) = (of[0][of[0].len() - 1], of[2][0]);
    fs::write(path.join("00000002.segment"), "no segment").expect("a file of ours");
    let said = told(&run(hangsnap().arg("list").arg(&path)), 2);
    assert!(
        said.contains(&format!("; everything up to snapshot {before} and from {behind} on can be shown")),
        "{said}"
    );
    fs::write(path.join("00000001.segment"), "no segment").expect("a file of ours");
    let said = told(&run(hangsnap().arg("list").arg(&path)), 2);
    assert_eq!(said.matches(&format!("; everything from snapshot {behind} on can be shown")).count(), 2, "{said}");
}

#[test]
fn a_snapshot_that_never_was_is_not_said_to_be_damaged() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (path, last) = write_segments(directory.path());
    let never = (last + 1).to_string();
    let show = || told(&run(hangsnap().arg("show").arg(&path).args(["--at", &never])), 1);
    fs::remove_file(path.join("00000003.segment")).expect("it is there");
    assert!(show().contains(&format!("holds no snapshot {never}")), "{}", show());
    fs::write(path.join("00000004.segment"), "").expect("a file of ours");
    assert!(show().contains(&format!("holds no snapshot {never}")), "{}", show());
}
