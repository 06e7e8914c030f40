//! Gathering the facts. The process is read about and asked about; it is never traced, and no
//! thread of it is stopped.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::{Facts, HostFacts, OwnFacts, ProcessFacts};
use crate::model::{Pid, StopMode, ThreadState, Tid};
use crate::proc::{self, Credentials, Host, Limits, ProcDir, UserNamespace};
use crate::process::{Error, Target, Wanted, explain};
use crate::sys::trial::{self, Outcome};

/// How long what a process is may take to come: its program's file may be on a file system that
/// does not answer.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(1);

/// Looks at this host, and at one process if there is one to look at. An error says that there is
/// no such process.
pub fn examine(wanted: Option<&Wanted>) -> Result<Facts, Error> {
    let process = wanted.map(process).transpose()?;
    Ok(Facts { host: host(), own: own()?, process })
}

fn host() -> HostFacts {
    HostFacts {
        kernel: Host::read().kernel,
        yama: proc::yama_scope(),
        hidden_processes: proc::hidden_processes(),
        counts_runs: proc::counts_runs(),
        has_call_file: proc::has_thread_file("syscall"),
        has_kernel_stack_file: proc::has_thread_file("stack"),
        has_children_file: proc::has_thread_file("children"),
        has_last_ran_file: proc::has_thread_file("sched"),
        has_file_locks: fs::read("/proc/locks").is_ok(),
        has_fuse_connections: has_fuse_connections(),
    }
}

/// The kernel makes the directory where it has FUSE; what is mounted there has a parent of another
/// device.
fn has_fuse_connections() -> bool {
    let device = |path: &str| fs::metadata(path).ok().map(|metadata| metadata.dev());
    let own = device("/sys/fs/fuse/connections");
    own.is_none() || own != device("/sys/fs/fuse")
}

fn own() -> Result<OwnFacts, Error> {
    let unreadable = |error: proc::Error| Error::OwnProcess { reason: error.to_string() };
    Ok(OwnFacts {
        credentials: Credentials::own().map_err(unreadable)?,
        user_namespace: UserNamespace::own(),
        security_label: proc::security_label(),
        limits: Limits::own().ok(),
        ptrace_passes_filters: trial::ptrace_passes_filters(),
        process_vm_readv_passes_filters: trial::process_vm_readv_passes_filters(),
        trace_own_child: trial::trace_own_child(),
        real_time: trial::real_time(),
        real_time_budget: proc::real_time_budget(),
    })
}

fn process(wanted: &Wanted) -> Result<ProcessFacts, Error> {
    let pid = wanted.find()?;
    let gone = |error| hidden(explain(pid, error));
    let directory = ProcDir::open(pid).map_err(gone)?;
    let credentials = directory.credentials().map_err(gone)?;
    let tids = directory.threads().map_err(gone)?;
    let (mut traced, mut uninterruptible) = (Vec::new(), Vec::new());
    for &tid in &tids {
        // A thread that has ended since is no concern of ours any more.
        let Ok(thread) = directory.thread(tid) else { continue };
        if let Ok(Some(tracer)) = thread.tracer() {
            traced.push((tid, tracer));
        }
        if thread.status().is_ok_and(|status| status.state == ThreadState::Uninterruptible) {
            uninterruptible.push(tid);
        }
    }
    let owner = directory.memory_owner().map_err(gone)?;
    let tried = |result: std::io::Result<()>| result.map_or_else(Outcome::from, |()| Outcome::Worked);
    let memory_read = trial::read_memory_file(owner);
    let attach = attach(&directory, owner, memory_read, &uninterruptible);
    let refused = refusal(wanted);
    let name = proc::thread_name(pid.main_thread());
    Ok(ProcessFacts {
        pid,
        name,
        threads: tids.len(),
        credentials,
        user_namespace: directory.user_namespace(),
        dumpable: directory.is_dumpable(),
        attach,
        memory_read,
        answers: refused.is_some(),
        refused: refused.flatten(),
        memory_map: tried(directory.try_open(owner, "maps")),
        memory_file: tried(directory.try_open(owner, "mem")),
        call_file: tried(directory.try_read(owner, "syscall")),
        kernel_stack_file: tried(directory.try_read(owner, "stack")),
        descriptors: tried(fs::read_dir(format!("/proc/{pid}/fd")).map(drop)),
        has_own_network: own_network(pid),
        traced,
        uninterruptible,
    })
}

fn own_network(pid: Pid) -> Option<bool> {
    let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).ok();
    Some(namespace(&pid.to_string())? != namespace("self")?)
}

/// What a snapshot would say of the process before any thread is touched: nothing if it can be
/// begun, None if it does not answer.
fn refusal(wanted: &Wanted) -> Option<Option<String>> {
    let (sender, answer) = mpsc::channel();
    let wanted = wanted.clone();
    // It cannot be called off, but it ends with hangsnap: such a wait can be killed.
    thread::spawn(move || {
        let refused = Target::open(&wanted, StopMode::OneAtATime).err().map(|error| error.to_string());
        // Fails only if the receiver has gone.
        let _ = sender.send(refused);
    });
    answer.recv_timeout(DESCRIBE_TIMEOUT).ok()
}

/// Whether the kernel would let hangsnap trace the process.
///
/// A read of its memory by the system call is the nearest thing to tracing it, but hangs beyond the
/// reach of SIGKILL while one of its threads keeps its memory map locked. So it is made only where
/// a read of the file, which can be killed, came back, or as the last resort.
fn attach(directory: &ProcDir, owner: Tid, memory_read: Outcome, uninterruptible: &[Tid]) -> Outcome {
    if memory_read.worked() && trial::process_vm_readv_passes_filters().worked() {
        return trial::read_memory(owner);
    }
    // Of a filter that forbids the other way, or a kernel that does not know it, nothing can be
    // learnt.
    let own = Pid(std::process::id().cast_signed());
    match trial::take_no_descriptor(own) {
        Outcome::Worked => trial::take_no_descriptor(directory.pid()),
        _ if uninterruptible.is_empty() && memory_read != Outcome::Hung => trial::read_memory(owner),
        _ => Outcome::NotTried,
    }
}

/// A process that /proc hides is to its reader one that is not there.
fn hidden(error: Error) -> Error {
    match (error, proc::hidden_processes()) {
        (Error::NoSuchProcess(pid), Some(option)) => Error::HiddenProcess { pid, option },
        (error, _) => error,
    }
}
