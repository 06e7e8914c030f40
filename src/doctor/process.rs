//! Findings about one process.

use nix::errno::Errno;

use super::host::CALLS_UNKNOWN;
use super::{Facts, OwnFacts, ProcessFacts, told, waits};
use crate::model::{About, Finding, Grant};
use crate::proc::Capability;
use crate::sys::trial::Outcome;

pub(super) fn findings(facts: &Facts, process: &ProcessFacts) -> Vec<Finding> {
    let mut findings = vec![
        seen(process),
        tracer(process),
        user_namespace(facts, process),
        dumpable(process),
        attach(facts, process),
        memory_map(facts, process),
        memory_file(facts, process),
        call_file(facts, process),
        kernel_stack(facts, process),
        uninterruptible(process),
    ];
    findings.extend(waits::of_process(process, for_file(facts, process, process.descriptors)));
    findings
}

fn seen(process: &ProcessFacts) -> Finding {
    let ProcessFacts { pid, name, threads, credentials, .. } = process;
    let threads = match threads {
        1 => "1 thread".into(),
        threads => format!("{threads} threads"),
    };
    let namespace = match credentials.pid_namespaces_below {
        0 => "",
        _ => ", in a PID namespace of its own",
    };
    let (user, group) = (credentials.users.effective, credentials.groups.effective);
    let detail = format!("{pid} ({name}): {threads}, user {user}, group {group}{namespace}");
    let why_not = match &process.refused {
        // What it is refused for has a finding of its own.
        Some(_) if !process.attach.worked() || !process.traced.is_empty() => None,
        Some(refused) => Some(format!("there is no snapshot: {refused}")),
        None if process.answers => None,
        None => Some("hangsnap waits: the program's file cannot be read in time".into()),
    };
    match why_not {
        None => Finding::ok(About::Process, "process", detail),
        Some(costs) => Finding::missing(About::Process, "process", detail, costs, None),
    }
}

fn tracer(process: &ProcessFacts) -> Finding {
    let Some((_, tracer)) = process.traced.first() else {
        return Finding::ok(About::Process, "tracer", "nothing else traces it");
    };
    Finding::missing(
        About::Process,
        "tracer",
        format!("{} traces {} of its threads (pid {})", tracer.name, process.traced.len(), tracer.pid),
        "a thread can have no second tracer: there is no snapshot, but for --stop none",
        Some(Grant::on_host(format!("stop {} (pid {})", tracer.name, tracer.pid))),
    )
}

fn user_namespace(facts: &Facts, process: &ProcessFacts) -> Finding {
    let own = &facts.own.user_namespace;
    let name = "user-namespace";
    if own.is_same(&process.user_namespace) {
        return Finding::ok(About::Process, name, "the same as hangsnap's");
    }
    if own.is_initial() {
        return Finding::ok(About::Process, name, "another one, where hangsnap's capabilities count");
    }
    // Seen from a namespace, one made inside of it is as far away as the one it was made in, but
    // there the right is had.
    if process.attach.worked() {
        return Finding::ok(About::Process, name, "another one, inside of hangsnap's");
    }
    Finding::missing(
        About::Process,
        name,
        "another one, and hangsnap's is not the one that the machine started with",
        "no capability of hangsnap's counts there",
        Some(Grant::user_namespace()),
    )
}

fn dumpable(process: &ProcessFacts) -> Finding {
    let name = "dumpable";
    match process.dumpable {
        Some(true) => Finding::ok(About::Process, name, "its own user may look at it"),
        Some(false) => Finding::missing(
            About::Process,
            name,
            "it is not (PR_SET_DUMPABLE, a change of its user, or a program file that may not be read)",
            "its files in /proc belong to root: its own user needs CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH too",
            None,
        ),
        None => Finding::unknown(About::Process, name, "of a process of root's it cannot be seen"),
    }
}

fn attach(facts: &Facts, process: &ProcessFacts) -> Finding {
    let name = "attach";
    match process.attach {
        Outcome::Worked => Finding::ok(About::Process, name, "its threads may be held and its memory read"),
        Outcome::Failed(Errno::EPERM) => {
            let (why, grant) = refusal(facts, process);
            Finding::missing(About::Process, name, why, "there is no snapshot", Some(grant))
        }
        Outcome::NotTried => Finding::unknown(
            About::Process,
            name,
            "not tried: the system calls it takes are forbidden, or may hang on a thread in uninterruptible sleep",
        ),
        outcome => Finding::unknown(About::Process, name, format!("a read of its memory {}", told(outcome))),
    }
}

