//! Threads that make calls by another convention, that are the kernel's own, that have exited; and
//! what goes on of a daemon.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::{calls, snapshots, started, threads};
use crate::lifecycle::living;
use crate::lifecycle::sampler::{Sampler, start_told};
use crate::support::{Victim, compile, hangsnap, recorder, run, succeed, until};

/// It was named as the call of x86-64 with that number: `swapoff` for poll.
#[test]
fn a_call_by_int_0x80_has_its_own_name() {
    for (compiler, flags) in [
        ("gcc", &["-O2", "-g", "-pthread"][..]),
        ("clang", &["-O1", "-pthread"]),
        ("musl-gcc", &["-O2", "-pthread", "-static"]),
    ] {
        let victim = started(&compile(compiler, "int80.c", flags), &[]);
        until("its threads wait", Duration::from_secs(30), || {
            [168, 240, 29].iter().all(|wanted| calls(&victim).iter().any(|(_, number, _)| number == wanted))
        });
        let before = calls(&victim);
        for stop in ["none", "auto", "all"] {
            for snapshot in &snapshots(&victim, stop) {
                for (number, name) in [(168, "poll"), (240, "futex"), (29, "pause")] {
                    let what = format!("{compiler}, --stop {stop}, {name}");
                    let (tid, _, arguments) = before.iter().find(|call| call.1 == number).expect("it waits");
                    let thread = threads(snapshot).find(|thread| thread["tid"] == *tid).expect("it is there");
                    let call = &thread["system_call"];
                    assert_eq!((&call["name"], &call["abi"]), (&name.into(), &"i386".into()), "{what}: {call}");
                    let told: Vec<String> =
                        arguments.iter().map(|value| format!("{:#x}", value & 0xffff_ffff)).collect();
                    assert_eq!(call["arguments"], Value::from(told), "{what}: {call}");
                    let has_word = thread["memory"]
                        .as_array()
                        .expect("memory")
                        .iter()
                        .any(|piece| piece["what"] == "futex word and its neighbours");
                    assert_eq!(has_word, name == "futex", "{what}: {thread}");
                    assert!(thread["incomplete"].is_null(), "{what}: {thread}");
                }
            }
        }
    }
}

/// It was in a system call that it had never made, and a loss.
#[test]
fn workers_of_io_uring_are_what_they_are() {
    let program = compile("gcc", "ring.c", &["-O2", "-g"]);
    for arguments in [&[][..], &["sqpoll"]] {
        let victim = started(&program, arguments);
        let is_worker = |thread: &&Value| thread["name"].as_str().is_some_and(|name| name.starts_with("iou-"));
        until("it has workers", Duration::from_secs(30), || victim.states().len() > 1);
        for stop in ["auto", "none", "all"] {
            for snapshot in &snapshots(&victim, stop) {
                assert!(threads(snapshot).any(|thread| is_worker(&thread)), "{snapshot}");
                for thread in threads(snapshot).filter(is_worker) {
                    assert_eq!(thread["kernel_worker"], "io_uring", "--stop {stop}: {thread}");
                    assert!(thread["system_call"].is_null() && thread["held_ns"].is_null(), "--stop {stop}: {thread}");
                    assert_eq!(thread["frames"], Value::Array(Vec::new()), "--stop {stop}");
                }
                // That --stop all disturbs the main thread's wait is no loss.
                let mut notices = snapshot["notices"].as_array().expect("notices").iter();
                assert!(notices.all(|notice| notice["loss"] == false), "--stop {stop}: {}", snapshot["notices"]);
            }
        }
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("ring.hangsnap");
        let ended = Sampler::start(recorder(&victim.pid(), "20ms").args(["--count", "4", "-o"]).arg(&file)).end();
        assert!(ended.in_order().contains(" 0 losses"), "{}", ended.in_order());
        let printed = succeed(hangsnap().arg("show").arg(&file));
        assert!(printed.contains("kernel worker of io_uring"), "{printed}");
    }
}

