//! What else stands in the way: filters, other tracers, hidden processes, sleep that nothing ends,
//! processes that are none.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Programs, Said, assert_true, is_root, notices, with};
use crate::harmless::unstoppable::LIFE;
use crate::harmless::unstoppable::fixture::Fixture;
use crate::lifecycle::sampler::{PATIENCE, await_line, start_told};
use crate::support::{compile, floor, run, succeed, until};

const EPERM: &str = "1";
const KILL: &str = "0";
const KILL_THREAD: &str = "-1";

#[test]
fn a_seccomp_filter() {
    let programs = Programs::new();
    let victim = programs.sleeper(&[], "");
    let filter = programs.path("filtered").display().to_string();
    for (call, name, refused, killed) in [
        (libc::SYS_ptrace, "ptrace", "limited", "limited"),
        (libc::SYS_process_vm_readv, "process-vm-readv", "complete", "complete"),
        (libc::SYS_sched_setscheduler, "real-time", "complete", "limited"),
    ] {
        let number = call.to_string();
        for (answer, snapshot) in [(EPERM, refused), (KILL, killed), (KILL_THREAD, killed)] {
            let before = [filter.as_str(), &number, answer];
            let said = Said::of(&before, &programs, &victim.pid());
            assert!(!said.has("host", name), "{name}: {}", said.document);
            assert_eq!(said.snapshot(), snapshot, "{name}: {}", said.document);
            if answer != EPERM && snapshot == "limited" {
                let output = run(with(&before, &programs.hangsnap()).args(["--pid", &victim.pid(), "--json"]));
                let notices = notices(&output);
                assert_eq!(notices.len(), 1, "no thread is left out: {notices:?}");
                assert!(
                    notices[0].contains("taken without stopping any thread because of a seccomp filter"),
                    "{notices:?}"
                );
                assert!(said.limits().concat().contains("use --stop none"), "{}", said.document);
                let mut without = with(&before, &programs.hangsnap());
                let output = run(without.args(["--pid", &victim.pid(), "--stop", "none", "--json"]));
                assert_eq!(super::notices(&output), [""; 0], "nothing is missing: {name}");
            } else {
                assert_true(&said, &before, &programs, &victim.pid());
            }
        }
    }
}

/// Ends with the test.
struct Tracer(Child);

impl Drop for Tracer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_process_that_is_traced_already() {
    let programs = Programs::new();
    let victim = programs.sleeper(&[], "");
    let pid = victim.pid();
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o", "/dev/null", "-p", &pid]).stdin(Stdio::null()).stderr(Stdio::null());
    let tracer = Tracer(strace.spawn().expect("tests/run installs strace"));
    until("strace traces both threads", PATIENCE, || {
        let said = Said::of(&[], &programs, &pid);
        said.check("process", "tracer")["detail"].to_string().contains("traces 2 of its threads")
    });
    let said = Said::of(&[], &programs, &pid);
    assert_eq!(said.snapshot(), "impossible", "{}", said.document);
    let grant = said.check("process", "tracer")["grant"]["host"].to_string();
    assert!(grant.contains("strace") && grant.contains(&tracer.0.id().to_string()), "{grant}");
    assert_true(&said, &[], &programs, &pid);
    drop(tracer);
    until("strace has let go", PATIENCE, || Said::of(&[], &programs, &pid).snapshot() == "complete");
}

#[test]
fn a_thread_in_uninterruptible_sleep() {
    let programs = Programs::new();
    let (mut victim, input) =
        start_told(Command::new(compile("gcc", "lives.c", &["-O1", "-g", "-pthread"])).arg("vfork"));
    until("a thread sleeps uninterruptibly", PATIENCE, || victim.states().contains(&'D'));
    let said = Said::of(&[], &programs, &victim.pid());
    assert!(said.has("process", "attach") && said.has("process", "uninterruptible"), "{}", said.document);
    assert_eq!((said.snapshot(), said.code), ("complete", 0), "{}", said.document);
    assert!(victim.states().contains(&'D'), "and it sleeps on");
    drop(input);
    await_line(&mut victim, "over");
}

#[test]
fn a_memory_map_that_is_locked() {
    let Some(fixture) = Fixture::start("mmap-lock", LIFE) else {
        return;
    };
    let programs = Programs::new();
    let pid = fixture.target().to_string();
    let victim = programs.sleeper(&[], "");
    let without = floor(|| drop(Said::of(&[], &programs, &victim.pid())));
    let begun = Instant::now();
    let said = Said::of(&[], &programs, &pid);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(10).max(without * 20), "it took {took:?}, and {without:?} for another process");
    assert!(said.has("process", "attach") && !said.has("process", "memory-file"), "{}", said.document);
    assert_eq!((said.snapshot(), said.code), ("limited", 1), "{}", said.document);
    assert!(said.limits().concat().contains("no stacks"), "{}", said.document);
    let output = run(with(&[], &programs.hangsnap()).args(["--pid", &pid, "--json"]));
    let snapshot: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for thread in snapshot["threads"].as_array().expect("threads") {
        assert!(thread["frames"].as_array().is_some_and(|frames| frames.len() < 2), "no stack can be walked: {thread}");
    }
    fixture.end();
}

