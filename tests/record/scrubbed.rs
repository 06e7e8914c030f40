//! What `scrub` and `check --repair` leave alone: what is not theirs, and what somebody else is at.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use hangsnap::store::{Policy, Writer};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::Pid;

use super::made::recording;
use super::{SMALL, files, numbers, read, store, write_segments};
use crate::lifecycle::sampler::PATIENCE;
use crate::support::{hangsnap, limited, run, succeed, until};

fn scrub(path: &Path) -> Output {
    run(limited(hangsnap().get_program()).arg("scrub").arg(path))
}

/// What is in a recording: each file, and the bytes of those that are files.
fn everything(path: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let entries = fs::read_dir(path).expect("it is there").map(|entry| entry.expect("an entry").path());
    let bytes = |path: PathBuf| (path.is_file().then(|| fs::read(&path).expect("it is there")), path);
    let mut all: Vec<_> = entries.map(bytes).map(|(bytes, path)| (path, bytes)).collect();
    all.sort();
    all
}

fn refused(path: &Path, parts: &[&str]) {
    let before = everything(path);
    let output = scrub(path);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(parts.iter().all(|part| told.contains(part)), "{told}");
    assert!(everything(path) == before, "nothing is changed");
}

/// What it led to kept its secrets, and lost its name in the recording.
#[test]
fn a_segment_that_is_a_link_is_not_scrubbed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (path, _) = write_segments(directory.path());
    let (segment, elsewhere) = (path.join("00000002.segment"), directory.path().join("elsewhere"));
    fs::rename(&segment, &elsewhere).expect("it is there");
    symlink(&elsewhere, &segment).expect("a link");
    refused(&path, &["00000002.segment is a link"]);
    // Nor where it is about to get its name back.
    fs::rename(&segment, path.join("00000002.old")).expect("it is there");
    fs::write(path.join("00000002.pin"), "").expect("a file of ours");
    let output = scrub(&path);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(segment.is_symlink());
}

/// They were removed.
#[test]
fn what_scrub_does_not_know_is_left_where_it_is() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (path, _) = write_segments(directory.path());
    let segment = path.join("00000002.segment");
    let original = fs::read(&segment).expect("it is there");
    let mut later = original.clone();
    later[..8].copy_from_slice(b"HANGSEG9");
    later[8..12].fill(0);
    later.truncate(2000);
    fs::write(&segment, &later).expect("a file of ours");
    refused(&path, &["00000002.segment is not a recording"]);
    fs::remove_file(&segment).expect("it is there");
    nix::unistd::mkfifo(&segment, Mode::S_IRWXU).expect("a FIFO");
    refused(&path, &["00000002.segment is not a recording"]);
    // Nothing can be read of these.
    fs::remove_file(&segment).expect("it is there");
    fs::write(&segment, &original).expect("a file of ours");
    let before = everything(&path);
    let mut command = limited("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-P"]).arg(&segment);
    command.args(["-e", "inject=pread64:error=EIO"]).arg(hangsnap().get_program());
    let output = run(command.arg("scrub").arg(&path));
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(everything(&path) == before, "nothing is changed");
    succeed(hangsnap().arg("scrub").arg(&path));
}

#[test]
fn a_fifo_called_like_what_a_killed_process_left_is_not_waited_for() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (path, _) = write_segments(directory.path());
    nix::unistd::mkfifo(&path.join("00000009.new"), Mode::S_IRWXU).expect("a FIFO");
    succeed(limited(hangsnap().get_program()).arg("check").arg(&path).arg("--repair"));
    assert_eq!(scrub(&path).status.code(), Some(0));
}

/// A `scrub` that stands still when it has written a segment again, and has not yet put it in the
/// old one's place.
struct Halted {
    strace: Child,
    scrub: Pid,
}

impl Halted {
    fn start(path: &Path, log: &Path) -> Self {
        let mut command = Command::new("strace");
        command.args(["-f", "-e", "trace=fdatasync", "-e", "inject=fdatasync:signal=STOP:when=1", "-o"]).arg(log);
        command.arg(hangsnap().get_program()).arg("scrub").arg(path);
        let strace = command.stdout(Stdio::null()).spawn().expect("tests/run installs it");
        until("the scrub is halted", PATIENCE, || {
            fs::read_to_string(log).is_ok_and(|log| log.contains("stopped by SIGSTOP"))
        });
        let log = fs::read_to_string(log).expect("it was just read");
        let pid = log.split_whitespace().next().and_then(|pid| pid.parse().ok()).expect("lines begin with a pid");
        Self { strace, scrub: Pid::from_raw(pid) }
    }

