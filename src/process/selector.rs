//! Which processes a user means: criteria that a process meets or not.
//!
//! Promises: of a process only what a criterion asks for is read, and everything read is bounded.
//! hangsnap itself, what it starts, threads of the kernel and processes that have ended are never
//! meant.
//!
//! Does not look for processes: `discovery` does.

use std::fs::{self, File};
use std::io::Read;

use regex_lite::Regex;

use super::cgroup::Cgroup;
use super::container_names::{ids_of_container, uids_of_pod};
use crate::model::{Pid, is_called, is_like, text_of, text_of_os};
use crate::proc::thread_name;

/// What is compared of a command line.
const LONGEST_COMMAND: u64 = 64 << 10;
/// Fewer characters of a container's id mean too many.
const SHORTEST_ID: usize = 6;

/// One property of a process.
#[derive(Clone, Debug)]
pub enum Criterion {
    /// This process.
    Pid(Pid),
    /// A program of this name: what it calls itself or the last part of its path; `*` and `?`.
    Name(String),
    /// A program of this path; `*` and `?`.
    Executable(String),
    /// A command line, its words with spaces between them, in which this is found.
    Command(Regex),
    /// In this systemd unit, or a group below it.
    Unit(String),
    /// In the control group of this path, or one below it.
    Cgroup(String),
    /// In the container of this id (its first characters suffice) or name.
    Container(String),
    /// In a container of this pod.
    Pod {
        /// The namespace.
        namespace: String,
        /// The name, or the UID.
        name: String,
    },
    /// Whatever hangsnap sees in its PID namespace.
    AllInNamespace,
}

/// Processes that meet all of several criteria.
#[derive(Clone, Debug)]
pub struct Selector {
    /// As the user typed it; a name for these processes in messages.
    pub label: String,
    criteria: Vec<Criterion>,
    /// Whether what they have started is meant, too.
    pub with_children: bool,
}

impl Criterion {
    /// From the name of an option (`unit`) and its value. Errors say what to write.
    pub fn parse(option: &str, value: &str) -> Result<Self, String> {
        if value.is_empty() {
            return Err("empty; it would mean no process".into());
        }
        Ok(match option {
            "pid" => match value.parse() {
                Ok(pid) if pid > 0 => Self::Pid(Pid(pid)),
                _ => return Err("not a process id; use --name for the name of a program".into()),
            },
            "name" => Self::Name(value.into()),
            "exe" if value.starts_with(['/', '*']) => Self::Executable(value.into()),
            "exe" => return Err(format!("a path begins with / or *, as in */{value}")),
            "cmd" => Self::Command(Regex::new(value).map_err(|error| one_line(&error.to_string()))?),
            "unit" if value.contains('.') => Self::Unit(value.into()),
            "unit" => Self::Unit(format!("{value}.service")),
            "cgroup" => Self::Cgroup(value.into()),
            "container" if is_id(value) && value.len() < SHORTEST_ID => {
                return Err(format!("give at least {SHORTEST_ID} characters of a container's id"));
            }
            "container" => Self::Container(value.into()),
            "pod" => match value.split_once('/') {
                Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                    Self::Pod { namespace: namespace.into(), name: name.into() }
                }
                _ => return Err("write NAMESPACE/NAME, as in default/web-0".into()),
            },
            "all-in-namespace" => Self::AllInNamespace,
            _ => return Err("no such criterion".into()),
        })
    }

    fn is_met_by(&self, candidate: &mut Candidate) -> bool {
        match self {
            Self::Pid(pid) => candidate.pid == *pid,
            Self::Name(name) => {
                let is_it = |called: &str| is_called(called, name) || is_like(called, name);
                is_it(&thread_name(candidate.pid.main_thread()))
                    || candidate.executable().rsplit('/').next().is_some_and(is_it)
            }
            Self::Executable(pattern) => is_like(candidate.executable(), pattern),
            Self::Command(expression) => expression.is_match(candidate.command()),
            Self::Unit(unit) => candidate.cgroup().is_in_unit(unit),
            Self::Cgroup(path) => candidate.cgroup().is_below(path),
            Self::Container(wanted) => {
                let Some(id) = candidate.cgroup().container() else { return false };
                is_id(wanted) && id.starts_with(wanted.as_str())
                    || ids_of_container(wanted).iter().any(|other| other == id)
            }
            Self::Pod { namespace, name } => {
                let Some(uid) = candidate.cgroup().pod() else { return false };
                uid == *name || uids_of_pod(namespace, name).contains(&uid)
            }
            Self::AllInNamespace => true,
        }
    }
}

impl Selector {
    /// Of at least one criterion.
    pub fn new(label: String, criteria: Vec<Criterion>, with_children: bool) -> Self {
        Self { label, criteria, with_children }
    }

    /// Whether the process meets all criteria now. Reading a command line may block for as long as
    /// the process keeps its memory map locked.
    pub fn means(&self, pid: Pid) -> bool {
        let mut candidate = Candidate { pid, executable: None, command: None, cgroup: None };
        !self.criteria.is_empty() && self.criteria.iter().all(|criterion| criterion.is_met_by(&mut candidate))
    }
}

fn is_id(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What has been read of a process.
struct Candidate {
    pid: Pid,
    executable: Option<String>,
    command: Option<String>,
    cgroup: Option<Cgroup>,
}

impl Candidate {
    fn executable(&mut self) -> &str {
        let pid = self.pid;
        self.executable.get_or_insert_with(|| {
            let path = fs::read_link(format!("/proc/{pid}/exe")).map(|path| text_of_os(path.as_os_str()));
            path.unwrap_or_default().trim_end_matches(" (deleted)").to_owned()
        })
    }

    fn command(&mut self) -> &str {
        let pid = self.pid;
        self.command.get_or_insert_with(|| {
            let mut bytes = Vec::new();
            if let Ok(file) = File::open(format!("/proc/{pid}/cmdline")) {
                // What could be read until an error is what there is.
                let _ = file.take(LONGEST_COMMAND).read_to_end(&mut bytes);
            }
            let words = bytes.strip_suffix(b"\0").unwrap_or(&bytes).split(|byte| *byte == 0);
            words.map(text_of).collect::<Vec<_>>().join(" ")
        })
    }

    fn cgroup(&mut self) -> &Cgroup {
        let pid = self.pid;
        self.cgroup.get_or_insert_with(|| Cgroup::of(pid))
    }
}
