//! What this host and one process allow hangsnap to do, what each missing right costs, and what
//! would grant it.
//!
//! `probe` gathers facts without disturbing anybody: it reads /proc, and tries system calls in
//! child processes of its own; the process that it is about is neither traced nor stopped. `host`,
//! `own` and `process` turn facts into findings, `judge` turns them into a verdict; these four are
//! pure, so that hosts that are not at hand can be judged. `grant` knows what to change where. The
//! result is a `Diagnosis` of the model's, which `render` prints. Nothing is promised beyond the
//! moment: a process may be traced by another the moment after.

mod grant;
mod host;
mod judge;
mod own;
mod probe;
mod process;
#[cfg(test)]
mod tests;
mod waits;

use crate::model::{About, Finding, Grant, Pid, Status, Tid};
use crate::proc::{Credentials, Limits, TracerOf, UserNamespace};
use crate::sys::trial::Outcome;

pub use judge::diagnose;
pub use probe::examine;

/// Everything that findings are made of.
#[derive(Clone, Debug)]
pub struct Facts {
    /// About the machine.
    pub host: HostFacts,
    /// About hangsnap.
    pub own: OwnFacts,
    /// About the process, if one was named.
    pub process: Option<ProcessFacts>,
}

/// What the machine and its kernel are like.
#[derive(Clone, Debug)]
pub struct HostFacts {
    /// The kernel's release, as `uname -r` prints it.
    pub kernel: String,
    /// kernel.yama.ptrace_scope; None without Yama.
    pub yama: Option<u8>,
    /// The `hidepid` that /proc is mounted with, if it hides processes.
    pub hidden_processes: Option<String>,
    /// Whether `schedstat` counts how often a thread has run.
    pub counts_runs: bool,
    /// Whether /proc/PID/task/TID/syscall exists.
    pub has_call_file: bool,
    /// Whether /proc/PID/task/TID/stack exists.
    pub has_kernel_stack_file: bool,
    /// Whether /proc/PID/task/TID/children exists.
    pub has_children_file: bool,
    /// Whether /proc/PID/task/TID/sched exists, which says when a thread ran last.
    pub has_last_ran_file: bool,
    /// Whether /proc/locks can be read.
    pub has_file_locks: bool,
    /// Whether the control file system of FUSE is mounted, or the kernel has no FUSE.
    pub has_fuse_connections: bool,
}

/// What hangsnap itself may do, whatever it looks at.
#[derive(Clone, Debug)]
pub struct OwnFacts {
    /// Its ids and capabilities.
    pub credentials: Credentials,
    /// Its user namespace.
    pub user_namespace: UserNamespace,
    /// Its label in a security module (AppArmor, SELinux), if it has one.
    pub security_label: Option<String>,
    /// Its resource limits, if they could be read.
    pub limits: Option<Limits>,
    /// Whether seccomp filters let ptrace(2) pass.
    pub ptrace_passes_filters: Outcome,
    /// Whether seccomp filters let process_vm_readv(2) pass.
    pub process_vm_readv_passes_filters: Outcome,
    /// What came of tracing a child of its own.
    pub trace_own_child: Outcome,
    /// What came of setting SCHED_FIFO.
    pub real_time: Outcome,
    /// The real-time budget of its control group (cpu.rt_runtime_us), where there is one.
    pub real_time_budget: Option<i64>,
}

/// What one process allows.
#[derive(Clone, Debug)]
pub struct ProcessFacts {
    /// Its id.
    pub pid: Pid,
    /// `comm` of its main thread.
    pub name: String,
    /// How many threads it has.
    pub threads: usize,
    /// Its ids and capabilities.
    pub credentials: Credentials,
    /// Its user namespace.
    pub user_namespace: UserNamespace,
    /// Whether it is dumpable (prctl(2)); None where that cannot be seen.
    pub dumpable: Option<bool>,
    /// Its threads that are traced already, with their tracers.
    pub traced: Vec<(Tid, TracerOf)>,
    /// Its threads in uninterruptible sleep.
    pub uninterruptible: Vec<Tid>,
    /// What taking a snapshot of it would say before any thread is touched; None if it can be
    /// begun.
    pub refused: Option<String>,
    /// Whether what `refused` takes came in time: the program's file may be on a file system that
    /// does not answer.
    pub answers: bool,
    /// What came of a read of its memory, which takes the right to trace it.
    pub attach: Outcome,
    /// What came of opening /proc/PID/maps.
    pub memory_map: Outcome,
    /// What came of opening /proc/PID/mem.
    pub memory_file: Outcome,
    /// A read by way of that file, which hangs while somebody keeps the memory map locked.
    pub memory_read: Outcome,
    /// What came of reading /proc/PID/task/TID/syscall.
    pub call_file: Outcome,
    /// What came of reading /proc/PID/task/TID/stack.
    pub kernel_stack_file: Outcome,
    /// What came of listing /proc/PID/fd.
    pub descriptors: Outcome,
    /// Whether it is in another network namespace than hangsnap; None where that cannot be seen.
    pub has_own_network: Option<bool>,
}

impl Finding {
    fn ok(about: About, name: &'static str, detail: impl Into<String>) -> Self {
        Self { about, name, status: Status::Ok, detail: detail.into(), costs: None, grant: None }
    }

    fn missing(
        about: About,
        name: &'static str,
        detail: impl Into<String>,
        costs: impl Into<String>,
        grant: Option<Grant>,
    ) -> Self {
        let (detail, costs) = (detail.into(), Some(costs.into()));
        Self { about, name, status: Status::Missing, detail, costs, grant }
    }

    fn unknown(about: About, name: &'static str, detail: impl Into<String>) -> Self {
        Self { about, name, status: Status::Unknown, detail: detail.into(), costs: None, grant: None }
    }
}

/// What came of a try, in words that follow "it".
fn told(outcome: Outcome) -> String {
    match outcome {
        Outcome::Worked => "worked".into(),
        Outcome::Failed(errno) => format!("failed: {}", errno.desc()),
        Outcome::Killed => "was answered by killing who tried it, as a seccomp filter does".into(),
        Outcome::Hung => "did not come back".into(),
        Outcome::NoChild(errno) => format!("could not be tried, for want of a child process: {}", errno.desc()),
        Outcome::NotTried => "was not tried".into(),
    }
}
