//! Which processes a daemon looks at, as they come and go.

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::daemon::{Daemon, free_port};
use crate::support::{Victim, compile, hangsnap, run, sleeper};

#[test]
fn a_name_that_runs_several_times_is_several_targets_and_new_ones_are_found() {
    let program = compile("gcc", "sleeper.c", &["-O1", "-g", "-pthread"]);
    let place = tempfile::tempdir().expect("a directory");
    let own = place.path().join("manifold");
    fs::copy(&program, &own).expect("it can be copied");
    let start = || Victim::start(&mut Command::new(&own));
    let first = [start(), start()];
    let daemon = Daemon::start("every = \"500ms\"\n[[target]]\nname = \"manifold\"\n");
    daemon.until_targets(2);
    let why = run(hangsnap().args(["why", "--name", "manifold", "--once", "--json"]));
    let picture: serde_json::Value = serde_json::from_slice(&why.stdout).expect("JSON");
    assert_eq!(picture["processes"].as_array().map(Vec::len), Some(2), "all are one picture: {picture}");
    let begun = Instant::now();
    let third = start();
    daemon.until_targets(3);
    println!("a new process was sampled {:.2} s after its start", begun.elapsed().as_secs_f64());
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    drop(first);
    let status = daemon.until_targets(1);
    assert_eq!(status["targets"][0]["pid"].to_string(), third.pid());
    assert_eq!(daemon.files("hangsnap").len(), 3, "a recording each");
    // The same words without a daemon: one snapshot of it.
    let printed = run(hangsnap().args(["--exe"]).arg(&own));
    assert!(String::from_utf8_lossy(&printed.stdout).contains(&third.pid()), "{printed:?}");
}

#[test]
fn nginx_and_its_workers_are_found_by_name_and_by_their_parent() {
    let place = tempfile::tempdir().expect("a directory");
    let at = place.path().display();
    let port = free_port();
    let config = format!(
        "daemon off; worker_processes 3; pid {at}/pid; error_log {at}/error.log;\nevents {{}}\nhttp {{ access_log off; \
         client_body_temp_path {at}/a; proxy_temp_path {at}/b; fastcgi_temp_path {at}/c; uwsgi_temp_path {at}/d; \
         scgi_temp_path {at}/e; server {{ listen 127.0.0.1:{port}; }} }}\n"
    );
    fs::write(place.path().join("nginx.conf"), config).expect("it can be written");
    let mut nginx = Command::new("nginx")
        .arg("-c")
        .arg(place.path().join("nginx.conf"))
        .stdin(Stdio::null())
        .spawn()
        .expect("tests/run installs nginx");
    let daemon = Daemon::start(&format!("every = \"1s\"\n[[target]]\npid = {}\nchildren = true\n", nginx.id()));
    let status = daemon.until_targets(4);
    assert!(status["targets"].as_array().is_some_and(|targets| targets.iter().all(|target| target["name"] == "nginx")));
    // A new worker takes the place of one that has died.
    let worker = status["targets"][1]["pid"].as_i64().expect("a pid");
    let worker = nix::unistd::Pid::from_raw(i32::try_from(worker).expect("a pid"));
    nix::sys::signal::kill(worker, nix::sys::signal::Signal::SIGKILL).expect("it is there");
    daemon.until("another worker is there", |status| {
        let targets = status["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
        targets.len() == 4 && targets.iter().all(|target| target["pid"] != worker.as_raw())
    });
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(i32::try_from(nginx.id()).expect("a pid")),
        nix::sys::signal::Signal::SIGTERM,
    )
    .expect("it is there");
    nginx.wait().expect("it is our child");
    daemon.until("nothing is left", |status| status["targets"].as_array().is_some_and(Vec::is_empty));
    assert_eq!(daemon.files("hangsnap").len(), 5);
}

#[test]
fn a_program_that_makes_itself_a_daemon_is_found_again() {
    let place = tempfile::tempdir().expect("a directory");
    let port = free_port();
    let mut daemon = Daemon::start(
        "every = \"200ms\"\n[[target]]\ncmd = \"redis-server .*:@PORT\"\n".replace("@PORT", &port.to_string()).as_str(),
    );
    let started = run(Command::new("redis-server").current_dir(place.path()).args([
        "--port",
        &port.to_string(),
        "--daemonize",
        "yes",
        "--pidfile",
        place.path().join("pid").to_str().expect("a path"),
    ]));
    assert!(started.status.success());
    let status = daemon.until_targets(1);
    let pid = status["targets"][0]["pid"].as_i64().expect("a pid");
    let own = fs::read_to_string(place.path().join("pid")).expect("it writes its pid");
    assert_eq!(own.trim(), pid.to_string());
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("it is there");
    daemon.line_with("has ended");
}

#[test]
fn targets_are_bounded_and_that_is_said_once() {
    let sleepers: Vec<_> = (0..6).map(|_| sleeper()).collect();
    let name = "sleeper*";
    let mut daemon = Daemon::start(&format!("every = \"1s\"\nmax-targets = 4\n[[target]]\nname = \"{name}\"\n"));
    let status = daemon.until_targets(4);
    daemon.until("the rest is counted", |status| status["left_out"].as_u64() >= Some(2));
    daemon.line_with("more processes are meant than max-targets = 4");
    // Several scans later.
    std::thread::sleep(Duration::from_secs(2));
    let said = daemon.said().iter().filter(|line| line.contains("max-targets")).count();
    assert_eq!(said, 1);
    drop((sleepers, status));
}

#[test]
fn a_process_in_a_container_is_found_by_its_control_group_and_shows_its_pid_inside() {
    let id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    // The second version, alone or beside the first; or a hierarchy of the first.
    let roots = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids"];
    let made = roots.iter().map(std::path::Path::new).find_map(|root| {
        let group = root.join(format!("libpod-{id}.scope"));
        (root.join("cgroup.procs").exists() && fs::create_dir(&group).is_ok()).then_some(group)
    });
    let Some(group) = made else {
        eprintln!("SKIPPED: no control group can be made here, as root only");
        return;
    };
    let program = compile("gcc", "sleeper.c", &["-O1", "-g", "-pthread"]);
    let victim = Victim::start(Command::new("unshare").args(["--pid", "--fork", "--kill-child"]).arg(program));
    let pids = fs::read_to_string(format!("/proc/{0}/task/{0}/children", victim.pid())).expect("its child");
    let inner = pids.trim().to_owned();
    fs::write(group.join("cgroup.procs"), &inner).expect("it can be moved");
    let daemon = Daemon::start(&format!("every = \"1s\"\n[[target]]\ncontainer = \"{}\"\n", &id[..12]));
    let status = daemon.until_targets(1);
    assert_eq!(status["targets"][0]["pid"].to_string(), inner);
    assert_eq!(status["targets"][0]["inner_pid"], 1);
    assert!(daemon.order(&["status"]).contains(&format!("{inner:>8} {:>7}", 1)), "{}", daemon.order(&["status"]));
    drop(daemon);
    drop(victim);
    crate::support::until("the group is empty", Duration::from_secs(10), || fs::remove_dir(&group).is_ok());
}
