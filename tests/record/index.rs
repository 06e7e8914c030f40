//! An index makes things fast and changes no result: missing, out of date, damaged, another
//! segment's or a lie.

use std::fs;
use std::path::Path;

use hangsnap::model::Summary;
use hangsnap::store::Contents;

use super::made::{Random, seed, snapshot, taken};
use super::{files, write_segments};
use crate::support::{hangsnap, run, succeed};

/// Lists it, and looks up one in this many snapshots by number and by time.
fn assert_found(path: &Path, last: u64, what: &str) {
    let mut contents = Contents::open(path).expect("a recording");
    let expected: Vec<Summary> = (1..=last).map(|number| (&snapshot(number)).into()).collect();
    // How many threads have not run is not in a snapshot itself.
    let listed = contents.summaries().expect("it can be read").into_iter();
    let listed: Vec<Summary> = listed.map(|summary| Summary { not_run: None, ..summary }).collect();
    assert!(listed == expected, "{what}: the list is another");
    let mut contents = Contents::open(path).expect("a recording");
    for number in (1..=last).step_by(97).chain([1, 2, last - 1, last]) {
        let by_number = contents.by_number(number).expect("it can be read").expect("it is there");
        let read = contents.snapshot(by_number).expect("it can be read");
        assert!(read == Some(snapshot(number)), "{what}: snapshot {number} is another");
        let by_time = contents.by_time(i128::from(taken(number)) + 1).expect("it can be read");
        assert_eq!(by_time, Some(by_number), "{what}: snapshot {number}");
    }
    assert_eq!(contents.by_number(last + 1).expect("it can be read"), None, "{what}");
    assert_eq!(contents.by_time(i128::from(taken(1)) - 1).expect("it can be read"), None, "{what}");
    assert_eq!(contents.numbers().expect("it can be read"), Some((1, last)), "{what}");
    assert_eq!(contents.damage(), [], "{what}");
}

fn check(path: &Path, options: &[&str], code: i32) -> String {
    let output = run(hangsnap().arg("check").arg(path).args(options));
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn whatever_an_index_says_the_same_is_found() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (path, last) = write_segments(directory.path());
    assert_found(&path, last, "as it was written");
    assert!(check(&path, &[], 0).contains(&format!(": whole; {last} snapshots (1 to {last})")));
    let indexes = files(&path, "index");
    let originals: Vec<Vec<u8>> = indexes.iter().map(|index| fs::read(index).expect("it is there")).collect();

    fs::remove_file(&indexes[0]).expect("it is there");
    fs::remove_file(&indexes[2]).expect("it is there");
    assert_found(&path, last, "two are missing");
    assert!(check(&path, &[], 0).contains("there is none"));

    fs::copy(&indexes[1], &indexes[0]).expect("it is there");
    assert_found(&path, last, "one is another segment's");
    assert!(check(&path, &[], 1).contains("it is another segment's"));

    fs::write(&indexes[1], &originals[1][..originals[1].len() / 2]).expect("a file of ours");
    assert_found(&path, last, "one is cut");
    fs::write(&indexes[2], "").expect("a file of ours");
    assert_found(&path, last, "one is empty");

    let told = check(&path, &["--repair"], 0);
    assert_eq!(told.matches("rebuilt").count(), 3, "{told}");
    for (index, original) in indexes.iter().zip(&originals) {
        assert!(fs::read(index).expect("it is there") == *original, "it is the one that was written");
    }
    assert_found(&path, last, "repaired");
    assert!(!check(&path, &[], 0).contains("index"));
}

#[test]
fn a_damaged_index_is_not_believed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (path, last) = write_segments(directory.path());
    let index = files(&path, "index").remove(1);
    let original = fs::read(&index).expect("it is there");
    let mut random = Random(seed());
    for _ in 0..20 {
        let mut bytes = original.clone();
        let at = random.below(bytes.len() as u64) as usize;
        bytes[at] ^= 1 << random.below(8);
        fs::write(&index, &bytes).expect("a file of ours");
        assert_found(&path, last, &format!("byte {at} of an index is damaged"));
        check(&path, &[], 1);
    }
}

/// Its checksums are right, and what it says is not so: what stands in the segment counts.
#[test]
fn an_index_that_lies_is_found_out_by_what_it_leads_to() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (path, last) = write_segments(directory.path());
    let index = files(&path, "index").remove(1);
    let original = fs::read(&index).expect("it is there");
    let mut contents = Contents::open(&path).expect("a recording");
    let first = contents.by_number(1).expect("it can be read").expect("it is there");
    assert!(contents.snapshot(first).expect("it can be read").is_some());
    drop(contents);
    // All numbers of the segment are one too great.
    let lie = lying(&original, |row| row.summary.number += 1);
    fs::write(&index, &lie).expect("a file of ours");
    let segment = hangsnap::store::Contents::open(&files(&path, "segment")[1]).expect("a segment");
    let numbers = { segment }.numbers().expect("it can be read").expect("some");
    let number = numbers.0 + 3;
    let shown = succeed(hangsnap().arg("show").arg(&path).args(["--json", "--at", &number.to_string()]));
    assert!(shown.contains(&format!("\"number\":{number},")), "{shown}");
    assert!(check(&path, &[], 1).contains("it does not say what the segment holds"));
    // Rows that do not follow on each other are not even looked at.
    for lie in [lying(&original, |row| row.offset += 1), lying(&original, |row| row.length -= 1)] {
        fs::write(&index, &lie).expect("a file of ours");
        assert_found(&path, last, "rows that do not follow on each other");
        check(&path, &[], 1);
    }
    check(&path, &["--repair"], 0);
    assert_found(&path, last, "repaired");
}

/// The index with its rows changed and all checksums made right again.
fn lying(index: &[u8], mut change: impl FnMut(&mut hangsnap::wire::Row)) -> Vec<u8> {
    const MAGIC: usize = 8;
    const HEAD: usize = 20;
    let length = |at: usize| u32::from_le_bytes(*index[at + 8..].first_chunk::<4>().expect("a head")) as usize;
    let (head_at, rows_at) = (MAGIC, MAGIC + HEAD + length(MAGIC));
    let mut rows = hangsnap::wire::decode_rows(&index[rows_at + HEAD..]).expect("rows");
    rows.iter_mut().for_each(&mut change);
    let mut head = hangsnap::wire::IndexHead::decode(&index[head_at + HEAD..rows_at]).expect("a head");
    head.span = hangsnap::wire::Span::of(&rows).expect("rows");
    let mut lie = index[..MAGIC].to_vec();
    for payload in [head.encode(), hangsnap::wire::encode_rows(&rows)] {
        let start = lie.len();
        lie.extend_from_slice(&index[MAGIC..MAGIC + 8]);
        lie.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        lie.extend_from_slice(&crc32fast::hash(&payload).to_le_bytes());
        let own = crc32fast::hash(&lie[start..]);
        lie.extend_from_slice(&own.to_le_bytes());
        lie.extend_from_slice(&payload);
    }
    lie
}
