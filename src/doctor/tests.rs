//! What is judged of hosts that are not at hand: with Yama, security modules, filters, other
//! kernels.

use nix::errno::Errno;

use super::*;
use crate::model::{Diagnosis, Verdict};
use crate::proc::{Capabilities, Ids};

const ALL: Capabilities = Capabilities((1 << 41) - 1);
const NONE: Capabilities = Capabilities(0);
const USER: Ids = Ids { real: 1000, effective: 1000, saved: 1000 };
const ROOT: Ids = Ids { real: 0, effective: 0, saved: 0 };
const REFUSED: Outcome = Outcome::Failed(Errno::EPERM);

fn credentials(ids: Ids, capabilities: Capabilities) -> Credentials {
    Credentials {
        users: ids,
        groups: ids,
        permitted: capabilities,
        effective: capabilities,
        bounding: ALL,
        no_new_privileges: false,
        seccomp: Some(0),
        pid_namespaces_below: 0,
    }
}

fn initial_namespace() -> UserNamespace {
    UserNamespace { inode: Some(0xEFFF_FFFD), uid_map: "0 0 4294967295".into() }
}

/// Root on a host that forbids nothing, and an ordinary process of a user's.
fn everything() -> (Facts, ProcessFacts) {
    let host = HostFacts {
        kernel: "6.1".into(),
        yama: None,
        hidden_processes: None,
        counts_runs: true,
        has_call_file: true,
        has_kernel_stack_file: true,
        has_children_file: true,
        has_last_ran_file: true,
        has_file_locks: true,
        has_fuse_connections: true,
    };
    let own = OwnFacts {
        credentials: credentials(ROOT, ALL),
        user_namespace: initial_namespace(),
        security_label: None,
        limits: Some(Limits { open_files: Some(1024) }),
        ptrace_passes_filters: Outcome::Worked,
        process_vm_readv_passes_filters: Outcome::Worked,
        trace_own_child: Outcome::Worked,
        real_time: Outcome::Worked,
        real_time_budget: None,
    };
    let process = ProcessFacts {
        pid: Pid(7),
        name: "victim".into(),
        threads: 2,
        credentials: credentials(USER, NONE),
        user_namespace: initial_namespace(),
        dumpable: Some(true),
        traced: Vec::new(),
        uninterruptible: Vec::new(),
        refused: None,
        answers: true,
        attach: Outcome::Worked,
        memory_map: Outcome::Worked,
        memory_file: Outcome::Worked,
        memory_read: Outcome::Worked,
        call_file: Outcome::Worked,
        kernel_stack_file: Outcome::Worked,
        descriptors: Outcome::Worked,
        has_own_network: Some(false),
    };
    (Facts { host, own, process: None }, process)
}

/// The same user as the process's, without capabilities, and refused everything.
fn refused() -> (Facts, ProcessFacts) {
    let (mut facts, mut process) = everything();
    facts.own.credentials = credentials(USER, NONE);
    process.attach = REFUSED;
    process.memory_file = Outcome::Failed(Errno::EACCES);
    process.call_file = Outcome::Failed(Errno::EACCES);
    process.kernel_stack_file = Outcome::Failed(Errno::EACCES);
    (facts, process)
}

fn diagnosed(mut facts: Facts, process: ProcessFacts) -> Diagnosis {
    facts.process = Some(process);
    diagnose(&facts)
}

fn finding<'a>(diagnosis: &'a Diagnosis, about: About, name: &str) -> &'a Finding {
    let found = diagnosis.findings.iter().find(|finding| finding.about == about && finding.name == name);
    found.unwrap_or_else(|| panic!("there is no finding {name}"))
}

/// Why the process may not be traced, and what is to be done on the host.
fn why_refused(facts: Facts, process: ProcessFacts) -> (String, Grant) {
    let diagnosis = diagnosed(facts, process);
    assert!(matches!(diagnosis.verdict, Some(Verdict::Impossible(_))), "{:?}", diagnosis.verdict);
    let attach = finding(&diagnosis, About::Process, "attach");
    assert_eq!(attach.status, Status::Missing);
    (attach.detail.clone(), attach.grant.clone().expect("something would help"))
}

#[test]
fn with_every_right_nothing_is_missing() {
    let (facts, process) = everything();
    let diagnosis = diagnosed(facts, process);
    assert_eq!(diagnosis.verdict, Some(Verdict::Complete));
    let missing = diagnosis.findings.iter().find(|finding| !matches!(finding.status, Status::Ok | Status::Note));
    assert_eq!(missing, None);
}

