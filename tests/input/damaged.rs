//! Recordings that are cut short or changed: never a panic, one line that says so, and everything
//! whole is still shown.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use super::{FAILED, assert_contains, one_line};
use crate::support::{hangsnap, long_form, recorder, run, sleeper, succeed};

/// What stands before each record: marker, salt, length, two checksums.
const HEAD: usize = 20;
const LENGTH: usize = 8;
const MAGIC: usize = 8;

struct Recording {
    directory: tempfile::TempDir,
    bytes: Vec<u8>,
    /// Where records end: the description of the recording first, then each snapshot.
    ends: Vec<usize>,
}

impl Recording {
    fn make() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("whole.hangsnap");
        let victim = sleeper();
        succeed(recorder(&victim.pid(), "1ms").args(["--count", "3", "-o"]).arg(&file));
        let bytes = fs::read(file.join("00000001.segment")).expect("the recording has one segment");
        let mut ends = Vec::new();
        let mut at = MAGIC;
        while at < bytes.len() {
            let length = bytes[at + LENGTH..].first_chunk::<4>().expect("a whole record");
            at += HEAD + usize::try_from(u32::from_le_bytes(*length)).expect("a small record");
            ends.push(at);
        }
        assert_eq!(ends.last(), Some(&bytes.len()), "records fill the file");
        assert!(ends.len() >= 3, "two snapshots at least, even if one was skipped");
        Self { directory, bytes, ends }
    }

    fn write(&self, bytes: &[u8]) -> PathBuf {
        let path = self.directory.path().join("damaged.hangsnap");
        fs::write(&path, bytes).expect("a file of ours");
        path
    }

    /// How many snapshots a file of this length holds whole.
    fn snapshots_within(&self, length: usize) -> usize {
        self.ends.iter().filter(|end| **end <= length).count().saturating_sub(1)
    }
}

fn list(path: &Path) -> Output {
    run(hangsnap().arg("list").arg(path))
}

/// How many snapshots a list shows: all its lines but the two of the heading.
fn listed(output: &Output) -> usize {
    String::from_utf8_lossy(&output.stdout).lines().count().saturating_sub(2)
}

fn assert_no_panic(output: &Output, what: &str) {
    let code = output.status.code();
    assert!(matches!(code, Some(0..=2)), "{what}: {output:?}");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"), "{what}: {output:?}");
}

#[test]
fn a_recording_that_is_cut_is_shown_as_far_as_it_is_whole() {
    let recording = Recording::make();
    let mut cuts: Vec<usize> = (1..recording.bytes.len()).step_by(37).collect();
    // Around the places where a record ends the least change makes the greatest difference.
    let near = |end: &usize| [end - 1, *end, end + 1, end + HEAD - 1, end + HEAD, end + HEAD + 1];
    cuts.extend(recording.ends.iter().flat_map(near).filter(|cut| *cut < recording.bytes.len()));
    for cut in cuts {
        let path = recording.write(&recording.bytes[..cut]);
        let whole = recording.snapshots_within(cut);
        let output = list(&path);
        assert_no_panic(&output, &format!("cut at {cut}"));
        if recording.ends.contains(&cut) {
            assert_eq!(output.status.code(), Some(0), "cut at {cut}, where a record ends: {output:?}");
            assert!(output.stderr.is_empty(), "cut at {cut}, where a record ends: {output:?}");
        } else {
            assert_eq!(output.status.code(), Some(FAILED), "cut at {cut}: {output:?}");
            assert_contains(&one_line(&output), &["damaged.hangsnap"]);
        }
        assert_eq!(listed(&output), whole, "cut at {cut}: what is whole is listed: {output:?}");
    }
}

#[test]
fn whatever_is_whole_in_a_cut_recording_can_be_shown() {
    let recording = Recording::make();
    let original = recording.directory.path().join("whole.hangsnap");
    let all = recording.snapshots_within(recording.bytes.len());
    for cut in (1..recording.bytes.len()).step_by(37 * 11) {
        let path = recording.write(&recording.bytes[..cut]);
        let whole = recording.snapshots_within(cut);
        let at_a_boundary = recording.ends.contains(&cut);
        for number in 1..=all {
            let at = ["--at", &number.to_string()].map(str::to_owned);
            let output = run(hangsnap().arg("show").arg(&path).args(&at));
            if number <= whole {
                let expected = succeed(hangsnap().arg("show").arg(&original).args(&at));
                assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "cut at {cut}, snapshot {number}");
            } else {
                assert!(output.stdout.is_empty(), "cut at {cut}, snapshot {number}: {output:?}");
            }
            if !at_a_boundary {
                assert_eq!(output.status.code(), Some(FAILED), "cut at {cut}, snapshot {number}: {output:?}");
                one_line(&output);
            }
        }
        let output = run(hangsnap().arg("diff").arg(&path));
        assert_no_panic(&output, &format!("cut at {cut}, diff"));
        assert_eq!(!output.stdout.is_empty(), whole >= 2, "cut at {cut}: the last two that are whole are compared");
    }
}

#[test]
fn a_recording_with_a_changed_byte_is_never_taken_for_a_whole_one() {
    let recording = Recording::make();
    let step = if long_form() { 1 } else { 43 };
    for at in (0..recording.bytes.len()).step_by(step) {
        for change in [0x01, 0xff] {
            let mut bytes = recording.bytes.clone();
            bytes[at] ^= change;
            let path = recording.write(&bytes);
            let output = list(&path);
            assert_no_panic(&output, &format!("byte {at} changed by {change:#x}"));
            assert_eq!(output.status.code(), Some(FAILED), "byte {at} changed by {change:#x}: {output:?}");
            one_line(&output);
            // Snapshots need the one before them, but not what stands before the first.
            let readable = if at < recording.ends[0] { bytes.len() } else { at };
            let whole = recording.snapshots_within(readable);
            assert_eq!(listed(&output), whole, "byte {at} changed by {change:#x}: what can be read is listed");
        }
    }
}

#[test]
fn rubbish_behind_a_whole_recording_is_told_and_the_recording_shown() {
    let recording = Recording::make();
    // What a file system leaves of another segment looks whole, and is none of this one's.
    let another = Recording::make().bytes;
    for rubbish in [vec![0; 1], vec![0; 4096], vec![0xff; 64], b"HANGSEG1".to_vec(), another] {
        let path = recording.write(&[recording.bytes.as_slice(), &rubbish].concat());
        let output = list(&path);
        assert_no_panic(&output, "rubbish behind");
        assert_eq!(listed(&output), recording.snapshots_within(recording.bytes.len()), "{output:?}");
        assert_eq!(output.status.code(), Some(FAILED), "{} bytes of rubbish: {output:?}", rubbish.len());
        one_line(&output);
    }
}

#[test]
fn a_directory_of_recordings_is_listed_although_one_of_them_is_damaged() {
    let recording = Recording::make();
    recording.write(&recording.bytes[..recording.bytes.len() - 1]);
    let output = list(recording.directory.path());
    assert_eq!(output.status.code(), Some(FAILED), "{output:?}");
    assert_contains(&one_line(&output), &["damaged.hangsnap"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_contains(&text, &["whole.hangsnap", "damaged.hangsnap"]);
    // The one that is no recording at all is no reason to keep silent about the others either.
    recording.write(b"no recording");
    let output = list(recording.directory.path());
    assert_eq!(output.status.code(), Some(FAILED), "{output:?}");
    assert_contains(&one_line(&output), &["damaged.hangsnap"]);
    assert_contains(&String::from_utf8_lossy(&output.stdout), &["whole.hangsnap"]);
}
