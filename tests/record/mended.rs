//! What was once wrong with files that are not as they should be, each by the name of what happened.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use nix::sys::stat::Mode;

use super::{files, numbers, read, write_segments};
use crate::support::{hangsnap, run, succeed};

fn check(path: &Path, code: i32) -> String {
    let output = run(Command::new("timeout").arg("20").arg(hangsnap().get_program()).arg("check").arg(path));
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_fifo_called_like_an_index_is_not_waited_for() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (path, last) = write_segments(directory.path());
    let index = files(&path, "index").remove(0);
    fs::remove_file(&index).expect("it is there");
    nix::unistd::mkfifo(&index, Mode::S_IRWXU).expect("a FIFO");
    let listed = succeed(Command::new("timeout").arg("20").arg(hangsnap().get_program()).arg("list").arg(&path));
    assert!(listed.contains(&last.to_string()), "{listed}");
    assert!(check(&path, 1).contains("it cannot be read"));
}

#[test]
fn a_link_called_like_a_pin_or_an_index_leaves_what_it_leads_to() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (path, _) = write_segments(directory.path());
    let precious = directory.path().join("precious");
    fs::write(&precious, "precious").expect("a file of ours");
    let segment = files(&path, "segment").remove(0);
    symlink(&precious, segment.with_extension("pin")).expect("a link");
    fs::remove_file(segment.with_extension("index")).expect("it is there");
    symlink(&precious, segment.with_extension("index")).expect("a link");
    assert!(succeed(hangsnap().arg("pin").arg(&path)).starts_with("pinned: 5 segments"));
    succeed(hangsnap().arg("check").arg(&path).arg("--repair"));
    assert_eq!(fs::read_to_string(&precious).expect("it is there"), "precious");
    assert!(segment.with_extension("index").symlink_metadata().expect("it is there").is_file());
}

#[test]
fn what_cannot_be_opened_does_not_hide_the_other_segments() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (path, last) = write_segments(directory.path());
    fs::create_dir(path.join("00000000.segment")).expect("a directory");
    symlink("00000006.segment", path.join("00000006.segment")).expect("a link");
    let (snapshots, damage) = read(&path);
    assert_eq!(numbers(&snapshots), (1..=last).collect::<Vec<_>>());
    assert_eq!(damage.len(), 2, "{damage:?}");
    let told = check(&path, 1);
    assert!(told.contains("00000000.segment: it cannot be read") && told.contains("00000006.segment: it"), "{told}");
    let shown = run(hangsnap().arg("show").arg(&path).args(["--json", "--at", "1"]));
    assert!(String::from_utf8_lossy(&shown.stdout).contains("\"number\":1,"), "{shown:?}");
}

#[test]
fn segments_that_are_not_in_order_or_twice_there_are_not_whole() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (path, last) = write_segments(directory.path());
    fs::copy(path.join("00000001.segment"), path.join("00000006.segment")).expect("it is there");
    let told = check(&path, 1);
    assert!(told.contains(&format!("snapshot 1 comes behind {last}")), "{told}");
}

#[test]
fn an_index_without_its_segment_tells_that_it_is_lost() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (path, _) = write_segments(directory.path());
    fs::remove_file(path.join("00000005.segment")).expect("it is there");
    assert!(check(&path, 1).contains("00000005.segment: the segment is gone, and its index is there"));
    // One that a killed writer was about to remove is no loss.
    fs::rename(path.join("00000001.segment"), path.join("00000001.old")).expect("it is there");
    assert!(!check(&path, 1).contains("00000001"));
}
