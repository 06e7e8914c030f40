//! Findings about hangsnap itself: what filters let through, which capabilities it has, what it may
//! do at all.

use nix::errno::Errno;

use super::{Facts, OwnFacts, told};
use crate::model::{About, Finding, Grant, Status};
use crate::proc::Capability;
use crate::sys::trial::Outcome;

/// As many as a snapshot of any number of threads is known to get by with.
const ENOUGH_DESCRIPTORS: u64 = 32;

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let own = &facts.own;
    vec![
        filter(
            "ptrace",
            own.ptrace_passes_filters,
            "no thread can be stopped: those that sleep are read in place, those that run are left out",
            own,
        ),
        filter(
            "process-vm-readv",
            own.process_vm_readv_passes_filters,
            "where /proc/PID/mem may not be opened no memory can be read, and there are no stacks",
            own,
        ),
        own_child(own),
        trace_others(own),
        read_others(own),
        kernel_stacks(facts),
        real_time(own),
        descriptors(own),
        bpf(own),
    ]
}

fn filter(name: &'static str, outcome: Outcome, costs: &str, own: &OwnFacts) -> Finding {
    let call = name.replace('-', "_");
    let filters = match own.credentials.seccomp {
        Some(0) => "there is no seccomp filter",
        Some(_) => "the seccomp filter lets it through",
        None => "it gets through to the kernel",
    };
    match outcome {
        Outcome::Worked => Finding::ok(About::Host, name, filters),
        Outcome::NoChild(_) | Outcome::Hung | Outcome::NotTried => {
            Finding::unknown(About::Host, name, format!("{call} {}", told(outcome)))
        }
        Outcome::Failed(_) | Outcome::Killed => Finding::missing(
            About::Host,
            name,
            format!("{call} {}", told(outcome)),
            costs,
            Some(Grant::system_call(&call, "SYS_PTRACE")),
        ),
    }
}

fn own_child(own: &OwnFacts) -> Finding {
    let detail = format!("tracing a child of its own {}", told(own.trace_own_child));
    match own.trace_own_child {
        Outcome::Worked => Finding::ok(About::Host, "own-child", detail),
        Outcome::NoChild(Errno::EAGAIN) => Finding::missing(
            About::Host,
            "own-child",
            detail,
            "there is no snapshot: the process that traces cannot be started",
            Some(Grant {
                docker: Some("--pids-limit and --ulimit nproc, raised".into()),
                podman: Some("--pids-limit and --ulimit nproc, raised".into()),
                systemd: Some("TasksMax= and LimitNPROC=, raised".into()),
                ..Grant::on_host("raise the user's nproc limit")
            }),
        ),
        // Any of the other findings may be the reason, and says so.
        _ => Finding::unknown(About::Host, "own-child", detail),
    }
}

fn trace_others(own: &OwnFacts) -> Finding {
    if own.credentials.effective.has(Capability::SysPtrace) {
        return Finding::ok(About::Host, "cap-sys-ptrace", format!("CAP_SYS_PTRACE, {}", reach(own)));
    }
    Finding::missing(
        About::Host,
        "cap-sys-ptrace",
        format!("no CAP_SYS_PTRACE{}", not_effective(own, Capability::SysPtrace)),
        format!(
            "only dumpable processes of user {} and group {} without further capabilities can be looked at, and no \
             others are found at the other ends of pipes and sockets",
            own.credentials.users.real, own.credentials.groups.real
        ),
        Some(Grant::capability(Capability::SysPtrace, own)),
    )
}

fn read_others(own: &OwnFacts) -> Finding {
    let has = |capability| own.credentials.effective.has(capability);
    let name = "cap-dac-read-search";
    if has(Capability::DacReadSearch) {
        return Finding::ok(About::Host, name, format!("CAP_DAC_READ_SEARCH, {}", reach(own)));
    }
    if has(Capability::DacOverride) {
        return Finding::ok(About::Host, name, format!("CAP_DAC_OVERRIDE, which includes it, {}", reach(own)));
    }
    Finding::missing(
        About::Host,
        name,
        format!("no CAP_DAC_READ_SEARCH{}", not_effective(own, Capability::DacReadSearch)),
        "another user's /proc/PID/mem, /proc/PID/task/TID/syscall and private program files cannot be read, \
         nor can an undumpable process's",
        Some(Grant::capability(Capability::DacReadSearch, own)),
    )
}

/// Where capabilities count.
fn reach(own: &OwnFacts) -> &'static str {
    match own.user_namespace.is_initial() {
        true => "in every user namespace",
        false => "in its own user namespace and those inside of it",
    }
}

