//! What is wrong is said in one line each, with its place and what to write instead.

use std::fs;
use std::os::unix::net::UnixListener;

use super::daemon::Daemon;
use crate::support::{hangsnap, run, sleeper};

fn complaint(command: &mut std::process::Command) -> String {
    let output = run(command);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    String::from_utf8(output.stderr).expect("text")
}

#[test]
fn check_config_says_each_line_that_is_wrong() {
    let place = tempfile::tempdir().expect("a directory");
    let file = place.path().join("hangsnap.toml");
    fs::write(
        &file,
        "evry = \"5s\"\nmetrics-listen = \"0.0.0.0:80\"\n\n[[target]]\nname = \"nginx\"\non-probe = \"http://192.0.2.1/\"\n\
         on-threads = \"above=100000000\"\n\n[[target]]\non-hang = \"for=soon\"\n",
    )
    .expect("it can be written");
    let said = complaint(hangsnap().arg("check-config").arg(&file));
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 5, "{said}");
    for (line, (number, text)) in lines.iter().zip([
        (1, "`every` is one"),
        (2, "loopback only"),
        (6, "ask 127.0.0.1"),
        (7, "write a number from 1 to"),
        (10, "not a length of time"),
    ]) {
        assert!(line.starts_with(&format!("hangsnap: {}:{number}: ", file.display())) && line.contains(text), "{line}");
    }
    fs::write(&file, "[[target]]\nname = \"nginx\n").expect("it can be written");
    assert!(complaint(hangsnap().arg("check-config").arg(&file)).contains("hangsnap.toml:2: not TOML"));
    let missing = place.path().join("none.toml");
    assert!(complaint(hangsnap().arg("check-config").arg(&missing)).contains("name the file with --config"));
}

#[test]
fn flags_are_checked_as_keys_are() {
    for (arguments, why) in [
        (vec!["run"], "no process is named"),
        (vec!["run", "--name", "a", "--on-cpu", "above=9000000%"], "--on-cpu above=9000000%: "),
        (vec!["run", "--pod", "web"], "write NAMESPACE/NAME"),
        (vec!["run", "--cmd", "a("], "--cmd a(: "),
        (vec!["run", "--name", "a", "--every", "1ns"], "too short an interval"),
        (vec!["run", "--name", "a", "--on-heartbeat", "alive,age=5s"], "by its whole path"),
        (vec!["--name", "no-such-program"], "no process that runs is meant by --name no-such-program"),
    ] {
        let said = complaint(hangsnap().args(&arguments));
        assert!(said.contains(why) && said.lines().count() == 1, "{arguments:?}: {said}");
    }
}

#[test]
fn a_socket_that_answers_nobody_and_a_second_daemon_are_said() {
    let place = tempfile::tempdir().expect("a directory");
    let socket = place.path().join("control");
    let said = complaint(hangsnap().args(["status", "--socket"]).arg(&socket));
    assert!(said.contains("is the daemon running, with this socket?"), "{said}");
    let silent = UnixListener::bind(&socket).expect("a socket");
    let said = complaint(hangsnap().args(["status", "--socket"]).arg(&socket));
    assert!(said.contains("control: ") && said.lines().count() == 1, "{said}");
    drop(silent);
    let victim = sleeper();
    let daemon = Daemon::start(&format!("[[target]]\npid = {}\n", victim.pid()));
    daemon.until_targets(1);
    let said = complaint(
        hangsnap()
            .args(["run", "--pid", &victim.pid(), "--socket"])
            .arg(daemon.place().join("control"))
            .current_dir(place.path()),
    );
    assert!(said.contains("another hangsnap answers there"), "{said}");
}

#[test]
fn a_directory_that_cannot_be_written_costs_snapshots_and_is_said_once() {
    let victim = sleeper();
    let mut daemon = Daemon::start(&format!("every = \"50ms\"\n[[target]]\npid = {}\n", victim.pid()));
    daemon.until_targets(1);
    let recordings = daemon.place().join("recordings");
    fs::remove_dir_all(&recordings).expect("it can be removed");
    fs::write(&recordings, "in the way").expect("it can be written");
    daemon.line_with("has been removed");
    daemon.until("it goes on", |status| status["targets"][0]["skipped"].as_u64() > Some(20));
    let said = daemon.said().iter().filter(|line| line.contains("recordings")).count();
    assert!(said <= 3, "{:?}", daemon.said());
    fs::remove_file(&recordings).expect("it is there");
    daemon.until("it is recorded again", |_| daemon.files("hangsnap").len() == 1);
}
