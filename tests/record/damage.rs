//! Segments that are cut or changed: what is undamaged is read, equal to what was written, and what
//! is lost is reported.

use std::fs;
use std::path::{Path, PathBuf};

use hangsnap::model::Snapshot;
use hangsnap::store::{Damage, Writer};

use super::made::{Random, recording, seed, snapshot, snapshot_of};
use super::{SMALL, files, numbers, read, write, write_segments};
use crate::support::long_form;

const MAGIC: usize = 8;
const HEAD: usize = 20;

/// One segment with several whole snapshots in it: each time the process executes another program
/// there is another.
struct Made {
    bytes: Vec<u8>,
    snapshots: Vec<Snapshot>,
    /// Where each record begins, and where the last one ends: the description first.
    starts: Vec<usize>,
    /// The places of whole snapshots among the snapshots.
    whole: Vec<usize>,
    directory: tempfile::TempDir,
}

const GROUP: u64 = 7;

impl Made {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("groups.hangsnap");
        let mut writer = Writer::create(&path, &recording(), SMALL).expect("a new directory");
        let snapshots: Vec<Snapshot> = (1..=4 * GROUP).map(executing).collect();
        for snapshot in &snapshots {
            writer.append(snapshot).expect("it can be written");
        }
        writer.finish().expect("it can be ended");
        let segments = files(&path, "segment");
        assert_eq!(segments.len(), 1, "all fit into one segment");
        let bytes = fs::read(&segments[0]).expect("it was just written");
        let mut starts = vec![MAGIC];
        while *starts.last().expect("one") < bytes.len() {
            let at = *starts.last().expect("one");
            let length = bytes[at + 8..].first_chunk::<4>().expect("a head");
            starts.push(at + HEAD + u32::from_le_bytes(*length) as usize);
        }
        assert_eq!(starts.len(), snapshots.len() + 2, "records fill the file");
        let payload = |at: usize| &bytes[starts[at + 1] + HEAD..starts[at + 2]];
        let is_whole = |at: &usize| match hangsnap::wire::peek(payload(*at)) {
            Ok(hangsnap::wire::Peeked::Snapshot { whole, .. }) => whole,
            other => panic!("not a snapshot: {other:?}"),
        };
        let whole: Vec<usize> = (0..snapshots.len()).filter(is_whole).collect();
        assert!(whole.len() >= 4, "several whole ones: {whole:?}");
        Self { bytes, snapshots, starts, whole, directory }
    }

    fn write(&self, bytes: &[u8]) -> PathBuf {
        let path = self.directory.path().join("damaged.segment");
        fs::write(&path, bytes).expect("a file of ours");
        path
    }

    /// The numbers of what can be read when this byte is damaged.
    fn readable(&self, byte: usize) -> Vec<u64> {
        let hit = self.starts.iter().rposition(|start| *start <= byte);
        let lost = match hit {
            None | Some(0) => 0..0,
            Some(record) => {
                let first = record - 1;
                first..self.whole.iter().copied().find(|whole| *whole > first).unwrap_or(self.snapshots.len())
            }
        };
        (0..self.snapshots.len()).filter(|at| !lost.contains(at)).map(|at| self.snapshots[at].number).collect()
    }

    /// What can be read of it is as it was written.
    fn assert_genuine(&self, read: &[Snapshot], what: &str) -> Vec<u64> {
        for snapshot in read {
            let original = &self.snapshots[usize::try_from(snapshot.number - 1).expect("a small number")];
            assert!(snapshot == original, "{what}: snapshot {} is not what was written", snapshot.number);
        }
        read.iter().map(|snapshot| snapshot.number).collect()
    }
}

/// A process that executes another program every few snapshots.
fn executing(number: u64) -> Snapshot {
    let mut snapshot = snapshot(number);
    for module in &mut snapshot.modules {
        module.path = format!("{}.{}", module.path, (number - 1) / GROUP);
    }
    snapshot
}

/// Nothing is lost twice, nothing beyond the file's end, and what was read lies around it as it
/// says.
fn assert_told(damage: &[Damage], found: &[u64], length: usize, what: &str) {
    let mut until = 0;
    for lost in damage {
        assert!(lost.at >= until, "{what}: {damage:?}");
        until = lost.at + lost.lost;
        assert!(until <= length as u64 + 1, "{what}: beyond the end: {lost}");
        let gap: Vec<u64> = found.iter().copied().filter(|number| *number > lost.after).take(1).collect();
        assert_eq!(gap.first().copied(), lost.before, "{what}: {lost}");
    }
}

#[test]
fn a_flipped_bit_costs_what_needs_it_and_nothing_else() {
    let made = Made::new();
    let flips = if long_form() { 100_000 } else { 10_000 };
    let seed = seed();
    let mut random = Random(seed);
    let mut behind = 0;
    for _ in 0..flips {
        let at = random.below(made.bytes.len() as u64) as usize;
        let bit = random.below(8);
        let what = format!("bit {bit} of byte {at}, HANGSNAP_SEED={seed}");
        let mut bytes = made.bytes.clone();
        bytes[at] ^= 1 << bit;
        let (snapshots, damage) = read(&made.write(&bytes));
        let found = made.assert_genuine(&snapshots, &what);
        assert_eq!(found, made.readable(at), "{what}");
        assert_eq!(damage.len(), 1, "{what}: {damage:?}");
        assert_told(&damage, &found, bytes.len(), &what);
        behind += usize::from(damage[0].before.is_some());
    }
    eprintln!("{flips} flipped bits, behind {behind} of which reading went on");
    assert!(behind > flips / 2, "reading went on behind {behind} of {flips} only");
}

