//! From what the user typed to one live process.

use std::fmt;
use std::fs::File;
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::kill;

use super::TimeoutWorker;
use super::loaded::headers_of;
use crate::elf::FileImage;
use crate::model::{Pid, Process, ProcessId, StopMode};
use crate::proc::{self, Backing, MemoryMap, ProcDir};

/// ELF's class byte for 64-bit programs.
const ELF_CLASS_64: u8 = 2;

/// A process as the user names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// By its id.
    Pid(Pid),
    /// A program that is running once.
    Program(String),
}

impl FromStr for Wanted {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse::<i32>() {
            Ok(pid) if pid > 0 => Ok(Self::Pid(Pid(pid))),
            Ok(_) => Err("a process id is greater than zero".into()),
            Err(_) if text.is_empty() || text.bytes().all(|byte| byte.is_ascii_digit()) => {
                Err("neither a process id nor the name of a program".into())
            }
            Err(_) => Ok(Self::Program(text.into())),
        }
    }
}

impl Wanted {
    /// The process id that is meant; whether there is such a process is not looked at if it was
    /// named by its id.
    pub(crate) fn find(&self) -> Result<Pid, Error> {
        match self {
            Self::Pid(pid) => Ok(*pid),
            Self::Program(name) => find_program(name),
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pid(pid) => pid.fmt(f),
            Self::Program(name) => f.write_str(name),
        }
    }
}

/// Why a process cannot be looked at. Each message ends in what would help.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each says what it is")]
pub enum Error {
    #[error("no process {0}; `ps -e` lists the ones there are")]
    NoSuchProcess(Pid),
    #[error(
        "no process {pid}, or /proc, mounted with hidepid={option}, hides it: run hangsnap as the same user, with \
         CAP_SYS_PTRACE, or in the group that the mount's gid= names"
    )]
    HiddenProcess { pid: Pid, option: String },
    #[error("no program called `{0}` is running; `ps -e` lists the ones that are")]
    NoSuchProgram(String),
    #[error("`{name}` is running more than once (pids {pids}); choose one with --pid PID, or all with --name {name}")]
    Ambiguous { name: String, pids: String },
    #[error("{tid} is a thread of process {process}; use --pid {process}")]
    Thread { tid: Pid, process: Pid },
    #[error("{0} is hangsnap itself; a process cannot trace its own threads")]
    Itself(Pid),
    #[error(
        "cannot trace {pid} ({name}): it is a thread of the kernel, which has no user stack; see /proc/{pid}/stack"
    )]
    KernelThread { pid: Pid, name: String },
    #[error("cannot trace {pid} ({name}): it has exited and only waits for its parent to collect its status")]
    Zombie { pid: Pid, name: String },
    #[error("cannot trace {pid} ({name}): it is a 32-bit program, and hangsnap reads 64-bit ones only; use gdb")]
    ThirtyTwoBit { pid: Pid, name: String },
    #[error(
        "cannot trace {pid} ({name}): already traced by {tracer_name} (pid {tracer}); stop that, or use --stop none"
    )]
    AlreadyTraced { pid: Pid, name: String, tracer: Pid, tracer_name: String },
    #[error(
        "cannot trace {pid} ({name}): not permitted; run hangsnap as root, as the same user, or with CAP_SYS_PTRACE in \
         the user namespace of the process (in a sidecar: share its PID namespace too)"
    )]
    NotPermitted { pid: Pid, name: String },
    #[error(
        "/proc is that of another PID namespace, where process ids mean other processes; mount one of this namespace \
         (`mount -t proc proc /proc`)"
    )]
    ForeignProc,
    #[error("cannot read /proc/{pid} ({reason}); is /proc mounted, and for this PID namespace?")]
    Unreadable { pid: Pid, reason: String },
    #[error("cannot read /proc/self ({reason}); is /proc mounted, and for this PID namespace?")]
    OwnProcess { reason: String },
}

/// For so long a process is looked at again that seems to have gone although its pid is taken: when
/// a thread that is not the main thread executes a program, it takes that one's place between two
/// looks.
const EXECUTING: Duration = Duration::from_millis(100);

/// A process that was there and could be looked at when it was opened.
pub struct Target {
    /// Its opened directory in /proc.
    pub directory: ProcDir,
    /// What it was when it was opened.
    pub process: Process,
}

impl Target {
    /// Opens a process that is to be looked at in this way.
    pub fn open(wanted: &Wanted, stop: StopMode) -> Result<Self, Error> {
        if !proc::is_our_own() {
            return Err(Error::ForeignProc);
        }
        let pid = wanted.find()?;
        if u32::try_from(pid.0) == Ok(std::process::id()) {
            return Err(Error::Itself(pid));
        }
        let begun = Instant::now();
        loop {
            match Self::open_at_once(pid, stop) {
                Err(error) if error.may_pass() && is_there(pid) && begun.elapsed() < EXECUTING => {
                    thread::sleep(Duration::from_millis(1));
                }
                opened => return opened,
            }
        }
    }