fn kernel_stacks(facts: &Facts) -> Finding {
    let own = &facts.own;
    let name = "kernel-stacks";
    if !facts.host.has_kernel_stack_file {
        let costs = "where in the kernel a thread waits is not known beyond its system call";
        let grant = Grant::on_host("a kernel with CONFIG_STACKTRACE");
        return Finding::missing(About::Host, name, "there is no /proc/PID/task/TID/stack", costs, Some(grant));
    }
    let has = own.credentials.effective.has(Capability::SysAdmin);
    if has && own.user_namespace.is_initial() {
        return Finding::ok(About::Host, name, "CAP_SYS_ADMIN");
    }
    let detail = match has {
        true => "CAP_SYS_ADMIN, but in a user namespace of its own".into(),
        false => format!("no CAP_SYS_ADMIN{}", not_effective(own, Capability::SysAdmin)),
    };
    Finding::missing(
        About::Host,
        name,
        detail,
        "snapshots hold no kernel stacks",
        Some(Grant::initial_capability(Capability::SysAdmin, own)),
    )
}

fn real_time(own: &OwnFacts) -> Finding {
    let name = "real-time";
    let has_capability = own.credentials.effective.has(Capability::SysNice) && own.user_namespace.is_initial();
    let (why, grant) = match (own.real_time_budget, has_capability, own.user_namespace.is_initial()) {
        (Some(0), has_capability, _) => {
            (": its control group has no real-time budget", Grant::real_time_budget(has_capability))
        }
        (_, true, _) => (" although it has CAP_SYS_NICE", Grant::real_time_allowed()),
        (_, false, true) => ("", Grant::capability(Capability::SysNice, own)),
        (_, false, false) => ("", Grant::real_time_limit()),
    };
    match own.real_time {
        Outcome::Worked => Finding::ok(About::Host, name, "SCHED_FIFO"),
        Outcome::Killed => Finding::missing(
            About::Host,
            name,
            format!("setting SCHED_FIFO {}", told(own.real_time)),
            "no thread is held, and those that run are left out: who tries to hold one is killed",
            Some(Grant::real_time_allowed()),
        ),
        Outcome::Failed(_) => Finding::missing(
            About::Host,
            name,
            format!("setting SCHED_FIFO {}{why}", told(own.real_time)),
            "under load a thread may be held for as long as --max-hold allows and then be left out: who holds it waits for a CPU \
             like any other program",
            Some(grant),
        ),
        outcome => Finding::unknown(About::Host, name, format!("setting SCHED_FIFO {}", told(outcome))),
    }
}

fn descriptors(own: &OwnFacts) -> Finding {
    let Some(limits) = own.limits else {
        return Finding::unknown(About::Host, "open-files", "the limits cannot be read");
    };
    match limits.open_files {
        Some(limit) if limit < ENOUGH_DESCRIPTORS => Finding::missing(
            About::Host,
            "open-files",
            format!("no more than {limit} files may be open"),
            "a snapshot may fail for want of descriptors",
            Some(Grant {
                docker: Some("--ulimit nofile=1024".into()),
                podman: Some("--ulimit nofile=1024".into()),
                systemd: Some("LimitNOFILE=1024".into()),
                ..Grant::on_host("ulimit -n 1024")
            }),
        ),
        Some(limit) => Finding::ok(About::Host, "open-files", format!("{limit} may be open")),
        None => Finding::ok(About::Host, "open-files", "no limit"),
    }
}

/// A note only: it is no right that anything of hangsnap needs.
fn bpf(own: &OwnFacts) -> Finding {
    let has = |capability| own.credentials.effective.has(capability);
    let allowed = has(Capability::SysAdmin) || (has(Capability::Bpf) && has(Capability::Perfmon));
    let detail = match allowed && own.user_namespace.is_initial() {
        true => "allowed; this version does not use it",
        false => "not allowed; this version does not use it",
    };
    Finding { status: Status::Note, ..Finding::ok(About::Host, "bpf", detail) }
}

/// Why a capability is not there although it could be.
fn not_effective(own: &OwnFacts, capability: Capability) -> String {
    let credentials = &own.credentials;
    if !credentials.bounding.has(capability) {
        return ", and none can be had: it is not in the bounding set".into();
    }
    match credentials.users.effective {
        0 => ": it was dropped".into(),
        user => format!(": it is in the bounding set, but user {user} does not get it"),
    }
}