/// Which of the kernel's rules refuses it, in the order in which one change would not help before
/// the other (ptrace(2), "Ptrace access mode checking").
fn refusal(facts: &Facts, process: &ProcessFacts) -> (String, Grant) {
    let Facts { host, own, .. } = facts;
    let capability = || Grant::capability(Capability::SysPtrace, own);
    if let Some(scope @ 3..) = host.yama {
        let grant = Grant::on_host("restart the machine with a lower kernel.yama.ptrace_scope");
        return (format!("refused by Yama: ptrace_scope is {scope}"), grant);
    }
    if !own.user_namespace.is_same(&process.user_namespace) && !own.user_namespace.is_initial() {
        return ("refused: it is in another user namespace".into(), Grant::user_namespace());
    }
    if own.credentials.effective.has(Capability::SysPtrace) {
        let label = own.security_label.as_deref().map_or_else(String::new, |label| format!(" (hangsnap is `{label}`)"));
        return (
            format!("refused although hangsnap has CAP_SYS_PTRACE: a security module{label}"),
            Grant::security_module(),
        );
    }
    let (mine, its) = (&own.credentials, &process.credentials);
    if !its.users.are_all(mine.users.real) || !its.groups.are_all(mine.groups.real) {
        let (user, group) = (its.users.effective, its.groups.effective);
        let why = format!(
            "refused: it is of user {user} and group {group}, hangsnap of user {} and group {}, without CAP_SYS_PTRACE",
            mine.users.real, mine.groups.real
        );
        return (why, capability());
    }
    if process.dumpable == Some(false) {
        return ("refused: it is not dumpable, and hangsnap has no CAP_SYS_PTRACE".into(), capability());
    }
    if !its.permitted.are_in(mine.permitted) {
        return ("refused: it has capabilities that hangsnap has not, nor CAP_SYS_PTRACE".into(), capability());
    }
    if let Some(scope @ 1..) = host.yama {
        return (format!("refused by Yama: ptrace_scope is {scope}, and hangsnap has no CAP_SYS_PTRACE"), capability());
    }
    // Of root's processes it cannot be seen whether they are dumpable.
    (
        "refused: it is not dumpable, or a security module forbids it; hangsnap has no CAP_SYS_PTRACE".into(),
        capability(),
    )
}

/// One change for a file of /proc that could not be read: what would be needed to trace comes
/// first.
fn for_file(facts: &Facts, process: &ProcessFacts, outcome: Outcome) -> Option<Grant> {
    match outcome {
        Outcome::Failed(Errno::EACCES | Errno::EPERM) if process.attach.worked() => {
            Some(Grant::capability(Capability::DacReadSearch, &facts.own))
        }
        Outcome::Failed(Errno::EACCES | Errno::EPERM) => Some(refusal(facts, process).1),
        _ => None,
    }
}

fn memory_map(facts: &Facts, process: &ProcessFacts) -> Finding {
    let (name, file) = ("memory-map", "/proc/PID/maps");
    match process.memory_map {
        Outcome::Worked => Finding::ok(About::Process, name, file),
        outcome => Finding::missing(
            About::Process,
            name,
            format!("opening {file} {}", told(outcome)),
            "there is no snapshot",
            for_file(facts, process, outcome),
        ),
    }
}

fn memory_file(facts: &Facts, process: &ProcessFacts) -> Finding {
    let (name, file) = ("memory-file", "/proc/PID/mem");
    match process.memory_file {
        Outcome::Worked if process.memory_read == Outcome::Hung => Finding::missing(
            About::Process,
            name,
            format!("{file} opens, but a read does not come back: one of its threads keeps its memory map locked"),
            "its memory cannot be read: there are no stacks",
            None,
        ),
        Outcome::Worked => Finding::ok(About::Process, name, file),
        outcome => Finding::missing(
            About::Process,
            name,
            format!("opening {file} {}", told(outcome)),
            "memory is read by process_vm_readv, which a thread in uninterruptible sleep can make hang for good",
            for_file(facts, process, outcome),
        ),
    }
}

fn call_file(facts: &Facts, process: &ProcessFacts) -> Finding {
    let (name, file) = ("call-file", "/proc/PID/task/TID/syscall");
    match process.call_file {
        Outcome::Worked => Finding::ok(About::Process, name, file),
        outcome => Finding::missing(
            About::Process,
            name,
            format!("reading {file} {}", told(outcome)),
            CALLS_UNKNOWN,
            for_file(facts, process, outcome),
        ),
    }
}

fn kernel_stack(facts: &Facts, process: &ProcessFacts) -> Finding {
    let (name, file) = ("kernel-stack", "/proc/PID/task/TID/stack");
    match process.kernel_stack_file {
        Outcome::Worked => Finding::ok(About::Process, name, file),
        outcome => {
            let grant = match process.call_file {
                // The other file shows what it takes to read such files at all.
                Outcome::Worked => Some(Grant::initial_capability(Capability::SysAdmin, &facts.own)),
                call_file => for_file(facts, process, call_file),
            };
            let detail = format!("reading {file} {}", told(outcome));
            Finding::missing(About::Process, name, detail, "its snapshots hold no kernel stacks", grant)
        }
    }
}

fn uninterruptible(process: &ProcessFacts) -> Finding {
    let name = "uninterruptible";
    match process.uninterruptible.len() {
        0 => Finding::ok(About::Process, name, "no thread sleeps uninterruptibly"),
        count if process.call_file.worked() => Finding::ok(
            About::Process,
            name,
            format!("{count} of its threads sleep uninterruptibly, and are read in place"),
        ),
        count => Finding::missing(
            About::Process,
            name,
            format!("{count} of its threads sleep uninterruptibly"),
            "they can be neither stopped nor read in place, and are left out",
            None,
        ),
    }
}

/// Whether the process's memory can be read in any way.
pub(super) fn memory_is_readable(own: &OwnFacts, process: &ProcessFacts) -> bool {
    process.memory_read != Outcome::Hung
        && (process.memory_file.worked() || (process.attach.worked() && own.process_vm_readv_passes_filters.worked()))
}