    fn open_at_once(pid: Pid, stop: StopMode) -> Result<Self, Error> {
        let gone = |error| explain(pid, error);
        let directory = ProcDir::open(pid).map_err(gone)?;
        let process = directory.describe().map_err(gone)?;
        let name = process.name.clone();
        let group = directory.thread_group().map_err(gone)?;
        if group != pid {
            return Err(Error::Thread { tid: pid, process: group });
        }
        if directory.has_exited().map_err(gone)? {
            return Err(Error::Zombie { pid, name });
        }
        if directory.is_kernel_thread().map_err(gone)? {
            return Err(Error::KernelThread { pid, name });
        }
        if let Some(tracer) = directory.tracer().map_err(gone)?
            && stop != StopMode::None
        {
            return Err(Error::AlreadyTraced { pid, name, tracer: tracer.pid, tracer_name: tracer.name });
        }
        match directory.permits_access() {
            Ok(()) => {}
            Err(proc::Error::NotPermitted) => return Err(Error::NotPermitted { pid, name }),
            Err(error) => return Err(gone(error)),
        }
        if directory.executable_head().is_some_and(|head| head[..4] == *b"\x7fELF" && head[4] != ELF_CLASS_64) {
            return Err(Error::ThirtyTwoBit { pid, name });
        }
        Ok(Self { directory, process })
    }

    /// Its id.
    pub fn pid(&self) -> Pid {
        self.directory.pid()
    }

    /// Whether Go built the program that it executes, as far as that shows.
    pub fn is_go(&self) -> bool {
        let Some(path) = self.directory.executable() else {
            return false;
        };
        let look = move || {
            let file = File::open(path).ok()?;
            let headers = headers_of(&file).ok()?;
            Some(headers.is_go(&FileImage { file: &file, headers: &headers }))
        };
        TimeoutWorker::default().file(look).flatten().unwrap_or(false)
    }

    /// Finds the path of the C library that it has loaded, as its memory map shows it. What is
    /// returned may be called while the process is being looked at, and may have to wait for its
    /// memory map.
    pub fn c_library(&self) -> impl FnOnce() -> Option<String> + Send + 'static {
        let pid = self.pid();
        move || {
            let map = MemoryMap::parse(&ProcDir::open(pid).ok()?.maps().ok()?).ok()?;
            map.iter().find_map(|mapping| match &mapping.backing {
                Backing::File { path, .. } if is_c_library(path) => Some(path.clone()),
                _ => None,
            })
        }
    }

    /// The error for a process whose every thread the kernel refused to hold.
    pub fn refused(&self) -> Error {
        Error::NotPermitted { pid: self.pid(), name: self.process.name.clone() }
    }

    /// Whether the process is still there, as the process it was.
    ///
    /// When a thread that is not the main thread executes a program, it takes the main thread's
    /// place between one look and the next, so what seems to have ended is looked at again.
    pub fn is_alive(&self) -> bool {
        self.seems_alive() || self.seems_alive()
    }

    fn seems_alive(&self) -> bool {
        let still: Result<ProcessId, _> = self.directory.id();
        still.is_ok_and(|id| id == self.process.id) && self.directory.has_exited().is_ok_and(|exited| !exited)
    }
}

impl Error {
    /// Whether a process may seem so only while it executes another program.
    fn may_pass(&self) -> bool {
        matches!(self, Self::NoSuchProcess(_) | Self::Unreadable { .. })
    }
}

/// By the names that glibc and musl have.
fn is_c_library(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name == "libc.so.6" || name.starts_with("libc-2.") || name.starts_with("ld-musl-")
}

fn is_there(pid: Pid) -> bool {
    kill(nix::unistd::Pid::from_raw(pid.0), None) != Err(Errno::ESRCH)
}

fn find_program(name: &str) -> Result<Pid, Error> {
    let unreadable = |error: proc::Error| Error::Unreadable { pid: Pid(1), reason: error.to_string() };
    let own = std::process::id();
    let pids: Vec<Pid> = proc::names_matching(name)
        .map_err(unreadable)?
        .into_iter()
        .filter(|pid| u32::try_from(pid.0) != Ok(own))
        .collect();
    match pids.as_slice() {
        [] => Err(Error::NoSuchProgram(name.into())),
        [pid] => Ok(*pid),
        several => {
            let pids: Vec<String> = several.iter().map(ToString::to_string).collect();
            Err(Error::Ambiguous { name: name.into(), pids: pids.join(", ") })
        }
    }
}

pub(crate) fn explain(pid: Pid, error: proc::Error) -> Error {
    match error {
        proc::Error::Gone => Error::NoSuchProcess(pid),
        proc::Error::NotPermitted => Error::NotPermitted { pid, name: proc::thread_name(pid.main_thread()) },
        proc::Error::Other(reason) => Error::Unreadable { pid, reason },
    }
}
