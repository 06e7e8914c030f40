//! `hangsnap check` says what is damaged, and repairs nothing but indexes.

use std::fs;

use super::{SMALL, files, numbers, read, write, write_segments};
use crate::support::{hangsnap, run, succeed};

#[test]
fn a_damaged_segment_is_told_of_and_never_changed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (path, _) = write_segments(directory.path());
    let segment = files(&path, "segment").remove(1);
    let of_it = numbers(&read(&segment).0);
    let mut bytes = fs::read(&segment).expect("it is there");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(&segment, &bytes).expect("a file of ours");
    let lost: Vec<u64> = {
        let left = numbers(&read(&segment).0);
        of_it.iter().copied().filter(|number| !left.contains(number)).collect()
    };
    assert!(!lost.is_empty());
    for repair in [&[][..], &["--repair"]] {
        let output = run(hangsnap().arg("check").arg(&path).args(repair));
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let text = String::from_utf8_lossy(&output.stdout);
        let name = segment.file_name().expect("a name").to_string_lossy();
        for part in [
            ": damaged; ",
            &*name,
            "does not agree with its checksum",
            &format!("({} to {})", lost[0], lost[lost.len() - 1]),
        ] {
            assert!(text.contains(part), "`{part}` is not in: {text}");
        }
        assert!(fs::read(&segment).expect("it is there") == bytes, "the segment is as it was");
    }
    // What is asked for and lost is not silently something else.
    let output = run(hangsnap().arg("show").arg(&path).args(["--at", &lost[0].to_string()]));
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{output:?}");
    let before = (lost[0] - 1).to_string();
    let output = run(hangsnap().arg("show").arg(&path).args(["--json", "--at", &before]));
    assert!(String::from_utf8_lossy(&output.stdout).contains(&format!("\"number\":{before},")), "{output:?}");
    let listed = run(hangsnap().arg("list").arg(&path));
    assert_eq!(listed.status.code(), Some(2), "its index is gone, and it is read: {listed:?}");
}

#[test]
fn what_cannot_be_checked_is_an_error() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let text = directory.path().join("text.hangsnap");
    fs::write(&text, "no recording").expect("a file of ours");
    for path in [text, directory.path().join("nowhere")] {
        let output = run(hangsnap().arg("check").arg(&path));
        assert_eq!(output.status.code(), Some(2), "{output:?}");
    }
}

#[test]
fn a_directory_of_recordings_is_checked_and_only_one_of_them_can_be_shown() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for name in ["one", "two"] {
        fs::create_dir(directory.path().join(name)).expect("a directory of ours");
        let path = write(&directory.path().join(name), 1..=3, SMALL);
        fs::rename(path, directory.path().join(format!("{name}.hangsnap"))).expect("it was just written");
    }
    let text = succeed(hangsnap().arg("check").arg(directory.path()));
    assert_eq!(text.matches(": whole; 3 snapshots (1 to 3)").count(), 2, "{text}");
    let output = run(hangsnap().arg("show").arg(directory.path()));
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("holds 2 recordings; name one"), "{output:?}");
    fs::remove_dir_all(directory.path().join("two.hangsnap")).expect("it is there");
    let shown = succeed(hangsnap().arg("show").arg(directory.path()));
    assert!(shown.contains("snapshot 3 at "), "{shown}");
    // A segment is a recording, too.
    let segment = files(&directory.path().join("one.hangsnap"), "segment").remove(0);
    assert!(succeed(hangsnap().arg("show").arg(&segment).args(["--at", "1"])).contains("snapshot 1 at "));
}
