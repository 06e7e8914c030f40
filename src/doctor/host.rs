//! Findings about the machine and its kernel.

use super::Facts;
use crate::model::{About, Finding, Grant};
use crate::proc::Capability;

/// What it costs not to know the system calls in which threads sleep.
pub(super) const CALLS_UNKNOWN: &str = "threads that sleep in epoll_wait or another call that a stop would end are not \
                                        known from others: they are stopped too, and see EINTR";

pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    vec![
        Finding::ok(About::Host, "kernel", format!("Linux {}", facts.host.kernel)),
        hidden(facts),
        yama(facts),
        runs(facts),
        feature(
            "call-file",
            facts.host.has_call_file,
            "/proc/PID/task/TID/syscall",
            CALLS_UNKNOWN,
            "a kernel with CONFIG_HAVE_ARCH_TRACEHOOK",
        ),
        feature(
            "children-file",
            facts.host.has_children_file,
            "/proc/PID/task/TID/children",
            "a recording does not report the processes that its target starts",
            "a kernel with CONFIG_PROC_CHILDREN",
        ),
    ]
}

fn hidden(facts: &Facts) -> Finding {
    match &facts.host.hidden_processes {
        None => Finding::ok(About::Host, "proc", "/proc hides no processes"),
        Some(option) => Finding::missing(
            About::Host,
            "proc",
            format!("/proc is mounted with hidepid={option}"),
            "processes that hangsnap may not trace look as if they were not there",
            Some(Grant::on_host("mount -o remount,hidepid=0 /proc")),
        ),
    }
}

fn yama(facts: &Facts) -> Finding {
    let lower = || Some(Grant::on_host("sysctl kernel.yama.ptrace_scope=0"));
    let has_capability = facts.own.credentials.effective.has(Capability::SysPtrace);
    let missing = |detail: &str, costs: &str, grant| Finding::missing(About::Host, "yama", detail, costs, grant);
    match facts.host.yama {
        None => Finding::ok(About::Host, "yama", "not there"),
        Some(0) => Finding::ok(About::Host, "yama", "ptrace_scope is 0: nothing beyond the kernel's own rules"),
        Some(1 | 2) if has_capability => Finding::ok(About::Host, "yama", "CAP_SYS_PTRACE satisfies its ptrace_scope"),
        Some(1) => missing(
            "ptrace_scope is 1: without CAP_SYS_PTRACE only descendants may be traced",
            "no process can be looked at that hangsnap has not started or that has not allowed it (PR_SET_PTRACER)",
            lower(),
        ),
        Some(2) => missing(
            "ptrace_scope is 2: without CAP_SYS_PTRACE nothing may be traced",
            "no process can be looked at",
            lower(),
        ),
        Some(scope) => missing(
            &format!("ptrace_scope is {scope}: no process may trace another, and it cannot be lowered"),
            "no process can be looked at",
            Some(Grant::on_host("restart the machine with a lower kernel.yama.ptrace_scope")),
        ),
    }
}

fn runs(facts: &Facts) -> Finding {
    if facts.host.counts_runs {
        return Finding::ok(About::Host, "schedstat", "the kernel counts how often a thread has run");
    }
    Finding::missing(
        About::Host,
        "schedstat",
        "/proc/PID/task/TID/schedstat is not there or counts nothing",
        "that a thread did not run while it was read in place is not proved, and CPU times are unknown",
        Some(Grant::on_host("a kernel with CONFIG_SCHED_INFO (CONFIG_SCHEDSTATS or CONFIG_TASK_DELAY_ACCT)")),
    )
}

fn feature(name: &'static str, is_there: bool, file: &str, costs: &str, kernel: &str) -> Finding {
    match is_there {
        true => Finding::ok(About::Host, name, file),
        false => Finding::missing(About::Host, name, format!("no {file}"), costs, Some(Grant::on_host(kernel))),
    }
}
