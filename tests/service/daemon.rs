//! A daemon that runs beside the test, and the services that it looks at.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::support::{PATIENCE, hangsnap, run};

/// A `hangsnap run` with a directory of its own; killed when the test ends.
pub struct Daemon {
    child: Child,
    lines: Receiver<(Instant, String)>,
    seen: Vec<String>,
    place: tempfile::TempDir,
}

impl Daemon {
    /// Starts it with this configuration, in which `@` is its directory.
    pub fn start(config: &str) -> Self {
        Self::start_in(tempfile::tempdir().expect("a directory"), config)
    }

    /// The same, in a directory that has been one's before.
    pub fn start_in(place: tempfile::TempDir, config: &str) -> Self {
        Self::write_config(place.path(), config);
        let mut child = hangsnap()
            .args(["run", "--config"])
            .arg(place.path().join("hangsnap.toml"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("hangsnap can be started");
        let output = BufReader::new(child.stderr.take().expect("it is piped"));
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send((Instant::now(), line)).is_err() {
                    break;
                }
            }
        });
        Self { child, lines, seen: Vec::new(), place }
    }

    fn write_config(place: &Path, config: &str) {
        let at = place.to_str().expect("a path");
        let whole = format!("output = \"{at}/recordings\"\nsocket = \"{at}/control\"\n{}", config.replace('@', at));
        fs::write(place.join("hangsnap.toml"), whole).expect("it can be written");
    }

    /// Has it read another configuration.
    pub fn reload(&mut self, config: &str) {
        Self::write_config(self.place.path(), config);
        self.signal(Signal::SIGHUP);
    }

    pub fn place(&self) -> &Path {
        self.place.path()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).expect("a pid")), signal).expect("it is there");
    }

    /// Waits for a line that holds this text, and says when it came.
    pub fn line_with(&mut self, text: &str) -> (Instant, String) {
        let limit = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(limit.saturating_duration_since(Instant::now())) {
                Ok((at, line)) => {
                    self.seen.push(line.clone());
                    if line.contains(text) {
                        return (at, line);
                    }
                }
                Err(why) => panic!("no line with `{text}` ({why}) in:\n{}", self.seen.join("\n")),
            }
        }
    }

    /// All that it has said so far.
    pub fn said(&mut self) -> Vec<String> {
        self.seen.extend(self.lines.try_iter().map(|(_, line)| line));
        self.seen.clone()
    }

    pub fn status(&self) -> Value {
        let output = run(hangsnap().arg("status").arg("--json").arg("--socket").arg(self.place().join("control")));
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    /// Waits until its status is so.
    pub fn until(&self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let status = self.status();
            if condition(&status) {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}: {status:#}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until this number of targets has been sampled.
    pub fn until_targets(&self, count: usize) -> Value {
        self.until(&format!("{count} targets are sampled"), |status| {
            let sampled = |targets: &Vec<Value>| targets.iter().all(|target| target["snapshots"].as_u64() > Some(0));
            status["targets"].as_array().is_some_and(|targets| targets.len() == count && sampled(targets))
        })
    }

    pub fn order(&self, words: &[&str]) -> String {
        let output = run(hangsnap().args(words).arg("--socket").arg(self.place().join("control")));
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    /// The files in its directory with this ending, oldest first.
    pub fn files(&self, ending: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.place().join("recordings")).into_iter().flatten();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
        files.retain(|file| file.extension().is_some_and(|found| found == ending));
        files.sort_unstable();
        files
    }

    /// Kills it, and gives its directory to the next.
    pub fn kill(mut self) -> tempfile::TempDir {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
        let place = tempfile::tempdir().expect("a directory");
        std::mem::replace(&mut self.place, place)
    }

    /// Ends it in order, and gives its directory to the next.
    pub fn end(mut self) -> tempfile::TempDir {
        self.signal(Signal::SIGTERM);
        let status = self.child.wait().expect("it is our child");
        assert!(status.success(), "{status}: {}", self.said().join("\n"));
        let place = tempfile::tempdir().expect("a directory");
        std::mem::replace(&mut self.place, place)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that nothing listens at.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address").port()
}

/// Whether a program is there; if not, that is said loudly.
pub fn is_there(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output();
    let is_there = found.is_ok_and(|output| output.status.success());
    if !is_there {
        eprintln!("SKIPPED: {program} is not here; tests/run installs it");
    }
    is_there
}
