//! A process's directory below /proc.

use std::borrow::Cow;
use std::ffi::CStr;
use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;

use nix::fcntl::AtFlags;
use nix::unistd::{AccessFlags, faccessat};
use procfs::FromRead;
use procfs::process::{Process as Directory, Stat, Status, all_processes};

use super::{Error, ThreadDir, thread};
use crate::model::{Pid, Process, ProcessId, StartTime, ThreadState, Tid, is_called, text_of, text_of_os};

/// The opened directory of one process. Once the process is gone every read fails, even if the pid
/// is given out again.
pub struct ProcDir {
    directory: Directory,
    tasks: fs::File,
    pid: Pid,
}

/// Which image of a program a process runs: another after each execve(2), of the same file too. It
/// is where the kernel has put the program's code, its data and its first stack (fields 26 to 28,
/// 45 and 46 of proc_pid_stat(5)); the stack at least lies somewhere else each time, unless
/// addresses are not randomized.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ImageId {
    code: [u64; 2],
    data: [Option<u64>; 2],
    stack: u64,
}

impl ImageId {
    pub(super) fn from_stat(stat: &Stat) -> Self {
        Self { code: [stat.startcode, stat.endcode], data: [stat.start_data, stat.end_data], stack: stat.startstack }
    }

    /// Whether the kernel has given it: to others it shows the same of all processes.
    pub(super) fn is_told(&self) -> bool {
        self.stack != 0
    }
}

/// Who traces a process already.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TracerOf {
    /// The tracer's process id.
    pub pid: Pid,
    /// `comm` of the thread that traces.
    pub name: String,
}

impl TracerOf {
    /// From the number in `TracerPid:` of /proc/PID/status: 0 when there is no tracer, else the
    /// thread that traces, which need not be its program's main thread.
    pub(super) fn from_status(tid: i32) -> Option<Self> {
        let process = |tid| status(&Directory::new(tid).ok()?).ok();
        (tid != 0)
            .then(|| Self { pid: Pid(process(tid).map_or(tid, |status| status.tgid)), name: thread_name(Tid(tid)) })
    }
}

impl ProcDir {
    /// Opens the directory of the process that has this id now.
    pub fn open(pid: Pid) -> Result<Self, Error> {
        let directory = Directory::new(pid.0)?;
        let tasks = fs::File::open(format!("/proc/{pid}/task"))?;
        // Both were opened by the pid; as long as the first is alive the second is of the same
        // process.
        stat(&directory)?;
        Ok(Self { directory, tasks, pid })
    }

    /// Its id.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Which process this is.
    pub fn id(&self) -> Result<ProcessId, Error> {
        let stat = stat(&self.directory)?;
        Ok(ProcessId { pid: self.pid, start: StartTime(stat.starttime) })
    }

    /// What the process calls itself and which program it runs; these change when it executes
    /// another. Its arguments lie in its own memory, and are read by `command`.
    pub fn describe(&self) -> Result<Process, Error> {
        let status = self.status()?;
        let inner_pid = status.nspid.as_ref().and_then(|pids| pids.last().copied()).unwrap_or(self.pid.0);
        // A main thread that has exited has lost its program; its siblings run it still.
        let owner = self.memory_owner()?;
        let executable = fs::read_link(format!("/proc/{}/task/{owner}/exe", self.pid))
            .map(|path| text_of_os(path.as_os_str()))
            .unwrap_or_default();
        Ok(Process { id: self.id()?, inner_pid, name: name_in(&self.read("stat")?)?, executable, command: Vec::new() })
    }

    /// Which image it runs. None at the moment when it has left one and the kernel has not loaded
    /// the next.
    pub fn image(&self) -> Result<Option<ImageId>, Error> {
        const PF_EXITING: u32 = 0x0000_0004;
        let owner = self.memory_owner()?;
        let stat = Stat::from_read(legible(&self.read(&format!("task/{owner}/stat"))?).as_bytes())?;
        if stat.flags & PF_EXITING != 0 {
            // It has given its memory up already.
            return Err(Error::Gone);
        }
        Ok((stat.startcode != 0).then_some(ImageId::from_stat(&stat)))
    }