#[test]
fn many_changes_at_once_let_nothing_wrong_through() {
    let made = Made::new();
    let seed = seed();
    let mut random = Random(seed);
    for round in 0..if long_form() { 20_000 } else { 2_000 } {
        let what = format!("round {round}, HANGSNAP_SEED={seed}");
        let mut bytes = made.bytes.clone();
        for _ in 0..=random.below(6) {
            if bytes.is_empty() {
                break;
            }
            let at = random.below(bytes.len() as u64) as usize;
            let length = (1 + random.below(600) as usize).min(bytes.len() - at);
            match random.below(5) {
                0 => bytes[at..at + length].fill(0),
                1 => bytes[at..at + length].iter_mut().for_each(|byte| *byte = random.next() as u8),
                2 => drop(bytes.drain(at..at + length)),
                // A piece of it that stands somewhere else as well.
                3 => {
                    let piece = bytes[at..at + length].to_vec();
                    let to = random.below(bytes.len() as u64) as usize;
                    bytes.splice(to..to, piece);
                }
                _ => bytes.truncate(at.max(1)),
            }
        }
        let path = made.write(&bytes);
        match hangsnap::store::Reader::open(&path) {
            Ok(_) => {
                let (snapshots, _) = read(&path);
                made.assert_genuine(&snapshots, &what);
            }
            // Nothing is left by which it could be known.
            Err(error) => assert!(error.to_string().contains("not a recording"), "{what}: {error}"),
        }
    }
}

#[test]
fn a_segment_cut_at_any_byte_of_its_last_record_keeps_the_others() {
    let made = Made::new();
    let all = made.snapshots.len();
    let last = made.starts[all];
    for cut in last..=made.bytes.len() {
        let what = format!("cut at {cut}");
        let (snapshots, damage) = read(&made.write(&made.bytes[..cut]));
        let found = made.assert_genuine(&snapshots, &what);
        let expected = if cut == made.bytes.len() { all } else { all - 1 };
        assert_eq!(found, (1..=expected as u64).collect::<Vec<_>>(), "{what}");
        assert_eq!(damage.len(), usize::from(cut != last && cut != made.bytes.len()), "{what}: {damage:?}");
        for torn in damage {
            assert_eq!((torn.at, torn.lost), (last as u64, (cut - last) as u64), "{what}: {torn}");
        }
    }
}

/// A process may hold a recording in its memory, and that may be stored as it is: where the head
/// before it is damaged, it must not be taken for what was recorded.
#[test]
fn a_recording_inside_a_record_is_not_taken_for_its_own() {
    let made = Made::new();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("outer.segment");
    let outer = files(&write(directory.path(), 999..=999, SMALL), "segment").remove(0);
    let mut bytes = fs::read(outer).expect("it was just written");
    let own = bytes.len();
    let marker_and_salt = bytes[MAGIC..MAGIC + 8].to_vec();
    bytes.extend(marker_and_salt);
    bytes.extend((made.bytes.len() as u32).to_le_bytes());
    bytes.extend(crc32fast::hash(&made.bytes).to_le_bytes());
    let head = crc32fast::hash(&bytes[own..]);
    bytes.extend(head.to_le_bytes());
    bytes.extend(&made.bytes);
    for damaged in own..own + HEAD {
        let mut bytes = bytes.clone();
        bytes[damaged] ^= 1;
        fs::write(&path, &bytes).expect("a file of ours");
        let (snapshots, damage) = read(&path);
        assert_eq!(numbers(&snapshots), [999], "{damage:?}");
        assert_eq!(damage.len(), 1, "{damage:?}");
    }
}

#[test]
fn a_segment_that_is_gone_or_rubbish_does_not_hide_the_others() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (path, last) = write_segments(directory.path());
    let segments = files(&path, "segment");
    let all = numbers(&read(&path).0);
    assert_eq!(all, (1..=last).collect::<Vec<_>>());
    let of = |segment: &Path| numbers(&read(segment).0);
    let (first, second) = (of(&segments[1]), of(&segments[2]));
    fs::remove_file(&segments[1]).expect("it is there");
    fs::write(&segments[2], "nothing of ours").expect("a file of ours");
    let (snapshots, damage) = read(&path);
    let expected: Vec<u64> =
        all.into_iter().filter(|number| !first.contains(number) && !second.contains(number)).collect();
    assert_eq!(numbers(&snapshots), expected);
    let told: Vec<&Path> = damage.iter().map(|damage| damage.path.as_path()).collect();
    assert_eq!(
        told,
        [&segments[2], &segments[1]],
        "what is no segment in its turn, and what is gone at the end: {damage:?}"
    );
}

#[test]
fn a_process_of_many_threads_is_read_as_it_was_written() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("many.hangsnap");
    let mut writer = Writer::create(&path, &recording(), SMALL).expect("a new directory");
    let made: Vec<Snapshot> = (1..100).map(|number| snapshot_of(number, 1000)).collect();
    for snapshot in &made {
        writer.append(snapshot).expect("it can be written");
    }
    writer.finish().expect("it can be ended");
    assert!(read(&path) == (made, Vec::new()), "it is not what was written");
}
