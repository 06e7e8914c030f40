//! Processes that cannot be looked at, and times that make no sense.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use super::{FAILED, assert_contains, complaint, is_empty};
use crate::lifecycle::sampler::PATIENCE;
use crate::support::{Victim, compile, hangsnap, run, sleeper, until};

/// A pid that was in use a moment ago and is not any more.
fn pid_of_the_past() -> String {
    let mut child = Command::new("true").spawn().expect("coreutils are there");
    child.wait().expect("it is our child");
    child.id().to_string()
}

/// What is said of a process that cannot be looked at, once, recorded and kept; nothing may be left
/// in the directory.
fn refused(pid: &str, parts: &[&str]) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("none.hangsnap");
    let ways: [&[&str]; 3] =
        [&["--pid", pid], &["--pid", pid, "-o"], &["--pid", pid, "--max-duty", "100%", "--every", "10ms", "-o"]];
    for way in ways {
        let mut command = hangsnap();
        command.args(way);
        if way.last() == Some(&"-o") {
            command.arg(&file);
        }
        assert_contains(&complaint(&mut command, FAILED), parts);
        assert!(is_empty(directory.path()), "{command:?} left something behind");
    }
}

#[test]
fn a_process_that_is_not_there() {
    let pid = pid_of_the_past();
    refused(&pid, &["no process", &pid]);
    refused("2147483647", &["no process", "2147483647"]);
    refused("no-such-program-is-running", &["no program called", "no-such-program-is-running"]);
}

#[test]
fn what_is_no_process_id() {
    for pid in ["0", "-1", "-0", "", "99999999999999999999", "2147483648"] {
        let text = complaint(hangsnap().arg(format!("--pid={pid}")), FAILED);
        assert_contains(&text, &["--pid"]);
    }
    refused("1 2", &["1 2"]);
    refused("../../etc", &["../../etc"]);
    refused("name\x1b[31m\nwith control characters", &["name"]);
}

#[test]
fn one_bad_process_among_good_ones_leaves_nothing_behind() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (good, bad) = (sleeper(), pid_of_the_past());
    for every in [&[][..], &["--max-duty", "100%", "--every", "10ms", "--count", "2"]] {
        let output = directory.path().join("recordings/");
        let mut command = hangsnap();
        command.args(["--pid", &good.pid(), "--pid", &bad]).args(every).arg("-o").arg(&output);
        assert_contains(&complaint(&mut command, FAILED), &["no process", &bad]);
        assert!(is_empty(directory.path()), "{command:?} left something behind");
    }
}

/// They were left out without a word.
#[test]
fn registers_that_are_to_be_left_out_are_not_asked_for() {
    let line = complaint(hangsnap().args(["--pid", &sleeper().pid(), "--redact", "--registers", "all"]), FAILED);
    assert_contains(&line, &["--registers all", "--redact"]);
    complaint(hangsnap().args(["--pid", "1", "--every", "1s", "--redact", "--registers", "all"]), FAILED);
}

#[test]
fn a_process_that_one_may_not_trace() {
    let victim = sleeper();
    // Where the test was built no other user may be allowed to go.
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("our own directory");
    let program = directory.path().join("hangsnap");
    fs::copy(hangsnap().get_program(), &program).expect("the program under test");
    let output = tempfile::tempdir().expect("a temporary directory");
    fs::set_permissions(output.path(), fs::Permissions::from_mode(0o777)).expect("our own directory");
    for every in [&[][..], &["--max-duty", "100%", "--every", "10ms", "--count", "2"]] {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]).arg(&program);
        command.args(["--pid", &victim.pid()]).args(every).arg("-o").arg(output.path().join("none.hangsnap"));
        let text = complaint(&mut command, FAILED);
        assert_contains(&text, &["not permitted", &victim.pid(), "sleeper", "CAP_SYS_PTRACE"]);
        assert!(is_empty(output.path()), "{command:?} left something behind");
    }
}

#[test]
fn a_32_bit_program() {
    // Without a C library, so that nothing but the compiler is needed.
    let flags = ["-m32", "-O1", "-ffreestanding", "-nostdlib", "-static", "-fno-pic", "-no-pie"];
    let victim = Victim::start(&mut Command::new(compile("gcc", "thirty_two.c", &flags)));
    refused(&victim.pid(), &["32-bit", &victim.pid()]);
}