    /// The arguments the process was started with. The kernel reads them in the process's memory,
    /// and waits for as long as somebody keeps the memory map locked.
    pub fn command(&self) -> Result<Vec<String>, Error> {
        let owner = self.memory_owner()?;
        let bytes = self.read(&format!("task/{owner}/cmdline"))?;
        let bytes = bytes.strip_suffix(b"\0").unwrap_or(&bytes);
        if bytes.is_empty() {
            return Ok(Vec::new());
        }
        Ok(bytes.split(|&byte| byte == 0).map(text_of).collect())
    }

    /// The text of /proc/PID/maps. Kernels before 6.17 write it with the memory map locked, and
    /// wait for that lock.
    pub fn maps(&self) -> Result<Vec<u8>, Error> {
        let owner = self.memory_owner()?;
        self.read(&format!("task/{owner}/maps"))
    }

    /// Whether the process may be looked at by ptrace's rules. Nothing is read, so there is nothing
    /// to wait for.
    pub fn permits_access(&self) -> Result<(), Error> {
        let owner = self.memory_owner()?;
        self.directory.open_relative(format!("task/{owner}/maps").as_str())?;
        Ok(())
    }

    /// Whether it is a thread of the kernel (PF_KTHREAD in field 9 of `stat`; linux/sched.h).
    pub fn is_kernel_thread(&self) -> Result<bool, Error> {
        const PF_KTHREAD: u32 = 0x0020_0000;
        Ok(stat(&self.directory)?.flags & PF_KTHREAD != 0)
    }

    /// A thread through which the process's memory can be reached: the main thread unless it has
    /// exited, which leaves it without memory while its siblings run on.
    pub fn memory_owner(&self) -> Result<Tid, Error> {
        let main = self.pid.main_thread();
        if self.state()? != ThreadState::Zombie {
            return Ok(main);
        }
        let alive = |tid: &Tid| {
            let state = self.thread(*tid).and_then(|thread| thread.state());
            state.is_ok_and(|state| !matches!(state, ThreadState::Zombie | ThreadState::Dead))
        };
        Ok(self.threads()?.into_iter().find(alive).unwrap_or(main))
    }

    /// The root of the directory tree that the process sees. Opening a file below it needs no more
    /// than ptrace access.
    pub fn root(&self) -> PathBuf {
        let owner = self.memory_owner().unwrap_or(self.pid.main_thread());
        PathBuf::from(format!("/proc/{}/task/{owner}/root", self.pid))
    }

    /// The process a thread id belongs to; its own id when it is a process.
    pub fn thread_group(&self) -> Result<Pid, Error> {
        Ok(Pid(self.status()?.tgid))
    }

