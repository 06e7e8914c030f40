//! The victims with a thread that cannot be stopped (tests/victims/unstoppable.c): starting,
//! watching and ending them.
//!
//! A fixture is ended by its own guard, which this asks to by closing a pipe. It is never killed
//! from here: a thread that SIGKILL does not reach would keep the test waiting for it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::super::Counters;
use crate::support::{PATIENCE, compile, until};

/// The modes with a thread that cannot be stopped, and the function it is in.
pub const MODES: [(&str, &str); 6] = [
    ("vfork", "blocked_in_vfork"),
    ("fuse-read", "blocked_in_fuse_read"),
    ("fuse-open-second", "blocked_in_fuse_open"),
    ("frozen", "blocked_in_frozen_write"),
    ("userfault", "blocked_in_userfault"),
    ("mmap-lock", "blocked_in_mmap"),
];

/// The program, to be started with its mode, its directory and for how many seconds.
pub fn program(mode: &str, directory: &Path, seconds: u32) -> Command {
    let mut command = Command::new(compile("gcc", "unstoppable.c", &["-O1", "-g", "-pthread"]));
    command.arg(mode).arg(directory).arg(seconds.to_string());
    command
}

/// What a fixture says of itself: `keeper`, `guard`, `target`, `blocked` (ids), `shared`, and,
/// where there are such, `server` and `connection`.
pub struct Facts {
    numbers: BTreeMap<String, u32>,
    /// The mount namespace of its processes.
    namespace: fs::Metadata,
}

impl Facts {
    /// Reads until the thread is where it cannot be stopped. None, and a loud word, if this machine
    /// has no such thing.
    pub fn read(mode: &str, output: &mut impl BufRead) -> Option<Self> {
        let mut numbers = BTreeMap::new();
        loop {
            let mut line = String::new();
            output.read_line(&mut line).expect("it prints text");
            match line.trim().split_once(' ') {
                Some(("skip:", why)) => {
                    eprintln!("SKIPPED: {mode}: {why}");
                    return None;
                }
                Some((name, number)) => {
                    // A test run that holds a fixture prints other lines, too.
                    let _ = number.parse().map(|number| numbers.insert(name.to_owned(), number));
                }
                None if line.trim() == "ready" => break,
                None => assert!(!line.is_empty(), "{mode}: it ended before its thread had blocked"),
            }
        }
        let namespace = fs::metadata(format!("/proc/{}/ns/mnt", numbers["guard"])).expect("the guard is there");
        Some(Self { numbers, namespace })
    }

    pub fn get(&self, name: &str) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    /// What is left of it on this machine: processes, mounts, loop devices, FUSE connections. Empty
    /// if nothing is.
    pub fn remains(&self) -> Vec<String> {
        use std::os::unix::fs::MetadataExt;
        let mut remains = Vec::new();
        for name in ["keeper", "guard", "server", "target"] {
            let tasks = self.get(name).map(|pid| fs::read_dir(format!("/proc/{pid}/task")));
            // Threads and not only the process: its first one may have ended while others are
            // beyond reach.
            for task in tasks.into_iter().flatten().flatten().flatten() {
                let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
                let state = stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
                if !matches!(state, None | Some('Z' | 'X')) {
                    remains.push(format!("{name}: {stat}"));
                }
            }
        }
        // Mounts last as long as there is somebody in their namespace.
        for entry in fs::read_dir("/proc").expect("/proc is there").flatten() {
            let inside = fs::metadata(entry.path().join("ns/mnt"));
            let same =
                |other: &fs::Metadata| (other.dev(), other.ino()) == (self.namespace.dev(), self.namespace.ino());
            if inside.is_ok_and(|other| same(&other)) {
                remains.push(format!("a process in its mount namespace: {}", entry.path().display()));
            }
        }
        let image = format!("unstoppable-{}.ext4", self.numbers["keeper"]);
        for device in fs::read_dir("/sys/block").expect("/sys is there").flatten() {
            let file = fs::read_to_string(device.path().join("loop/backing_file")).unwrap_or_default();
            if file.contains(&image) {
                remains.push(format!("{}: {file}", device.path().display()));
            }
        }
        if let Some(connection) = self.get("connection").filter(|number| fuse_connections().contains(number)) {
            remains.push(format!("FUSE connection {connection}"));
        }
        remains
    }

