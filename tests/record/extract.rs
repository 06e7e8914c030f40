//! Files made of recordings, and recordings that are scrubbed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hangsnap::model::{MemoryOf, Snapshot};
use hangsnap::store::Reader;

use crate::support::{PATIENCE, Victim, hangsnap, recorder, run, sleeper, succeed, until};

const SECRET: &str = "correct-horse-battery-staple";

/// A process that has a secret among its arguments and in a path that it waits on.
fn confidant(directory: &Path) -> Victim {
    let fifo = directory.join(SECRET);
    if !fifo.exists() {
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    }
    // It opens the FIFO, which waits for somebody who writes to it: the path is copied with the
    // call.
    let mut command = Command::new("sh");
    command.args(["-c", "echo ready; exec cat \"$0\""]).arg(&fifo);
    let victim = Victim::start(&mut command);
    until("it waits for the FIFO", PATIENCE, || {
        let call = fs::read_to_string(format!("/proc/{}/syscall", victim.pid())).unwrap_or_default();
        // openat is 257.
        call.starts_with("257 ")
    });
    victim
}

fn record(victim: &Victim, output: &Path, more: &[&str]) {
    succeed(recorder(&victim.pid(), "20ms").args(["--count", "5"]).args(more).arg("-o").arg(output));
}

fn snapshots(path: &Path) -> Vec<Snapshot> {
    let mut reader = Reader::open(path).expect("a recording");
    let mut snapshots = Vec::new();
    while let Some(next) = reader.next_snapshot().expect("it can be read") {
        snapshots.push(next.expect("it is whole"));
    }
    snapshots
}

/// Whether any file below this holds the secret, packed or not.
fn tells(path: &Path) -> bool {
    let said = |snapshot: &Snapshot| {
        let pieces = snapshot.threads.iter().flat_map(|thread| &thread.memory).chain(&snapshot.memory);
        let mut pieces = pieces.map(|piece| String::from_utf8_lossy(&piece.bytes).into_owned());
        let in_memory = pieces.any(|text| text.contains(SECRET));
        in_memory || snapshot.process.command.iter().any(|word| word.contains(SECRET))
    };
    let files: Vec<PathBuf> = match path.is_dir() {
        true => fs::read_dir(path).expect("a directory").map(|entry| entry.expect("an entry").path()).collect(),
        false => vec![path.into()],
    };
    let plainly = files.iter().any(|file| {
        fs::read(file).expect("a file of ours").windows(SECRET.len()).any(|bytes| bytes == SECRET.as_bytes())
    });
    plainly || snapshots(path).iter().any(said)
}

#[test]
fn memory_and_arguments_are_left_out_on_request_or_taken_out_afterwards() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let victim = confidant(directory.path());
    let (open, closed) = (directory.path().join("open.hangsnap"), directory.path().join("closed.hangsnap"));
    record(&victim, &open, &["--keep", "stacks"]);
    assert!(tells(&open), "the test would notice");
    let paths = |snapshot: &Snapshot| {
        snapshot.threads.iter().flat_map(|thread| &thread.memory).any(|piece| matches!(piece.what, MemoryOf::Path(_)))
    };
    assert!(snapshots(&open).iter().any(paths), "a path that is waited on is kept");
    record(&victim, &closed, &["--redact"]);
    assert!(!tells(&closed));
    // What else there is stays as it is.
    let mut expected = snapshots(&open);
    expected.iter_mut().for_each(Snapshot::redact);
    succeed(hangsnap().arg("scrub").arg(&open));
    assert!(!tells(&open));
    assert_eq!(snapshots(&open), expected);
    succeed(hangsnap().arg("check").arg(&open));
    // Through a link, what it leads to is scrubbed; with a second name, which would keep all,
    // nothing is.
    let (linked, link) = (directory.path().join("linked.hangsnap"), directory.path().join("link.hangsnap"));
    succeed(hangsnap().args(["--pid", &victim.pid(), "-o"]).arg(&linked));
    std::os::unix::fs::symlink(&linked, &link).expect("a link");
    succeed(hangsnap().arg("scrub").arg(&link));
    assert!(link.is_symlink() && !tells(&linked));
    let (named, other) = (directory.path().join("named.hangsnap"), directory.path().join("other.hangsnap"));
    succeed(hangsnap().args(["--pid", &victim.pid(), "-o"]).arg(&named));
    fs::hard_link(&named, &other).expect("another name");
    assert_eq!(run(hangsnap().arg("scrub").arg(&named)).status.code(), Some(2));
    assert!(tells(&named) && tells(&other));
    // What a sampler that was killed has begun, a segment of nothing, and what a scrub that was
    // killed has left.
    record(&victim, &directory.path().join("killed.hangsnap"), &[]);
    let killed = directory.path().join("killed.hangsnap");
    fs::copy(killed.join("00000001.segment"), killed.join("00000002.new")).expect("a copy");
    fs::write(killed.join("00000003.segment"), "").expect("a file");
    fs::write(killed.join("00000001.segment.unfinished"), SECRET).expect("a file");
    assert_eq!(run(hangsnap().arg("scrub").arg(&killed)).status.code(), Some(2), "what is dropped is told");
    assert!(!tells(&killed));
    let mut left: Vec<_> =
        fs::read_dir(&killed).expect("it is there").map(|entry| entry.expect("one").file_name()).collect();
    left.sort();
    assert_eq!(left, ["00000001.index", "00000001.segment"]);
    // A single snapshot is a file.
    let single = directory.path().join("single.hangsnap");
    succeed(hangsnap().args(["--pid", &victim.pid(), "-o"]).arg(&single));
    assert!(tells(&single));
    succeed(hangsnap().arg("scrub").arg(&single));
    assert!(!tells(&single));
}

