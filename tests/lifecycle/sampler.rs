//! A sampler that runs beside the test: what it says, line by line, and how it ends.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub use crate::support::PATIENCE;
use crate::support::Victim;

/// A hangsnap that records, and is killed when the test ends.
pub struct Sampler {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Sampler {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("hangsnap can be started");
        let output = BufReader::new(child.stdout.take().expect("its output is piped"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            // Ends when the sampler closes its output, or the test no longer wants to know.
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, lines, seen: Vec::new() }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a pid"))
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("the sampler is there");
    }

    /// Waits for a line that holds this text.
    pub fn line_with(&mut self, text: &str) -> String {
        let limit = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(limit.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    self.seen.push(line.clone());
                    if line.contains(text) {
                        return line;
                    }
                }
                Err(why) => {
                    panic!("no line with `{text}` ({why}) in:\n{}\n{}", self.seen.join("\n"), self.complaints())
                }
            }
        }
    }

    /// Waits for this many more samples to be reported.
    pub fn samples(&mut self, wanted: u64) {
        for _ in 0..wanted {
            self.line_with("#");
        }
    }

    /// Waits until it has reported this many samples more than now.
    pub fn more_samples(&mut self, wanted: u64) {
        self.seen.extend(self.lines.try_iter());
        self.samples(wanted);
    }

    /// All that it complained of; ends it if it has not ended.
    fn complaints(&mut self) -> String {
        // It may have ended by itself.
        let _ = self.child.kill();
        let mut complaints = String::new();
        let mut errors = self.child.stderr.take().expect("its complaints are piped");
        errors.read_to_string(&mut complaints).expect("it complains in text");
        complaints
    }

    /// Waits for its end: how it ended, everything it said, and its complaints.
    pub fn end(mut self) -> Ended {
        let limit = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(limit.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    panic!("still sampling; the last it said: {:?}", self.seen.last())
                }
            }
        }
        let status = self.child.wait().expect("it is our child");
        let complaints = self.complaints();
        Ended { status, lines: std::mem::take(&mut self.seen), complaints }
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a sampler leaves.
pub struct Ended {
    pub status: ExitStatus,
    pub lines: Vec<String>,
    pub complaints: String,
}

impl Ended {
    /// It ended in order: exit code 0, no complaints, a summary as its last line, which is
    /// returned.
    pub fn in_order(&self) -> &str {
        assert_eq!(self.status.code(), Some(0), "{}\n{}", self.lines.join("\n"), self.complaints);
        assert_eq!(self.complaints, "");
        let last = self.lines.last().expect("it said something");
        assert!(
            last.contains("snapshot") && (last.contains("none held longer than") || last.contains("none held, ")),
            "no summary: {last}"
        );
        last
    }

    pub fn said(&self, text: &str) -> bool {
        self.lines.iter().any(|line| line.contains(text))
    }

    /// How many snapshots the summary says were stored.
    pub fn snapshots(&self) -> u64 {
        let summary = self.in_order();
        let (before, _) = summary.split_once(" snapshot").expect("a count of snapshots");
        before.rsplit(' ').next().and_then(|number| number.parse().ok()).expect("a number")
    }
}

/// Starts a victim that does what its input says, and waits until it is ready.
pub fn start_told(command: &mut Command) -> (Victim, ChildStdin) {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the victim was just compiled");
    let output = BufReader::new(child.stdout.take().expect("its output is piped"));
    let input = child.stdin.take().expect("its input is piped");
    let mut victim = Victim { child, output };
    await_line(&mut victim, "ready");
    (victim, input)
}

/// Reads what a victim prints until this line.
pub fn await_line(victim: &mut Victim, wanted: &str) {
    loop {
        let line = victim.line();
        assert!(!line.is_empty(), "it ended before it said `{wanted}`");
        if line.trim() == wanted {
            return;
        }
    }
}