/// A main thread that has exited was a loss in every snapshot.
#[test]
fn a_main_thread_that_has_exited_is_no_loss() {
    let (victim, _input) = living(&["first-leaves"]);
    until("its main thread has exited", Duration::from_secs(30), || victim.states().contains(&'Z'));
    let directory = tempfile::tempdir().expect("a temporary directory");
    for stop in ["auto", "all", "none"] {
        let file = directory.path().join(format!("{stop}.hangsnap"));
        let mut command = recorder(&victim.pid(), "20ms");
        let ended = Sampler::start(command.args(["--stop", stop, "--count", "3", "-o"]).arg(&file)).end();
        assert!(ended.in_order().contains(" 0 losses"), "--stop {stop}: {}", ended.in_order());
        let printed = succeed(hangsnap().arg("show").arg(&file));
        assert!(printed.contains("exited") && !printed.contains("Not seen"), "--stop {stop}: {printed}");
    }
}

/// One that was traced already kept all the others from being looked at.
#[test]
fn a_process_that_is_traced_does_not_keep_others_from_being_looked_at() {
    let program = compile("gcc", "sleeper.c", &["-O1", "-g", "-pthread"]);
    let (free, traced) = (started(&program, &[]), started(&program, &[]));
    let mut strace = Command::new("strace");
    strace.args(["-f", "-o", "/dev/null", "-p", &traced.pid()]).stderr(Stdio::null());
    let strace = Tracer(strace.spawn().expect("strace can be run"));
    let status = format!("/proc/{}/status", traced.pid());
    until("it is traced", Duration::from_secs(30), || {
        std::fs::read_to_string(&status).is_ok_and(|text| !text.contains("TracerPid:\t0"))
    });
    for every in [&[][..], &["--every", "20ms", "--count", "2"]] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut command = hangsnap();
        command
            .args(["--pid", &traced.pid(), "--pid", &free.pid(), "-o"])
            .arg(directory.path().join("both/"))
            .args(every);
        let output = run(&mut command);
        let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(2), "{out}{error}");
        assert!(error.contains(&format!("cannot trace {}", traced.pid())), "{error}");
        assert!(out.contains(&free.pid()), "{out}");
        let kept = std::fs::read_dir(directory.path().join("both")).expect("something is kept").count();
        assert_eq!(kept, 1, "{out}");
    }
    drop(strace);
}

struct Tracer(std::process::Child);

impl Drop for Tracer {
    fn drop(&mut self) {
        // It may have ended with what it traces.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// It had "ended; nothing left to record" while its successor ran.
#[test]
fn a_program_that_makes_itself_a_daemon_names_its_successor() {
    for flags in [&["-O1"][..], &["-O1", "-static"]] {
        let program = compile("gcc", "daemon.c", flags);
        let (mut victim, input): (Victim, _) = start_told(&mut Command::new(&program));
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut sampler =
            Sampler::start(recorder(&victim.pid(), "50ms").arg("-o").arg(directory.path().join("daemon.hangsnap")));
        sampler.more_samples(2);
        drop(input);
        let successor = victim.line().trim().to_owned();
        let line = sampler.line_with(": ended");
        let kill = nix::unistd::Pid::from_raw(successor.parse().expect("a pid"));
        nix::sys::signal::kill(kill, nix::sys::signal::Signal::SIGKILL).expect("it goes on");
        assert!(line.contains(&format!("record it with --pid {successor}")), "{line}");
    }
}

/// Its parent and its siblings have the same image, and were named as having come from it.
#[test]
fn a_worker_that_was_forked_beforehand_leaves_nothing() {
    let (mut victim, input): (Victim, _) = start_told(&mut Command::new(compile("gcc", "prefork.c", &["-O1"])));
    let worker = victim.line().trim().to_owned();
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut sampler = Sampler::start(recorder(&worker, "50ms").arg("-o").arg(directory.path().join("worker.hangsnap")));
    sampler.more_samples(2);
    drop(input);
    let pid = |text: &str| nix::unistd::Pid::from_raw(text.trim().parse().expect("a pid"));
    let sibling = pid(&victim.line());
    nix::sys::signal::kill(pid(&worker), nix::sys::signal::Signal::SIGTERM).expect("it runs");
    let line = sampler.line_with(": ended");
    nix::sys::signal::kill(sibling, nix::sys::signal::Signal::SIGKILL).expect("it runs on");
    assert!(!line.contains("record it"), "{line}");
}