    /// Waits until nothing is left of it.
    pub fn await_end(&self, what: &str) {
        let mut remains = Vec::new();
        until_or_else(PATIENCE, || {
            remains = self.remains();
            remains.is_empty()
        });
        assert!(remains.is_empty(), "{what} leaves {remains:?}");
    }
}

/// Waits until a condition holds, or this time is over.
fn until_or_else(limit: Duration, mut condition: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !condition() && begun.elapsed() < limit {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The numbers of all FUSE connections; looked at where no other process sees the mount that takes.
fn fuse_connections() -> Vec<u32> {
    let script = "mount -t fusectl none /sys/fs/fuse/connections 2>/dev/null; ls /sys/fs/fuse/connections";
    let output = Command::new("unshare").args(["--mount", "sh", "-c", script]).output().expect("unshare is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().filter_map(|line| line.parse().ok()).collect()
}

/// A fixture that runs, and is ended, and has ended, when the test ends.
pub struct Fixture {
    pub mode: &'static str,
    pub facts: Facts,
    keeper: Child,
    input: Option<ChildStdin>,
    counters: Counters,
    directory: TempDir,
}

impl Fixture {
    /// None, and a loud word, if this machine has no such thing.
    pub fn start(mode: &'static str, seconds: u32) -> Option<Self> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut keeper = program(mode, directory.path(), seconds)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the victim was just compiled");
        let input = keeper.stdin.take();
        let mut output = BufReader::new(keeper.stdout.take().expect("its output is piped"));
        let Some(facts) = Facts::read(mode, &mut output) else {
            // It reaps no more than itself.
            let _ = keeper.wait();
            return None;
        };
        let shared = format!("/proc/{}/fd/{}", facts.numbers["guard"], facts.numbers["shared"]);
        let counters = Counters::open(Path::new(&shared));
        Some(Self { mode, facts, keeper, input, counters, directory })
    }

    pub fn target(&self) -> u32 {
        self.facts.numbers["target"]
    }

    /// The thread that cannot be stopped.
    pub fn blocked(&self) -> u32 {
        self.facts.numbers["blocked"]
    }

    /// Its threads, from /proc.
    pub fn threads(&self) -> Vec<u32> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.target())).expect("the target is there");
        let number = |task: fs::DirEntry| task.file_name().to_str().and_then(|name| name.parse().ok());
        tasks.map(|task| number(task.expect("an entry")).expect("a number")).collect()
    }

    /// Waits until the thread that runs has made some turns, and no thread is traced.
    pub fn await_undisturbed(&self) {
        let turns = self.counters.get(0);
        until(&format!("{}: its thread that runs goes on", self.mode), PATIENCE, || self.counters.get(0) > turns + 3);
        until(&format!("{}: nobody traces it", self.mode), PATIENCE, || {
            self.threads().into_iter().all(|thread| {
                let path = format!("/proc/{}/task/{thread}/status", self.target());
                let status = fs::read_to_string(path).expect("the thread is there");
                status.lines().any(|line| line == "TracerPid:\t0")
            })
        });
    }

    /// Ends it, and makes sure that nothing of it is left.
    pub fn end(mut self) {
        drop(self.input.take());
        let mode = self.mode;
        until(&format!("{mode} ends"), PATIENCE, || self.keeper.try_wait().expect("it is our child").is_some());
        let status = self.keeper.wait().expect("it is our child");
        assert!(status.success(), "{mode}: {status}");
        self.facts.await_end(mode);
        let left = fs::read_dir(self.directory.path()).expect("the directory is there").count();
        assert_eq!(left, 0, "{mode} leaves files in its directory");
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        drop(self.input.take());
        // The guard ends everything now or when its time is over. A test that fails must not wait
        // for ever on top of it.
        until_or_else(PATIENCE, || !matches!(self.keeper.try_wait(), Ok(None)));
    }
}

/// Prints what a fixture says of itself up to `ready`, for a reader of the output of this test
/// run.
pub fn pass_on(output: &mut impl Read) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        println!("{line}");
        if line == "ready" {
            return;
        }
    }
}