    /// The ids of all threads, sorted, as far as one look at the directory shows.
    pub fn threads(&self) -> Result<Vec<Tid>, Error> {
        let mut tids: Vec<Tid> = fs::read_dir(format!("/proc/{}/task", self.pid))?
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok().map(Tid))
            .collect();
        tids.sort_unstable();
        // The pid may have gone to another process since this directory was opened; then what was
        // listed is not ours.
        stat(&self.directory)?;
        Ok(tids)
    }

    /// The processes that this one has started and that have not ended, sorted. Empty where the
    /// kernel does not say (CONFIG_PROC_CHILDREN).
    pub fn children(&self) -> Result<Vec<Pid>, Error> {
        let mut children: Vec<Pid> =
            self.threads()?.into_iter().filter_map(|tid| self.children_of(tid).ok()).flatten().collect();
        children.sort_unstable();
        Ok(children)
    }

    /// Those that one of its threads has started.
    pub fn children_of(&self, tid: Tid) -> Result<Vec<Pid>, Error> {
        thread::children(&self.tasks, tid)
    }

    /// Whether the thread is, now, one of this process. Allocates nothing: it is asked when the
    /// thread has been seized.
    pub fn has_thread(&self, tid: Tid) -> bool {
        let mut name = [0; 12];
        let mut rest = &mut name[..];
        let is_written = write!(rest, "{tid}").is_ok();
        let name = CStr::from_bytes_until_nul(&name);
        is_written && name.is_ok_and(|name| faccessat(&self.tasks, name, AccessFlags::F_OK, AtFlags::empty()).is_ok())
    }

    /// Opens the directory of one of its threads.
    pub fn thread(&self, tid: Tid) -> Result<ThreadDir, Error> {
        ThreadDir::open(&self.tasks, tid)
    }

    /// The program that traces this process's main thread, if one does.
    pub fn tracer(&self) -> Result<Option<TracerOf>, Error> {
        Ok(TracerOf::from_status(self.status()?.tracerpid))
    }

    /// The state of the main thread.
    pub fn state(&self) -> Result<ThreadState, Error> {
        Ok(ThreadState::from_letter(stat(&self.directory)?.state))
    }

    /// Whether all of its threads have ended, and it only waits for its parent.
    ///
    /// The state and the number of threads are of one look, for a main thread that has ended may be
    /// replaced at any moment by another that executes a program. Until then there are two of them;
    /// in what is left of the one that was replaced the kernel counts none (do_task_stat in
    /// fs/proc/array.c).
    pub fn has_exited(&self) -> Result<bool, Error> {
        const LOOKS: usize = 8;
        for _ in 0..LOOKS {
            let stat = stat(&self.directory)?;
            match (ThreadState::from_letter(stat.state), stat.num_threads) {
                (ThreadState::Zombie | ThreadState::Dead, 0) => {}
                (ThreadState::Zombie | ThreadState::Dead, threads) => return Ok(threads == 1),
                _ => return Ok(false),
            }
        }
        Err(Error::Gone)
    }

    /// The first bytes of the program, enough to see which class of ELF it is. None where it cannot
    /// be read.
    pub fn executable_head(&self) -> Option<[u8; 5]> {
        let mut head = [0; 5];
        fs::File::open(self.executable()?).ok()?.read_exact(&mut head).ok()?;
        Some(head)
    }

    /// By which path the file can be opened that the process executes, whatever has become of its
    /// name.
    pub fn executable(&self) -> Option<PathBuf> {
        let owner = self.memory_owner().ok()?;
        Some(format!("/proc/{}/task/{owner}/exe", self.pid).into())
    }

    pub(super) fn status(&self) -> Result<Status, Error> {
        status(&self.directory)
    }

    fn read(&self, name: &str) -> Result<Vec<u8>, Error> {
        read(&self.directory, name)
    }
}

fn read(directory: &Directory, name: &str) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    directory.open_relative(name)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn stat(directory: &Directory) -> Result<Stat, Error> {
    Ok(Stat::from_read(legible(&read(directory, "stat")?).as_bytes())?)
}

pub(super) fn status(directory: &Directory) -> Result<Status, Error> {
    Ok(Status::from_read(legible(&read(directory, "status")?).as_bytes())?)
}

/// For the procfs crate, which refuses what is not UTF-8. Only the name can be, and it is not
/// looked for there.
fn legible(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// The name in `stat`, which is between the first and the last parenthesis. (That in `status` has
/// escapes.)
fn name_in(stat: &[u8]) -> Result<String, Error> {
    let ends = stat.iter().position(|&byte| byte == b'(').zip(stat.iter().rposition(|&byte| byte == b')'));
    let name = ends.and_then(|(open, close)| stat.get(open + 1..close));
    name.map(text_of).ok_or_else(|| Error::Other("its `stat` is not as it should be".into()))
}

/// What a thread or process calls itself; empty when it is gone.
pub fn thread_name(tid: Tid) -> String {
    let name = fs::read(format!("/proc/{tid}/comm")).unwrap_or_default();
    text_of(name.strip_suffix(b"\n").unwrap_or(&name))
}

/// The path of the program that a process runs, if that may be known. While one of its threads
/// executes a program it may seem to have none, so it is looked at a few times.
fn program(pid: Pid) -> Option<PathBuf> {
    const LOOKS: usize = 4;
    let look = || fs::read_link(ProcDir::open(pid).ok()?.executable()?).ok();
    (0..LOOKS).find_map(|_| look())
}

/// The processes that have a name (what it calls itself, or the last component of its
/// program's path) is this.
pub fn names_matching(name: &str) -> Result<Vec<Pid>, Error> {
    let mut pids: Vec<Pid> = all_processes()?
        .filter_map(Result::ok)
        .filter(|process| {
            let file = || Some(text_of_os(program(Pid(process.pid))?.file_name()?));
            is_called(&thread_name(Tid(process.pid)), name) || file().is_some_and(|file| is_called(&file, name))
        })
        .map(|process| Pid(process.pid))
        .collect();
    pids.sort_unstable();
    Ok(pids)
}
