//! What `hangsnap doctor` says of a process is what happens when hangsnap, with the same rights, is
//! let loose on it.
//!
//! Rights are real ones: users, capabilities, user namespaces, seccomp filters. What each allows is
//! written down here as the kernel's manual has it, tried with other programs, and compared with
//! what the doctor says.

mod containers;
mod hosts;
mod rights;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::{Victim, compile, hangsnap, run};

/// Programs where every user may run them.
struct Programs {
    directory: tempfile::TempDir,
}

impl Programs {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("our own directory");
        let programs = Self { directory };
        for (name, program) in [
            ("hangsnap", PathBuf::from(hangsnap().get_program())),
            ("sleeper", compile("gcc", "sleeper.c", &["-O1", "-g", "-pthread"])),
            ("filtered", compile("gcc", "filtered.c", &["-O1"])),
        ] {
            fs::copy(&program, programs.path(name)).expect("it was just built");
            fs::set_permissions(programs.path(name), fs::Permissions::from_mode(0o755)).expect("our own file");
        }
        programs
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn hangsnap(&self) -> PathBuf {
        self.path("hangsnap")
    }

    fn sleeper(&self, before: &[&str], argument: &str) -> Victim {
        Victim::start(with(before, &self.path("sleeper")).args((!argument.is_empty()).then_some(argument)))
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").expect("/proc is mounted").uid() == 0
}

/// A program that is run with the rights that the words before it leave it.
fn with(before: &[&str], program: &Path) -> Command {
    let Some((first, rest)) = before.split_first() else {
        return Command::new(program);
    };
    let mut command = Command::new(first);
    command.args(rest).arg(program);
    command
}

/// What the doctor says.
struct Said {
    document: Value,
    code: i32,
}

impl Said {
    fn of(before: &[&str], programs: &Programs, pid: &str) -> Self {
        let output = run(with(before, &programs.hangsnap()).args(["doctor", "--json", "--pid", pid]));
        let code = output.status.code().unwrap_or_else(|| panic!("{before:?}: the doctor was killed: {output:?}"));
        let document = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        Self { document, code }
    }

    fn check(&self, about: &str, name: &str) -> &Value {
        let checks = self.document["checks"].as_array().expect("checks");
        let found = checks.iter().find(|check| check["about"] == about && check["name"] == name);
        found.unwrap_or_else(|| panic!("no check {name} about {about} in {}", self.document))
    }

    fn status(&self, about: &str, name: &str) -> &str {
        self.check(about, name)["status"].as_str().expect("a status")
    }

    fn has(&self, about: &str, name: &str) -> bool {
        match self.status(about, name) {
            "ok" => true,
            "missing" => false,
            other => panic!("{name} is {other}: {}", self.document),
        }
    }

    fn snapshot(&self) -> &str {
        self.document["snapshot"].as_str().expect("a verdict")
    }

    fn limits(&self) -> Vec<&str> {
        self.document["limits"].as_array().expect("limits").iter().filter_map(Value::as_str).collect()
    }
}

/// What hangsnap says of a thread that it held without the right to go before other programs, while
/// they kept it waiting.
const HELD_UP: &str = "before it was captured (--max-hold)";

/// Lets hangsnap do with the same rights what the doctor has said of it.
fn assert_true(said: &Said, before: &[&str], programs: &Programs, pid: &str) {
    let output = run(with(before, &programs.hangsnap()).args(["--pid", pid, "--json"]));
    let tell = || format!("{before:?}: said {}, and did {output:?}", said.document);
    match said.snapshot() {
        "complete" => {
            assert_eq!(said.code, 0, "{}", tell());
            assert_eq!(said.limits(), [""; 0], "{}", tell());
            assert_eq!(unexpected(said, notices(&output)), [""; 0], "nothing is missing: {}", tell());
        }
        "limited" => {
            assert_eq!(said.code, 1, "{}", tell());
            // Either its system calls are not known, and that is said, or it could not be stopped,
            // and was not.
            let unknown_calls = !said.has("process", "call-file");
            let notices = unexpected(said, notices(&output));
            let told = notices.iter().filter(|notice| notice.contains("system call")).count();
            assert_eq!((told, notices.len()), (usize::from(unknown_calls), usize::from(unknown_calls)), "{}", tell());
            assert_eq!(said.limits().concat().contains("EINTR"), unknown_calls, "{}", tell());
        }
        "impossible" => {
            assert_eq!(said.code, 1, "{}", tell());
            assert_eq!(output.status.code(), Some(2), "{}", tell());
            let complaint = String::from_utf8_lossy(&output.stderr);
            assert_eq!(complaint, format!("hangsnap: {}\n", said.limits()[0]), "{}", tell());
        }
        other => panic!("{other}: {}", tell()),
    }
}

/// Notices that the doctor has not foretold.
fn unexpected(said: &Said, mut notices: Vec<String>) -> Vec<String> {
    if !said.has("host", "real-time") {
        notices.retain(|notice| !notice.contains(HELD_UP));
    }
    notices
}

/// What a snapshot that must have been taken says it could not see. Every thread without a notice
/// has a whole stack.
fn notices(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{output:?}");
    let snapshot: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let notices = snapshot["notices"].as_array().expect("notices");
    for thread in snapshot["threads"].as_array().expect("threads") {
        let is_whole = thread["incomplete"].is_null() && thread["frames"].as_array().is_some_and(|f| !f.is_empty());
        assert!(is_whole || notices.iter().any(|notice| notice["tid"] == thread["tid"]), "{thread}");
    }
    notices.iter().map(|notice| notice["text"].to_string()).collect()
}
