//! Clocks that are set: snapshots stay in the order in which they were taken, and a time finds what
//! was taken then.

use std::path::{Path, PathBuf};

use hangsnap::model::Snapshot;
use hangsnap::store::{Policy, Writer};

use super::made::{recording, snapshot, taken};
use super::{SMALL, files, read};
use crate::support::{first_column, hangsnap, run, succeed};

const HOUR: i64 = 3_600_000_000_000;

/// A snapshot each second: before one of them the clock is set back by an hour, and before another
/// it is put right again.
fn write(directory: &Path, back_at: u64, right_at: u64, last: u64) -> PathBuf {
    let path = directory.join("stepping.hangsnap");
    let policy = Policy { max_size: 1 << 20, ..SMALL };
    let mut writer = Writer::create(&path, &recording(), policy).expect("a new directory");
    for number in 1..=last {
        let mut snapshot = snapshot(number);
        if (back_at..right_at).contains(&number) {
            snapshot.taken.realtime_ns -= HOUR;
        }
        writer.append(&snapshot).expect("it can be written");
    }
    writer.finish().expect("it can be ended");
    path
}

fn time(realtime_ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(realtime_ns.into()).expect("a time").to_string()
}

fn number_at(path: &Path, at: &str) -> String {
    let shown = succeed(hangsnap().arg("show").arg(path).args(["--json", "--at", at]));
    let (_, number) = shown.split_once("\"number\":").expect("a number");
    number.split(',').next().expect("its digits").to_owned()
}

#[test]
fn a_time_finds_what_was_taken_then_although_the_clock_was_set_back() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (back, right, last) = (301, 601, 900);
    let path = write(directory.path(), back, right, last);
    assert!(files(&path, "segment").len() >= 3, "too few segments to look through");
    // Before the step, during it, after it: the time that the list prints beside each.
    for number in [1, 150, back - 1, right, right + 100, last] {
        assert_eq!(number_at(&path, &time(taken(number))), number.to_string());
    }
    for number in [back, back + 77, right - 1] {
        assert_eq!(number_at(&path, &time(taken(number) - HOUR)), number.to_string());
    }
    // A moment that no clock showed: the nearest one before it.
    assert_eq!(number_at(&path, &time(taken(450))), (back - 1).to_string());
    assert_eq!(number_at(&path, "9999-12-31T23:59:59"), last.to_string());
    let none = run(hangsnap().arg("show").arg(&path).args(["--at", &time(taken(back) - HOUR - 5_000_000_000)]));
    assert_eq!(none.status.code(), Some(1), "{none:?}");
}

#[test]
fn snapshots_stay_in_the_order_in_which_they_were_taken() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = write(directory.path(), 4, 7, 9);
    let numbers = |snapshots: &[Snapshot]| snapshots.iter().map(|snapshot| snapshot.number).collect::<Vec<_>>();
    assert_eq!(numbers(&read(&path).0), (1..=9).collect::<Vec<_>>());
    let listed = succeed(hangsnap().arg("list").arg(&path));
    assert_eq!(first_column(&listed), (1..=9).collect::<Vec<_>>(), "{listed}");
    assert!(succeed(hangsnap().arg("check").arg(&path)).contains(": whole; 9 snapshots (1 to 9)"));
    // For how long a thread has been where it is says CLOCK_MONOTONIC: thread 3 moves at
    // 3 and at 23.
    let told = succeed(hangsnap().arg("diff").arg(&path).args(["--json", "3", "9"]));
    let document: serde_json::Value = serde_json::from_str(&told).expect("JSON");
    let threads = document["threads"].as_array().expect("threads");
    let first = threads.iter().find(|thread| thread["tid"] == 1003).expect("it is there");
    assert_eq!(
        (first["change"].as_str(), first["same_for_ns"].as_u64()),
        (Some("same"), Some(6_000_000_000)),
        "{first}"
    );
    // A cut takes what bears a time of the range, whenever it was taken.
    let output = directory.path().join("cut.hangsnap");
    let range = ["--from", &time(taken(4) - HOUR), "--to", &time(taken(5) - HOUR)];
    succeed(hangsnap().arg("cut").arg(&path).args(range).arg("-o").arg(&output));
    assert_eq!(numbers(&read(&output).0), [4, 5]);
}
