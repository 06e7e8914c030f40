//! Users, capabilities and user namespaces, each tried on a real process.

use std::fs;
use std::process::{Command, Stdio};

use super::{Programs, Said, assert_true, is_root, with};
use crate::lifecycle::sampler::PATIENCE;
use crate::support::{Victim, run, until};

/// What a process with some rights may do to another: what must come true.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Allowed {
    attach: bool,
    memory_file: bool,
    call_file: bool,
    kernel_stack: bool,
    real_time: bool,
    snapshot: &'static str,
}

const EVERYTHING: Allowed = Allowed {
    attach: true,
    memory_file: true,
    call_file: true,
    kernel_stack: true,
    real_time: true,
    snapshot: "complete",
};
const ALL_BUT_ROOTS: Allowed = Allowed { kernel_stack: false, real_time: false, ..EVERYTHING };
const NO_FILES: Allowed = Allowed { memory_file: false, call_file: false, snapshot: "limited", ..ALL_BUT_ROOTS };
const NOTHING: Allowed = Allowed { attach: false, snapshot: "impossible", ..NO_FILES };

const SAME_USER: &[&str] = &["setpriv", "--reuid", "10001", "--regid", "10001", "--clear-groups"];
const OTHER_USER: &[&str] = &["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
const SAME_USER_OTHER_GROUP: &[&str] = &["setpriv", "--reuid", "10001", "--regid", "65534", "--clear-groups"];

/// A user other than root with these capabilities, as a container or a service gives them.
fn another_with(capabilities: &str) -> Vec<String> {
    let set = format!("-all,{capabilities}");
    let mut words: Vec<String> = OTHER_USER.iter().map(ToString::to_string).collect();
    for option in ["--inh-caps", "--ambient-caps", "--bounding-set"] {
        words.extend([option.to_owned(), set.clone()]);
    }
    words
}

fn can_set_users() -> bool {
    let can = is_root();
    if !can {
        eprintln!("SKIPPED: it takes root to run programs as other users");
    }
    can
}

/// Compares what the doctor says with what is expected, with what other programs can do, and with
/// what hangsnap does.
fn assert_diagnosed(what: &str, before: &[&str], programs: &Programs, victim: &Victim, expected: Allowed) -> Said {
    let pid = victim.pid();
    let said = Said::of(before, programs, &pid);
    let process = |name| said.has("process", name);
    let found = Allowed {
        attach: process("attach"),
        memory_file: process("memory-file"),
        call_file: process("call-file"),
        kernel_stack: process("kernel-stack"),
        real_time: said.has("host", "real-time"),
        snapshot: expected.snapshot,
    };
    assert_eq!(found, expected, "{what}: {}", said.document);
    assert_eq!(said.snapshot(), expected.snapshot, "{what}: {}", said.document);
    // Programs that know nothing of hangsnap get as far.
    let works = |program: &[&str]| {
        let mut command = Command::new(before.first().unwrap_or(&program[0]));
        command.args(before.iter().skip(1));
        if !before.is_empty() {
            command.arg(program[0]);
        }
        run(command.args(&program[1..])).status.success()
    };
    let open = |name: &str| works(&["sh", "-c", &format!("exec < /proc/{pid}/{name}")]);
    assert_eq!(open("mem"), expected.memory_file, "{what}");
    assert_eq!(open("maps"), process("memory-map"), "{what}");
    let read = |name: &str| works(&["cat", &format!("/proc/{pid}/task/{pid}/{name}")]);
    assert_eq!(read("syscall"), expected.call_file, "{what}");
    assert_eq!(read("stack"), expected.kernel_stack, "{what}");
    assert_eq!(works(&["chrt", "--fifo", "1", "true"]), expected.real_time, "{what}");
    assert_true(&said, before, programs, &pid);
    // What is missing says what it costs, and what is not is not to be mended.
    for check in said.document["checks"].as_array().expect("checks") {
        assert_eq!(check["costs"].is_null(), check["status"] != "missing", "{what}: {check}");
        assert!(check["grant"].is_null() || check["status"] == "missing", "{what}: {check}");
    }
    said
}

#[test]
fn users_and_capabilities() {
    if !can_set_users() {
        return;
    }
    let programs = Programs::new();
    let victim = programs.sleeper(SAME_USER, "");
    let dropped = ["setpriv", "--inh-caps", "-all", "--bounding-set", "-all"];
    let only_ptrace = ["setpriv", "--inh-caps", "-all,+sys_ptrace", "--bounding-set", "-all,+sys_ptrace"];
    let ptrace = another_with("+sys_ptrace");
    let ptrace_and_files = another_with("+sys_ptrace,+dac_read_search");
    let with_nice = another_with("+sys_ptrace,+dac_read_search,+sys_nice");
    let with_admin = another_with("+sys_ptrace,+dac_read_search,+sys_admin");
    let files_alone = another_with("+dac_read_search");
    let cases: [(&str, Vec<&str>, Allowed); 11] = [
        ("root", Vec::new(), EVERYTHING),
        ("root without capabilities", dropped.to_vec(), NOTHING),
        ("root with SYS_PTRACE alone", only_ptrace.to_vec(), NO_FILES),
        ("the same user", SAME_USER.to_vec(), ALL_BUT_ROOTS),
        ("the same user in another group", SAME_USER_OTHER_GROUP.to_vec(), NOTHING),
        ("another user", OTHER_USER.to_vec(), NOTHING),
        ("another user with SYS_PTRACE", borrowed(&ptrace), NO_FILES),
        ("another user with DAC_READ_SEARCH", borrowed(&files_alone), NOTHING),
        ("another user with SYS_PTRACE, DAC_READ_SEARCH", borrowed(&ptrace_and_files), ALL_BUT_ROOTS),
        ("and SYS_NICE", borrowed(&with_nice), Allowed { real_time: true, ..ALL_BUT_ROOTS }),
        ("and SYS_ADMIN", borrowed(&with_admin), Allowed { kernel_stack: true, ..ALL_BUT_ROOTS }),
    ];
    for (what, before, expected) in cases {
        let said = assert_diagnosed(what, &before, &programs, &victim, expected);
        if !expected.attach {
            let grant = &said.check("process", "attach")["grant"];
            assert!(
                grant["docker"].as_str().is_some_and(|grant| grant.contains("--cap-add SYS_PTRACE")),
                "{what}: {grant}"
            );
        }
    }
}

#[test]
fn a_limit_that_allows_real_time() {
    if !can_set_users() {
        return;
    }
    let limited = [&["prlimit", "--rtprio=1"], SAME_USER].concat();
    if !run(Command::new(limited[0]).args([limited[1], "true"])).status.success() {
        eprintln!("SKIPPED a_limit_that_allows_real_time: the limit cannot be raised without CAP_SYS_RESOURCE");
        return;
    }
    let programs = Programs::new();
    let victim = programs.sleeper(SAME_USER, "");
    assert_diagnosed("with a limit", &limited, &programs, &victim, Allowed { real_time: true, ..ALL_BUT_ROOTS });
}

fn borrowed(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// What the doctor says would grant a right does grant it.
#[test]
fn what_is_said_to_grant_a_right_does() {
    if !can_set_users() {
        return;
    }
    let programs = Programs::new();
    let victim = programs.sleeper(SAME_USER, "");
    let pid = victim.pid();
    let mut capabilities: Vec<String> = Vec::new();
    for (about, name) in
        [("process", "attach"), ("process", "call-file"), ("host", "real-time"), ("process", "kernel-stack")]
    {
        let before = match capabilities.as_slice() {
            [] => OTHER_USER.iter().map(ToString::to_string).collect(),
            some => another_with(&some.join(",")),
        };
        let said = Said::of(&borrowed(&before), &programs, &pid);
        assert!(!said.has(about, name), "{name}: {}", said.document);
        let grant = said.check(about, name)["grant"]["systemd"].as_str().expect("a grant").to_owned();
        let wanted = grant.split_whitespace().find_map(|word| word.strip_prefix("AmbientCapabilities=CAP_"));
        capabilities.push(format!("+{}", wanted.expect("a capability").to_lowercase()));
        let said = Said::of(&borrowed(&another_with(&capabilities.join(","))), &programs, &pid);
        assert!(said.has(about, name), "{name} with {capabilities:?}: {}", said.document);
    }
}

#[test]
fn a_process_that_its_own_user_may_not_look_at() {
    if !can_set_users() {
        return;
    }
    let programs = Programs::new();
    let victim = programs.sleeper(SAME_USER, "undumpable");
    let ptrace = another_with("+sys_ptrace");
    let ptrace_and_files = another_with("+sys_ptrace,+dac_read_search");
    let cases: [(&str, Vec<&str>, Allowed); 4] = [
        ("root", Vec::new(), EVERYTHING),
        ("the same user", SAME_USER.to_vec(), NOTHING),
        ("another user with SYS_PTRACE", borrowed(&ptrace), NO_FILES),
        ("another user with SYS_PTRACE, DAC_READ_SEARCH", borrowed(&ptrace_and_files), ALL_BUT_ROOTS),
    ];
    for (what, before, expected) in cases {
        let said = assert_diagnosed(what, &before, &programs, &victim, expected);
        assert!(!said.has("process", "dumpable"), "{what}: {}", said.document);
    }
    let said = Said::of(SAME_USER, &programs, &victim.pid());
    assert!(said.check("process", "attach")["detail"].to_string().contains("not dumpable"), "{}", said.document);
}

#[test]
fn a_process_with_more_capabilities_than_hangsnap() {
    if !can_set_users() {
        return;
    }
    let programs = Programs::new();
    let capability = ["--inh-caps", "+net_raw", "--ambient-caps", "+net_raw"];
    let victim = programs.sleeper(&[SAME_USER, &capability].concat(), "");
    let said = assert_diagnosed("without its capability", SAME_USER, &programs, &victim, NOTHING);
    assert!(said.check("process", "attach")["detail"].to_string().contains("capabilities"), "{}", said.document);
    let equal = [SAME_USER, &capability].concat();
    assert_diagnosed("with as many", &equal, &programs, &victim, ALL_BUT_ROOTS);
}

#[test]
fn user_namespaces() {
    if !can_set_users() {
        return;
    }
    let programs = Programs::new();
    let outside = programs.sleeper(SAME_USER, "");
    let namespace = ["unshare", "--user", "--map-root-user"];
    let said = assert_diagnosed("hangsnap in a user namespace", &namespace, &programs, &outside, NOTHING);
    assert!(!said.has("process", "user-namespace"), "{}", said.document);
    let grant = &said.check("process", "attach")["grant"]["docker"];
    assert!(grant.as_str().is_some_and(|grant| grant.contains("--userns=host")), "{grant}");
    let inside = programs.sleeper(&namespace, "");
    let said = assert_diagnosed("a process in a user namespace", &[], &programs, &inside, EVERYTHING);
    assert!(said.has("process", "user-namespace"), "{}", said.document);
    // Beside it in its own namespace, where hangsnap has every capability of that namespace.
    let pid = inside.pid();
    let beside = ["nsenter", "--user", "--preserve-credentials", "--target", &pid];
    let said = assert_diagnosed("both in one user namespace", &beside, &programs, &inside, ALL_BUT_ROOTS);
    assert!(said.has("process", "user-namespace"), "{}", said.document);
    assert!(!said.has("host", "kernel-stacks"), "{}", said.document);
}

/// How often the threads of a process have been taken off a CPU, and who traces them.
fn undisturbed(pid: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).expect("the victim is alive") {
        let status = fs::read_to_string(task.expect("a thread").path().join("status")).expect("it sleeps");
        let told = |line: &&str| line.contains("ctxt_switches") || line.starts_with("TracerPid");
        lines.extend(status.lines().filter(told).map(ToOwned::to_owned));
    }
    lines
}

/// How many threads of a process sleep in pause(2).
fn in_pause(pid: &str) -> usize {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("the victim is alive");
    let calls = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("syscall")).ok());
    calls.filter(|call| call.starts_with(&format!("{} ", libc::SYS_pause))).count()
}

#[test]
fn the_process_does_not_notice() {
    let programs = Programs::new();
    let victim = programs.sleeper(&[], "");
    until("both threads sleep", PATIENCE, || in_pause(&victim.pid()) == 2);
    let before = undisturbed(&victim.pid());
    assert_eq!(before.len(), 6, "two threads, three lines each: {before:?}");
    for _ in 0..20 {
        assert_eq!(Said::of(&[], &programs, &victim.pid()).code, 0);
    }
    assert_eq!(undisturbed(&victim.pid()), before);
    // The same measure notices a snapshot.
    run(with(&[], &programs.hangsnap()).args(["--pid", &victim.pid()]).stdout(Stdio::null()));
    assert_ne!(undisturbed(&victim.pid()), before);
}
