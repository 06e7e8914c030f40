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

use crate::model::{About, Finding, Grant, Pid, Status, Tid};
use crate::proc::{Credentials, Limits, TracerOf, UserNamespace};
use crate::sys::trial::Outcome;

pub use judge::diagnose;
pub use probe::examine;

/// Everything that findings are made of.
#[derive(Clone, Debug)]
pub struct Facts {
    pub host: HostFacts,
    pub own: OwnFacts,
    pub process: Option<ProcessFacts>,
}

/// What the machine and its kernel are like.
#[derive(Clone, Debug)]
pub struct HostFacts {
    pub kernel: String,
    pub yama: Option<u8>,
    pub hidden_processes: Option<String>,
    pub counts_runs: bool,
    pub has_call_file: bool,
    pub has_kernel_stack_file: bool,
    pub has_children_file: bool,
}

/// What hangsnap itself may do, whatever it looks at.
#[derive(Clone, Debug)]
pub struct OwnFacts {
    pub credentials: Credentials,
    pub user_namespace: UserNamespace,
    pub security_label: Option<String>,
    pub limits: Option<Limits>,
    pub ptrace_passes_filters: Outcome,
    pub process_vm_readv_passes_filters: Outcome,
    pub trace_own_child: Outcome,
    pub real_time: Outcome,
    pub real_time_budget: Option<i64>,
}

/// What one process allows.
#[derive(Clone, Debug)]
pub struct ProcessFacts {
    pub pid: Pid,
    pub name: String,
    pub threads: usize,
    pub credentials: Credentials,
    pub user_namespace: UserNamespace,
    pub dumpable: Option<bool>,
    pub traced: Vec<(Tid, TracerOf)>,
    pub uninterruptible: Vec<Tid>,
    /// What taking a snapshot of it would say before any thread is touched; None if it can be
    /// begun.
    pub refused: Option<String>,
    /// Whether what `refused` takes came in time: the program's file may be on a file system that
    /// does not answer.
    pub answers: bool,
    pub attach: Outcome,
    pub memory_map: Outcome,
    pub memory_file: Outcome,
    /// A read by way of that file, which hangs while somebody keeps the memory map locked.
    pub memory_read: Outcome,
    pub call_file: Outcome,
    pub kernel_stack_file: Outcome,
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