/// hidepid needs a mount of /proc of its own.
#[test]
fn a_process_that_proc_hides() {
    let programs = Programs::new();
    let victim = programs.sleeper(&[], "");
    let script = "mount -t proc -o hidepid=2 none /proc || exit 77\n\
                  exec setpriv --reuid 65534 --regid 65534 --clear-groups \"$@\"";
    let mut hidden = Command::new("unshare");
    hidden.args(["--mount", "sh", "-c", script, "sh"]).arg(programs.hangsnap()).args([
        "doctor",
        "--pid",
        &victim.pid(),
    ]);
    let output = run(&mut hidden);
    if output.status.code() == Some(77) || !is_root() {
        eprintln!("SKIPPED a_process_that_proc_hides: /proc cannot be mounted here");
        return;
    }
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(complaint.contains("hidepid") && complaint.lines().count() == 1, "{complaint}");
}

#[test]
fn what_is_no_process_that_could_be_looked_at() {
    let programs = Programs::new();
    let mut child = Command::new("true").spawn().expect("coreutils are there");
    let pid = child.id().to_string();
    until("it has exited", PATIENCE, || {
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
    });
    let said = Said::of(&[], &programs, &pid);
    assert_eq!((said.snapshot(), said.code), ("impossible", 1), "{}", said.document);
    assert!(said.limits()[0].contains("has exited"), "{}", said.document);
    assert_true(&said, &[], &programs, &pid);
    child.wait().expect("it is our child");
    for gone in [pid.as_str(), "no-such-program-is-running", "0", ""] {
        let output = run(with(&[], &programs.hangsnap()).args(["doctor", "--pid", gone]));
        assert_eq!(output.status.code(), Some(2), "{gone}: {output:?}");
        assert!(output.stdout.is_empty(), "{gone}: {output:?}");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(complaint.starts_with("hangsnap: ") && complaint.lines().count() == 1, "{gone}: {complaint}");
    }
}

#[test]
fn people_read_what_is_missing_its_cost_and_its_grant_in_that_order() {
    let programs = Programs::new();
    let victim = programs.sleeper(&[], "");
    let alone = succeed(with(&[], &programs.hangsnap()).arg("doctor"));
    assert!(!alone.contains("Process") && !alone.contains("snapshot of it"), "no process was named:\n{alone}");
    let whole = succeed(with(&[], &programs.hangsnap()).args(["doctor", "-p", &victim.pid()]));
    assert!(whole.starts_with(&alone), "the host is the same:\n{whole}");
    let filter = programs.path("filtered").display().to_string();
    let number = libc::SYS_ptrace.to_string();
    let output = run(with(&[&filter, &number, EPERM], &programs.hangsnap()).args(["doctor", "-p", &victim.pid()]));
    let text = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<&str> = text.lines().collect();
    let at = lines.iter().position(|line| line.starts_with("  ptrace ")).expect("a line for it");
    assert!(lines[at].contains(" missing "), "{text}");
    assert!(lines[at + 1].trim_start().starts_with("costs: "), "{text}");
    let grant = lines[at + 2].trim_start();
    assert!(grant.starts_with("grant: docker ") && grant.contains(" | systemd SystemCallFilter=ptrace"), "{text}");
    let last = lines.last().expect("lines");
    assert!(last.starts_with("  a seccomp filter forbids ptrace: "), "{text}");
}

/// A control group that is removed when the test ends.
struct ControlGroup(PathBuf);

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // Every process in it has ended.
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_control_group_without_a_real_time_budget() {
    let group = ControlGroup(PathBuf::from(format!("/sys/fs/cgroup/cpu/doctor-{}", std::process::id())));
    let budget = group.0.join("cpu.rt_runtime_us");
    if fs::create_dir(&group.0).is_err() || !budget.exists() {
        eprintln!(
            "SKIPPED a_control_group_without_a_real_time_budget: no such account here (cgroups v1, RT_GROUP_SCHED)"
        );
        return;
    }
    let programs = Programs::new();
    let victim = programs.sleeper(&[], "");
    let script = "echo $$ > \"$0/cgroup.procs\" && exec \"$@\"";
    let inside = ["sh", "-c", script, group.0.to_str().expect("our own name")];
    let said = Said::of(&inside, &programs, &victim.pid());
    assert!(!said.has("host", "real-time"), "{}", said.document);
    let grant = said.check("host", "real-time")["grant"]["host"].to_string();
    assert!(grant.contains("write 10000 to cpu.rt_runtime_us"), "{grant}");
    fs::write(&budget, "10000").expect("the root group has some to give");
    assert!(Said::of(&inside, &programs, &victim.pid()).has("host", "real-time"), "what was to help has helped");
}
