//! A process's directory below /proc.

use std::fs;
use std::io::Read;
use std::path::PathBuf;

use procfs::process::{Process as Directory, all_processes};

use super::{Error, MemoryMap, ThreadDir};
use crate::model::{Pid, Process, ProcessId, StartTime, ThreadState, Tid};

/// The opened directory of one process. Once the process is gone every read fails, even if the pid is given out again.
pub struct ProcDir {
    directory: Directory,
    pid: Pid,
}

/// Who traces a process already.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TracerOf {
    pub pid: Pid,
    pub name: String,
}

impl TracerOf {
    /// From the number in `TracerPid:` of /proc/PID/status: 0 when there is no tracer, else the thread that traces, which
    /// need not be its program's main thread.
    pub(super) fn from_status(tid: i32) -> Option<Self> {
        let process = |tid| Directory::new(tid).and_then(|directory| directory.status()).ok();
        (tid != 0)
            .then(|| Self { pid: Pid(process(tid).map_or(tid, |status| status.tgid)), name: thread_name(Tid(tid)) })
    }
}

impl ProcDir {
    pub fn open(pid: Pid) -> Result<Self, Error> {
        Ok(Self { directory: Directory::new(pid.0)?, pid })
    }

    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Which process this is.
    pub fn id(&self) -> Result<ProcessId, Error> {
        let stat = self.directory.stat()?;
        Ok(ProcessId { pid: self.pid, start: StartTime(stat.starttime) })
    }

    /// What the process calls itself and was started as; these change when it executes another program.
    pub fn describe(&self) -> Result<Process, Error> {
        let status = self.directory.status()?;
        let inner_pid = status.nspid.as_ref().and_then(|pids| pids.last().copied()).unwrap_or(self.pid.0);
        // A main thread that has exited has lost its program; its siblings run it still.
        let owner = self.memory_owner()?;
        let executable = fs::read_link(format!("/proc/{}/task/{owner}/exe", self.pid))
            .map(|path| path.to_string_lossy().into_owned())
            .unwrap_or_default();
        let command = self.command(owner)?;
        Ok(Process { id: self.id()?, inner_pid, name: status.name, executable, command })
    }

    fn command(&self, owner: Tid) -> Result<Vec<String>, Error> {
        let bytes = self.read(&format!("task/{owner}/cmdline"))?;
        let bytes = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
        if bytes.is_empty() {
            return Ok(Vec::new());
        }
        Ok(bytes.split(|&byte| byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect())
    }

    pub fn memory_map(&self) -> Result<MemoryMap, Error> {
        let owner = self.memory_owner()?;
        MemoryMap::parse(&self.read(&format!("task/{owner}/maps"))?)
    }

    /// A thread through which the process's memory can be reached: the main thread unless it has exited, which leaves it
    /// without memory while its siblings run on.
    pub fn memory_owner(&self) -> Result<Tid, Error> {
        let main = self.pid.main_thread();
        if self.state()? != ThreadState::Zombie {
            return Ok(main);
        }
        let alive = |tid: &Tid| {
            self.thread(*tid)
                .and_then(|thread| thread.status())
                .is_ok_and(|status| !matches!(status.state, ThreadState::Zombie | ThreadState::Dead))
        };
        Ok(self.threads()?.into_iter().find(alive).unwrap_or(main))
    }

    /// The root of the directory tree that the process sees. Opening a file below it needs no more than ptrace access.
    pub fn root(&self) -> PathBuf {
        let owner = self.memory_owner().unwrap_or(self.pid.main_thread());
        PathBuf::from(format!("/proc/{}/task/{owner}/root", self.pid))
    }

    /// The process a thread id belongs to; its own id when it is a process.
    pub fn thread_group(&self) -> Result<Pid, Error> {
        Ok(Pid(self.directory.status()?.tgid))
    }

    /// The ids of all threads, sorted, as far as one look at the directory tells.
    pub fn threads(&self) -> Result<Vec<Tid>, Error> {
        let mut tids: Vec<Tid> = fs::read_dir(format!("/proc/{}/task", self.pid))?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok().map(Tid))
            .collect();
        tids.sort_unstable();
        // The pid may have gone to another process since this directory was opened; then what was listed is not ours.
        self.directory.stat()?;
        Ok(tids)
    }

    /// Whether any thread is in this state now. Reads no more than it takes: it is asked before every snapshot.
    pub fn any_thread_in(&self, state: ThreadState) -> Result<bool, Error> {
        let letter = |tid: &Tid| {
            let stat = fs::read(format!("/proc/{}/task/{tid}/stat", self.pid)).ok()?;
            // The name before the state may hold anything, a parenthesis too, but what follows it does not.
            let after_name = stat.iter().rposition(|&byte| byte == b')')?;
            stat.get(after_name + 2).copied()
        };
        Ok(self.threads()?.iter().filter_map(letter).any(|letter| ThreadState::from_letter(letter.into()) == state))
    }

    /// The processes that this one has started and that have not ended, sorted. Empty where the kernel does not tell
    /// (CONFIG_PROC_CHILDREN).
    pub fn children(&self) -> Result<Vec<Pid>, Error> {
        let mut children: Vec<Pid> = self
            .threads()?
            .into_iter()
            .filter_map(|tid| self.thread(tid).and_then(|thread| thread.children()).ok())
            .flatten()
            .collect();
        children.sort_unstable();
        Ok(children)
    }

    pub fn thread(&self, tid: Tid) -> Result<ThreadDir, Error> {
        Ok(ThreadDir::new(self.directory.task_from_tid(tid.0)?))
    }

    /// The program that traces this process's main thread, if one does.
    pub fn tracer(&self) -> Result<Option<TracerOf>, Error> {
        Ok(TracerOf::from_status(self.directory.status()?.tracerpid))
    }

    /// The state of the main thread.
    pub fn state(&self) -> Result<ThreadState, Error> {
        Ok(ThreadState::from_letter(self.directory.stat()?.state))
    }

    /// The first bytes of the program, enough to see which class of ELF it is. None where it cannot be read.
    pub fn executable_head(&self) -> Option<[u8; 5]> {
        let mut head = [0; 5];
        let owner = self.memory_owner().ok()?;
        fs::File::open(format!("/proc/{}/task/{owner}/exe", self.pid)).ok()?.read_exact(&mut head).ok()?;
        Some(head)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.directory.open_relative(name)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// What a thread or process calls itself; empty when it is gone.
pub fn thread_name(tid: Tid) -> String {
    let name = fs::read(format!("/proc/{tid}/comm")).unwrap_or_default();
    String::from_utf8_lossy(&name).trim_end_matches('\n').to_owned()
}

/// The processes of which one of the names (what it calls itself, or the last component of its program's path) is this.
pub fn names_matching(name: &str) -> Result<Vec<Pid>, Error> {
    let mut pids: Vec<Pid> = all_processes()?
        .filter_map(Result::ok)
        .filter(|process| {
            let calls_itself = process.stat().is_ok_and(|stat| stat.comm == name);
            calls_itself || process.exe().is_ok_and(|path| path.file_name().is_some_and(|file| file == name))
        })
        .map(|process| Pid(process.pid))
        .collect();
    pids.sort_unstable();
    Ok(pids)
}