#[test]
fn whatever_is_missing_costs_something() {
    let (mut facts, mut process) = refused();
    facts.host = HostFacts {
        kernel: String::new(),
        yama: Some(1),
        hidden_processes: Some("2".into()),
        counts_runs: false,
        has_call_file: false,
        has_kernel_stack_file: false,
        has_children_file: false,
        has_last_ran_file: false,
        has_file_locks: false,
        has_fuse_connections: false,
    };
    facts.own.ptrace_passes_filters = Outcome::Killed;
    facts.own.process_vm_readv_passes_filters = REFUSED;
    facts.own.real_time = REFUSED;
    facts.own.limits = Some(Limits { open_files: Some(8) });
    process.dumpable = Some(false);
    process.descriptors = REFUSED;
    process.has_own_network = Some(true);
    process.uninterruptible = vec![Tid(8)];
    process.traced = vec![(Tid(7), TracerOf { pid: Pid(9), name: "strace".into() })];
    let diagnosis = diagnosed(facts, process);
    let missing = diagnosis.findings.iter().filter(|finding| finding.status == Status::Missing);
    assert!(missing.clone().count() > 12, "{:?}", diagnosis.findings);
    for finding in missing {
        assert!(finding.costs.as_ref().is_some_and(|costs| !costs.is_empty()), "{finding:?}");
    }
}

#[test]
fn yama_refuses_the_same_user_and_at_the_highest_scope_everybody() {
    let (mut facts, process) = refused();
    for scope in [1, 2] {
        facts.host.yama = Some(scope);
        let (why, grant) = why_refused(facts.clone(), process.clone());
        assert!(why.contains(&format!("ptrace_scope is {scope}")), "{why}");
        assert!(grant.docker.is_some_and(|grant| grant.contains("SYS_PTRACE")));
        let yama = finding(&diagnosed(facts.clone(), process.clone()), About::Host, "yama").clone();
        assert_eq!(yama.status, Status::Missing);
        let mut with_capability = facts.clone();
        with_capability.own.credentials = credentials(ROOT, ALL);
        assert_eq!(finding(&diagnosed(with_capability, process.clone()), About::Host, "yama").status, Status::Ok);
    }
    facts.host.yama = Some(3);
    facts.own.credentials = credentials(ROOT, ALL);
    let (why, grant) = why_refused(facts, process);
    assert!(why.contains("ptrace_scope is 3"), "{why}");
    assert!(grant.docker.is_none(), "no capability helps: {grant:?}");
    assert!(grant.host.is_some_and(|host| host.contains("restart")));
}

#[test]
fn the_kernels_own_rules_are_told_apart() {
    let (facts, process) = refused();
    let mut other_user = process.clone();
    other_user.credentials.users.saved = 1001;
    assert!(why_refused(facts.clone(), other_user).0.contains("of user 1000"));
    let mut other_group = process.clone();
    other_group.credentials.groups = ROOT;
    assert!(why_refused(facts.clone(), other_group).0.contains("group 0"));
    let mut undumpable = process.clone();
    undumpable.dumpable = Some(false);
    assert!(why_refused(facts.clone(), undumpable).0.contains("not dumpable"));
    let mut capable = process.clone();
    capable.credentials.permitted = Capabilities(1 << 10);
    assert!(why_refused(facts.clone(), capable).0.contains("capabilities that hangsnap has not"));
    let mut elsewhere = process.clone();
    elsewhere.user_namespace = UserNamespace { inode: None, uid_map: "0 100000 65536".into() };
    let mut inside = facts.clone();
    inside.own.user_namespace = UserNamespace { inode: Some(4026532000), uid_map: "0 200000 65536".into() };
    let (why, grant) = why_refused(inside, elsewhere);
    assert!(why.contains("another user namespace"), "{why}");
    assert!(grant.podman.is_some_and(|grant| grant.contains("--userns")));
    let mut labelled = facts;
    labelled.own.credentials = credentials(ROOT, ALL);
    labelled.own.security_label = Some("docker-default (enforce)".into());
    let (why, grant) = why_refused(labelled, process);
    assert!(why.contains("docker-default"), "{why}");
    assert!(grant.docker.is_some_and(|grant| grant.contains("apparmor=unconfined")));
}