#[test]
fn a_range_of_time_is_cut_out_and_recordings_are_put_one_behind_another() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let victim = sleeper();
    let (one, two) = (directory.path().join("one.hangsnap"), directory.path().join("two.hangsnap"));
    record(&victim, &one, &[]);
    record(&victim, &two, &[]);
    let (first, second) = (snapshots(&one), snapshots(&two));
    // The three in the middle, as a user names the times that `list --json` prints.
    let time = |snapshot: &Snapshot| {
        let time = jiff::Timestamp::from_nanosecond(snapshot.taken.realtime_ns.into()).expect("a time");
        time.to_string()
    };
    let cut = directory.path().join("cut.hangsnap");
    let mut command = hangsnap();
    command.arg("cut").arg(&one).args(["--from", &time(&first[1]), "--to", &time(&first[3]), "-o"]);
    succeed(command.arg(&cut));
    assert!(cut.is_file(), "one file to mail");
    assert_eq!(snapshots(&cut), first[1..4]);
    let by_number = directory.path().join("by-number.hangsnap");
    succeed(hangsnap().arg("cut").arg(&one).args(["--from", "2", "--to", "4", "-o"]).arg(&by_number));
    assert_eq!(snapshots(&by_number), first[1..4]);
    // In whichever order they are named.
    let merged = directory.path().join("merged.hangsnap");
    succeed(hangsnap().arg("merge").args([&two, &one]).arg("-o").arg(&merged));
    let mut expected = first.clone();
    // So are the snapshots counted on that threads are unchanged since.
    expected.extend(second.iter().cloned().map(|mut snapshot| {
        snapshot.count_on(5);
        snapshot
    }));
    assert!(snapshots(&merged) == expected, "the same snapshots, one recording behind the other");
    succeed(hangsnap().arg("diff").arg(&merged));
    // What has no order is refused, and so is what holds nothing; neither leaves a file.
    for (arguments, code) in [
        (vec!["merge", "one.hangsnap", "one.hangsnap"], 2),
        (vec!["cut", "one.hangsnap", "--to", "1999-01-01T00:00:00Z"], 1),
        (vec!["cut", "one.hangsnap", "--from", "99"], 1),
        (vec!["cut", "nowhere.hangsnap"], 2),
    ] {
        let mut command = hangsnap();
        let output = run(command.current_dir(directory.path()).args(&arguments).args(["-o", "none.hangsnap"]));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr).lines().count(), 1, "{arguments:?}: {output:?}");
        assert!(!directory.path().join("none.hangsnap").exists());
    }
}

/// The return address of each thread's innermost frame is in the bytes that were kept of its stack.
#[test]
fn stacks_are_kept_on_request() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let victim = sleeper();
    let recording = directory.path().join("kept.hangsnap");
    record(&victim, &recording, &["--keep", "stacks"]);
    for snapshot in snapshots(&recording) {
        for thread in &snapshot.threads {
            let stack = thread.memory.iter().find(|piece| piece.what == MemoryOf::Stack).expect("its stack is kept");
            let module = |frame| snapshot.module_of(frame).expect("a module");
            let caller = &thread.stack.frames[1];
            let hangsnap::model::Place::InModule { address, .. } = caller.place() else { panic!("in a file") };
            let word = module(caller).bias.0.wrapping_add(address.0).to_le_bytes();
            assert!(
                stack.bytes.windows(8).any(|bytes| bytes == word),
                "{} of snapshot {}",
                thread.tid,
                snapshot.number
            );
        }
    }
    let shown = succeed(hangsnap().args(["show", "--verbose"]).arg(&recording));
    assert!(shown.contains("stack: "), "{shown}");
}
