//! A service that is frozen in ways that occur is caught, recorded and named before an orchestrator
//! would have killed it: its probe fails three times, ten seconds apart.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use super::daemon::{Daemon, free_port};
use crate::support::{Victim, compile, hangsnap, run};

/// When an orchestrator kills the service: at the third failure, from the first on.
const KILLED: Duration = Duration::from_secs(20);

fn service(port: u16) -> Victim {
    let program = compile("gcc", "frozen.c", &["-O1", "-g", "-pthread"]);
    Victim::start(Command::new(program).arg(port.to_string()))
}

/// Asks for something, and does not care for the answer.
fn request(port: u16, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    // A service that is frozen may not read it.
    let _ = stream.write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes());
    stream
}

fn caught(kind: &str, named: &str) {
    let port = free_port();
    let mut service = service(port);
    let mut daemon = Daemon::start(&format!(
        "every = \"1s\"\n[[target]]\npid = {}\non-probe = \"http://127.0.0.1:{port}/,slow=1s,probe-every=200ms,burst=5,every=500ms\"\n",
        service.pid()
    ));
    daemon.until_targets(1);
    // The probe has had an answer.
    let mut answer = String::new();
    request(port, "/").read_to_string(&mut answer).expect("it answers");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    std::thread::sleep(Duration::from_millis(500));
    let frozen = Instant::now();
    let _first = request(port, &format!("/freeze/{kind}"));
    // For a pool of two connections, and for those that wait for a lock.
    let _others: Vec<TcpStream> = (0..8).map(|_| request(port, "/")).collect();
    let (at, line) = daemon.line_with("no answer within 1s");
    assert!(line.contains("on-probe"), "{line}");
    let status = daemon.until("there is a verdict", |status| status["incidents"][0]["verdict"].is_string());
    let incident = &status["incidents"][0];
    let took = frozen.elapsed();
    let latency = incident["latency_ms"].as_f64().expect("a number");
    println!(
        "{kind}: seen after {:.1} s, judged after {:.1} s, first sample {latency:.1} ms after the trigger: {}",
        at.duration_since(frozen).as_secs_f64(),
        took.as_secs_f64(),
        incident["answer"]
    );
    assert!(took < KILLED, "an orchestrator would have killed it before: {took:?}");
    let verdict =
        fs::read_to_string(incident["verdict"].as_str().expect("a path")).expect("it is beside the recording");
    assert!(verdict.contains(named), "{kind}: the verdict does not name `{named}`:\n{verdict}");
    // It is what the recording says, and it is pinned.
    let recording = incident["recording"].as_str().expect("a path");
    let pins = fs::read_dir(recording).expect("it is there").filter(|entry| {
        entry.as_ref().is_ok_and(|entry| entry.path().extension().is_some_and(|extension| extension == "pin"))
    });
    assert!(pins.count() > 0, "nothing of {recording} is pinned");
    let shown = run(hangsnap().args(["show", recording]));
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    // What the watcher does gates nothing: the process is as it was.
    let state = service.states();
    assert!(!state.contains(&'t') && !state.is_empty(), "{state:?}");
    daemon.end();
    service.child.kill().expect("it is our child");
}

#[test]
fn a_service_stopped_by_a_signal_is_caught_before_its_probe_kills_it() {
    caught("stop", "STOPPED");
}

#[test]
fn a_service_whose_threads_wait_for_a_lock_is_caught_before_its_probe_kills_it() {
    caught("lock", "held by");
}

#[test]
fn a_service_that_loops_is_caught_before_its_probe_kills_it() {
    caught("loop", "spin_forever");
}

#[test]
fn a_service_whose_name_server_is_silent_is_caught_before_its_probe_kills_it() {
    caught("dns", "find_database");
}

#[test]
fn a_service_whose_pool_is_exhausted_is_caught_before_its_probe_kills_it() {
    caught("pool", "borrow_connection");
}