#[test]
fn a_user_in_a_container_must_become_root_for_a_capability_to_count() {
    let (mut facts, process) = refused();
    facts.own.credentials.bounding = Capabilities(1 << 19);
    let diagnosis = diagnosed(facts.clone(), process);
    let grant = finding(&diagnosis, About::Host, "cap-sys-ptrace").grant.clone().expect("it is missing");
    assert_eq!(grant.docker.as_deref(), Some("--user 0 --cap-add SYS_PTRACE"));
    assert_eq!(grant.systemd.as_deref(), Some("AmbientCapabilities=CAP_SYS_PTRACE"));
    // What the bounding set lacks it must be given first.
    let grant = Grant::capability(crate::proc::Capability::SysNice, &facts.own);
    assert_eq!(grant.systemd.as_deref(), Some("AmbientCapabilities=CAP_SYS_NICE CapabilityBoundingSet=CAP_SYS_NICE"));
    facts.own.credentials = credentials(ROOT, NONE);
    let grant = Grant::capability(crate::proc::Capability::SysPtrace, &facts.own);
    assert_eq!(grant.docker.as_deref(), Some("--cap-add SYS_PTRACE"));
}

#[test]
fn without_the_right_to_read_files_a_snapshot_is_limited() {
    let (facts, mut process) = everything();
    process.memory_file = Outcome::Failed(Errno::EACCES);
    assert_eq!(diagnosed(facts.clone(), process.clone()).verdict, Some(Verdict::Complete), "there is the system call");
    process.call_file = Outcome::Failed(Errno::EACCES);
    let limits = |facts, process| match diagnosed(facts, process).verdict {
        Some(Verdict::Limited(limits)) => limits,
        other => panic!("{other:?}"),
    };
    assert!(limits(facts.clone(), process.clone()).concat().contains("epoll_wait"));
    process.uninterruptible = vec![Tid(8)];
    assert!(limits(facts.clone(), process.clone()).concat().contains("sleep uninterruptibly"));
    let mut filtered = facts;
    filtered.own.process_vm_readv_passes_filters = REFUSED;
    assert!(limits(filtered, process).concat().contains("no stacks"));
}

#[test]
fn a_filter_that_forbids_ptrace_leaves_what_can_be_read_in_place() {
    for outcome in [REFUSED, Outcome::Failed(Errno::ENOSYS), Outcome::Killed] {
        let (mut facts, mut process) = everything();
        facts.own.ptrace_passes_filters = outcome;
        let diagnosis = diagnosed(facts.clone(), process.clone());
        assert!(matches!(diagnosis.verdict, Some(Verdict::Limited(_))), "{outcome:?}");
        let grant = finding(&diagnosis, About::Host, "ptrace").grant.clone().expect("something would help");
        assert_eq!(grant.systemd.as_deref(), Some("SystemCallFilter=ptrace"));
        process.call_file = Outcome::Failed(Errno::EACCES);
        assert!(matches!(diagnosed(facts, process).verdict, Some(Verdict::Impossible(_))), "{outcome:?}");
    }
}

#[test]
fn a_memory_map_that_is_locked_leaves_no_stacks() {
    let (facts, mut process) = everything();
    process.memory_read = Outcome::Hung;
    let verdict = diagnosed(facts, process).verdict;
    assert!(matches!(&verdict, Some(Verdict::Limited(limits)) if limits[0].contains("stacks")), "{verdict:?}");
}

#[test]
fn real_time_is_had_by_capability_where_that_counts_and_by_limit_where_not() {
    let (mut facts, process) = everything();
    facts.own.real_time = REFUSED;
    let grant = |facts: &Facts| {
        let diagnosis = diagnosed(facts.clone(), process.clone());
        finding(&diagnosis, About::Host, "real-time").grant.clone().and_then(|grant| grant.systemd)
    };
    assert!(grant(&facts).is_some_and(|grant| grant.contains("RestrictRealtime=no")), "it has the capability");
    facts.own.credentials = credentials(USER, NONE);
    assert!(grant(&facts).is_some_and(|grant| grant.contains("CAP_SYS_NICE")));
    facts.own.user_namespace.inode = Some(4026532000);
    assert_eq!(grant(&facts).as_deref(), Some("LimitRTPRIO=1"));
    facts.own.real_time_budget = Some(0);
    let diagnosis = diagnosed(facts, process.clone());
    let finding = finding(&diagnosis, About::Host, "real-time");
    assert!(
        finding.grant.as_ref().and_then(|grant| grant.host.as_ref()).is_some_and(|host| host.contains("rt_runtime"))
    );
}