#[test]
fn a_thread_of_the_kernel() {
    let names = |pid: &str| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    if names("2").trim() != "kthreadd" {
        eprintln!("SKIPPED a_thread_of_the_kernel: none is visible in this PID namespace");
        return;
    }
    refused("2", &["kthreadd", "kernel"]);
}

#[test]
fn a_process_that_has_exited_and_was_not_waited_for() {
    let mut child = Command::new("true").stdout(Stdio::null()).spawn().expect("coreutils are there");
    let pid = child.id().to_string();
    until("it has exited", PATIENCE, || {
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
    });
    refused(&pid, &["exited", &pid]);
    child.wait().expect("it is our child");
}

#[test]
fn a_thread_that_is_no_process() {
    let victim = sleeper();
    let tid = fs::read_dir(format!("/proc/{}/task", victim.pid()))
        .expect("the victim is alive")
        .filter_map(|task| task.ok()?.file_name().into_string().ok())
        .find(|tid| *tid != victim.pid())
        .expect("it has two threads");
    refused(&tid, &[&format!("--pid {}", victim.pid())]);
}

fn tracer_of(pid: &str) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the victim is alive");
    status.lines().find_map(|line| line.strip_prefix("TracerPid:")).expect("a field of every status").trim().into()
}

#[test]
fn a_process_that_is_traced_already() {
    let tracers: [(&str, &[&str]); 2] =
        [("strace", &["-f", "-o", "/dev/null", "-p"]), ("gdb", &["-nx", "-batch", "-ex", "shell sleep 60", "-p"])];
    for (name, arguments) in tracers {
        let victim = sleeper();
        let tracer = Command::new(name)
            .args(arguments)
            .arg(victim.pid())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} cannot be run ({error}); tests/run installs it"));
        let tracer = Tracer(tracer);
        until(&format!("{name} traces the victim"), PATIENCE, || tracer_of(&victim.pid()) != "0");
        let pid = tracer_of(&victim.pid());
        refused(&victim.pid(), &["already traced by", name, &pid]);
        assert_eq!(tracer_of(&victim.pid()), pid, "{name} still traces it");
        drop(tracer);
    }
}

/// Ends with the test; what it has started ends with the victim.
struct Tracer(std::process::Child);

impl Drop for Tracer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn hangsnap_itself_and_its_relatives() {
    // The shell's pid becomes hangsnap's own.
    let program = hangsnap().get_program().to_owned();
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" --pid $$"]).arg(program);
    assert_contains(&complaint(&mut command, FAILED), &["hangsnap itself"]);
}

#[test]
fn times_and_counts_that_make_no_sense() {
    let victim = sleeper();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("none.hangsnap");
    let bad: [(&[&str], &str); 12] = [
        (&["--every", "0s"], "--every 0s"),
        (&["--every", "0"], "--every 0"),
        (&["--every", "-1s"], "--every"),
        (&["--every", "soon"], "--every soon"),
        (&["--every", "5"], "--every 5"),
        (&["--every", ""], "--every"),
        (&["--every", "1ns"], "--every 1ns"),
        (&["--every", "10000000000000000000000h"], "--every"),
        (&["--every", "1s", "--count", "0"], "--count 0"),
        (&["--every", "1s", "--count", "many"], "--count many"),
        (&["--every", "1s", "--for", "0s"], "--for 0s"),
        (&["--every", "1s", "--for", "ever"], "--for ever"),
    ];
    for (arguments, named) in bad {
        let mut command = hangsnap();
        command.args(["--pid", &victim.pid(), "-o"]).arg(&file);
        for argument in arguments.chunks(2) {
            // `--every -1s` would be two options.
            command.arg(format!("{}={}", argument[0], argument[1]));
        }
        assert_contains(&complaint(&mut command, FAILED), &[named]);
        assert!(is_empty(directory.path()), "{command:?} left something behind");
    }
}

#[test]
fn options_that_do_not_go_together_are_told_by_exit_code_2() {
    let victim = sleeper();
    let pid = victim.pid();
    let bad: [&[&str]; 6] = [
        &["--count", "3", "--pid", &pid],
        &["--for", "3s", "--pid", &pid],
        &["--every", "1s", "--registers", "--pid", &pid],
        &["--every", "1s"],
        &["--no-such-option"],
        &[],
    ];
    for arguments in bad {
        let output = run(hangsnap().args(arguments));
        assert_eq!(output.status.code(), Some(FAILED), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{arguments:?}: {output:?}");
    }
}
