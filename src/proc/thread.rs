//! A thread's directory below /proc/PID/task.

use procfs::process::{Syscall, Task};

use super::{Error, TracerOf};
use crate::model::{Pid, RuntimeAddress, StartTime, SystemCall, ThreadState};

/// The opened directory of one thread.
pub struct ThreadDir {
    directory: Task,
}

/// What `stat` and `schedstat` say of a thread.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ThreadStatus {
    pub name: String,
    pub state: ThreadState,
    pub start: StartTime,
    pub cpu_ns: Option<u64>,
}

/// Where a thread that is off the CPU entered the kernel: `syscall` in proc_pid_syscall(5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockedCall {
    /// None when it is blocked for another reason, such as a page fault.
    pub call: Option<SystemCall>,
    pub stack_pointer: RuntimeAddress,
    pub program_counter: RuntimeAddress,
}

impl ThreadDir {
    pub(super) fn new(directory: Task) -> Self {
        Self { directory }
    }

    pub fn status(&self) -> Result<ThreadStatus, Error> {
        let stat = self.directory.stat()?;
        Ok(ThreadStatus {
            name: stat.comm,
            state: ThreadState::from_letter(stat.state),
            start: StartTime(stat.starttime),
            cpu_ns: self.directory.schedstat().ok().map(|schedstat| schedstat.sum_exec_runtime),
        })
    }

    /// None while the thread is running.
    pub fn blocked_call(&self) -> Result<Option<BlockedCall>, Error> {
        Ok(match self.directory.syscall()? {
            Syscall::Blocked { syscall_number, argument_registers, stack_pointer, program_counter } => {
                Some(BlockedCall {
                    call: u32::try_from(syscall_number)
                        .ok()
                        .map(|number| SystemCall { number, arguments: argument_registers }),
                    stack_pointer: RuntimeAddress(stack_pointer),
                    program_counter: RuntimeAddress(program_counter),
                })
            }
            _ => None,
        })
    }

    /// The process that traces this thread, if one does.
    pub fn tracer(&self) -> Result<Option<TracerOf>, Error> {
        Ok(TracerOf::from_status(self.directory.status()?.tracerpid))
    }

    /// The processes that this thread has started and that have not ended.
    pub fn children(&self) -> Result<Vec<Pid>, Error> {
        Ok(self.directory.children()?.into_iter().filter_map(|pid| i32::try_from(pid).ok().map(Pid)).collect())
    }
}
