//! A record of a gibibyte: how long it takes to list it, and to find one sample of it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hangsnap::model::{Recording, Snapshot};
use hangsnap::store::{Contents, Policy, Sync, Writer};

const SIZE: u64 = 1 << 30;
/// Between two samples, in nanoseconds.
const INTERVAL: u64 = 5_000_000_000;
const LIST_PROMISE: Duration = Duration::from_millis(500);
const FIND_PROMISE: Duration = Duration::from_millis(20);

/// Stores these samples again and again, each time as the next, until there is a gibibyte of them,
/// and looks things up in it.
pub fn measure(samples: &[Snapshot]) {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
    let path = directory.path().join("large.hangsnap");
    let count = write(&path, samples);
    println!("a record of {} MiB, {count} samples of {} threads", SIZE >> 20, samples[0].threads.len());
    let program = env!("CARGO_BIN_EXE_hangsnap");
    let run = |arguments: &[&str]| {
        let begun = Instant::now();
        let mut command = Command::new(program);
        let status = command.args(arguments).arg(&path).stdout(Stdio::null()).status().expect("it was just built");
        assert!(status.success(), "{arguments:?}");
        begun.elapsed()
    };
    row("list", (0..5).map(|_| run(&["list"])).collect(), LIST_PROMISE);
    row("list --json", (0..5).map(|_| run(&["list", "--json"])).collect(), LIST_PROMISE);
    // Numbers from all over it, none near the one before.
    let numbers = (1..=50).map(|step| 1 + step * 611_953 % count);
    let find = |number| {
        let begun = Instant::now();
        let mut contents = Contents::open(&path).expect("it is there");
        let found = contents.by_number(number).expect("it can be read").expect("it is there");
        assert_eq!(contents.snapshot(found).expect("it can be read").map(|snapshot| snapshot.number), Some(number));
        begun.elapsed()
    };
    row("finding one sample", numbers.map(find).collect(), FIND_PROMISE);
}

fn write(path: &Path, samples: &[Snapshot]) -> u64 {
    let policy = Policy { max_size: 4 * SIZE, sync: Sync::Never, ..Policy::default() };
    let mut writer = Writer::create(path, &Recording::default(), policy).expect("a new directory");
    let (mut count, mut bytes) = (0, 0);
    let mut samples: Vec<Snapshot> = samples.to_vec();
    while bytes < SIZE {
        for snapshot in &mut samples {
            count += 1;
            snapshot.number = count;
            snapshot.taken.monotonic_ns = count * INTERVAL;
            snapshot.taken.realtime_ns = i64::try_from(1_700_000_000_000_000_000 + count * INTERVAL).expect("this age");
            match writer.append(snapshot).expect("there is room") {
                hangsnap::store::Stored::Yes { bytes: more, .. } => bytes += more,
                hangsnap::store::Stored::NoRoom { why, .. } => panic!("{why}"),
            }
        }
    }
    writer.finish().expect("there is room");
    count
}

fn row(what: &str, mut times: Vec<Duration>, promise: Duration) {
    times.sort_unstable();
    let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
    let kept = if median <= promise { "kept" } else { "NOT kept" };
    println!("{what:<20} median {median:.1?}, longest {longest:.1?}; at most {promise:?}: {kept}");
}