    /// Lets it go on, and returns its exit code.
    fn finish(mut self) -> Option<i32> {
        kill(self.scrub, Signal::SIGCONT).expect("it is there");
        self.strace.wait().expect("it is our child").code()
    }
}

impl Drop for Halted {
    fn drop(&mut self) {
        if matches!(self.strace.try_wait(), Ok(None)) {
            let _ = kill(self.scrub, Signal::SIGKILL);
            let _ = self.strace.wait();
        }
    }
}

/// The second removed what the first was writing, and the first put what the second was writing in
/// the place of a segment.
#[test]
fn of_two_scrubs_of_one_recording_one_is_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (path, last) = write_segments(directory.path());
    let single = directory.path().join("single.hangsnap");
    fs::copy(path.join("00000001.segment"), &single).expect("it is there");
    let log = directory.path().join("log");
    for (path, same) in [(&path, path.join("00000001.segment")), (&single, single.clone())] {
        let first = Halted::start(path, &log);
        for path in [path, &same] {
            let second = scrub(path);
            assert_eq!(second.status.code(), Some(2), "{second:?}");
            assert!(String::from_utf8_lossy(&second.stderr).contains("is being written"), "{second:?}");
        }
        // A reader does not notice.
        let told = succeed(hangsnap().arg("check").arg(path));
        assert!(told.contains(": whole; ") && !told.contains("is being written"), "{told}");
        let output = run(hangsnap().arg("check").arg(path).arg("--repair"));
        assert_eq!(output.status.code(), Some(if path.is_dir() { 2 } else { 0 }), "{output:?}");
        assert_eq!(first.finish(), Some(0));
        fs::remove_file(&log).expect("it is there");
        assert!(succeed(hangsnap().arg("check").arg(path)).contains(": whole; "));
        assert_eq!(scrub(path).status.code(), Some(0), "when the first has ended");
    }
    assert_eq!(read(&path).0.len() as u64, last);
}

/// A segment that was removed while it was scrubbed came back.
#[test]
fn a_later_run_removes_nothing_of_what_is_being_scrubbed() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (old, _) = write_segments(directory.path());
    let before = files(&old, "segment");
    let scrub = Halted::start(&old, &directory.path().join("log"));
    let policy = Policy { max_size: 1 << 20, ..SMALL };
    let new = directory.path().join("new.hangsnap");
    let mut writer = Writer::create(&new, &recording(), policy).expect("a new directory");
    writer.succeed(std::slice::from_ref(&old));
    let mut number = 0;
    while files(&new, "segment").len() < 4 {
        number += 1;
        assert!(number < 3000, "what is busy costs nothing of this: {:?}", files(&new, "segment"));
        store(&mut writer, number);
    }
    assert_eq!(files(&old, "segment"), before);
    assert_eq!(scrub.finish(), Some(0));
    // From then on they go first.
    while old.exists() {
        number += 1;
        assert!(number < 6000, "it stays: {:?}", files(&old, "segment"));
        store(&mut writer, number);
    }
    writer.finish().expect("it can be ended");
    assert_eq!(numbers(&read(&new).0).last(), Some(&number));
}

/// A missing mark was taken for no writer.
#[test]
fn where_there_are_no_locks_nothing_is_scrubbed_or_repaired() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (path, _) = write_segments(directory.path());
    fs::copy(path.join("00000001.segment"), path.join("00000009.new")).expect("it is there");
    let before = everything(&path);
    for (arguments, code) in [(&["scrub"][..], 2), (&["check", "--repair"], 2), (&["check"], 0)] {
        let mut command = Command::new("strace");
        command.args(["-f", "-qq", "-o", "/dev/null", "-e", "inject=fcntl:error=ENOLCK"]);
        let output = run(command.arg(hangsnap().get_program()).args(arguments).arg(&path));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(told.contains("there are no locks"), code == 2, "{arguments:?}: {told}");
        assert!(everything(&path) == before, "{arguments:?}: nothing is changed");
    }
}
