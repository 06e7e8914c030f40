//! What only looks as if it hung: one for each trap, and real servers without work.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Row;
use super::programs::Program::{self, Built, Script, Server};
use super::programs::Ready;
use crate::support::run;

pub type Made = Result<(Command, Ready), String>;

const fn innocent(name: &'static str, language: &'static str, program: Program) -> Row {
    Row { name, language, program, kind: "none", proof: "" }
}

const fn c(name: &'static str, arguments: &'static [&'static str]) -> Row {
    innocent(name, "C", Built("gcc", "innocents.c", &["-O1", "-g", "-pthread"], arguments))
}

pub const INNOCENTS: &[Row] = &[
    c("pool", &["pool"]),
    c("epoll", &["epoll"]),
    c("sleepers", &["sleepers"]),
    c("word like a mutex", &["word"]),
    c("word like a stdio lock", &["stdio"]),
    c("forked with a lock", &["forked"]),
    c("PID namespace", &["namespace"]),
    c("locks in order", &["ordered"]),
    c("recursive mutex", &["recursive"]),
    c("condvar, mutex held", &["worked"]),
    c("slow turns at a lock", &["turns"]),
    c("turns at accepting", &["acceptors"]),
    c("posted by a handler", &["handler"]),
    c("notified late", &["late"]),
    c("answered by another thread", &["answered"]),
    c("timed waits", &["timed"]),
    c("busy poller", &["polled"]),
    c("brief readers", &["rwlock"]),
    innocent("Python computes", "Python", Script("/usr/bin/python3", "compute.py", &[])),
    innocent("idle JVM", "Java", Built("javac", "Idle.java", &[], &[])),
    innocent("1,000 goroutines", "Go", Built("go", "idle.go", &[], &[])),
    innocent("idle node", "JS", Script("node", "idle.js", &[])),
    innocent("idle redis", "C", Server(redis)),
    innocent("idle nginx", "C", Server(nginx)),
    innocent("idle postgres", "C", Server(postgres)),
    innocent("shell and child", "sh", Server(shell)),
];

pub fn free_port() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("its address").port().to_string()
}

/// A server that listens at this port; an error if it is not installed.
pub fn server(command: &[&str], port: &str) -> Made {
    let is_there = run(Command::new("sh").args(["-c", "command -v \"$0\"", command[0]])).status.success();
    let mut made = Command::new(command[0]);
    made.args(&command[1..]);
    let ready = Ready::Listens(format!("127.0.0.1:{port}"));
    if is_there { Ok((made, ready)) } else { Err(format!("{} is not installed; tests/run installs it", command[0])) }
}

pub fn text(directory: &Path) -> &str {
    directory.to_str().expect("paths of tests are text")
}

fn redis(directory: &Path) -> Made {
    redis_with(directory, &free_port(), &["--io-threads", "3"])
}

pub fn redis_with(directory: &Path, port: &str, options: &[&str]) -> Made {
    server(&[&["redis-server", "--port", port, "--dir", text(directory), "--save", ""], options].concat(), port)
}

fn nginx(directory: &Path) -> Made {
    nginx_with(directory, &free_port(), "")
}

/// `location` is a part of its configuration.
pub fn nginx_with(directory: &Path, port: &str, location: &str) -> Made {
    let place = text(directory);
    let configuration = format!(
        "daemon off; worker_processes 2; pid {place}/pid; error_log {place}/errors; user root;
         events {{ worker_connections 64; }}
         http {{ access_log off; client_body_temp_path {place}; proxy_temp_path {place}; fastcgi_temp_path {place};
                 uwsgi_temp_path {place}; scgi_temp_path {place}; server {{ listen 127.0.0.1:{port}; {location} }} }}"
    );
    let file = format!("{place}/configuration");
    fs::write(&file, configuration).expect("a temporary file");
    server(&["nginx", "-e", "stderr", "-c", &file], port)
}

fn postgres(directory: &Path) -> Made {
    postgres_with(directory, &free_port(), &[])
}

pub fn postgres_with(directory: &Path, port: &str, options: &[&str]) -> Made {
    let place = text(directory);
    // It refuses to run as root; its package brings a user for it.
    let versions =
        fs::read_dir("/usr/lib/postgresql").map_err(|_| "postgresql is not installed; tests/run installs it")?;
    let newest =
        versions.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).max().ok_or("there is no version")?;
    let programs = text(&newest);
    if !run(Command::new("chown").arg("postgres").arg(directory)).status.success() {
        return Err("there is no user postgres, or root is not permitted".to_owned());
    }
    let user = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"];
    let (initdb, binary, data) =
        (format!("{programs}/initdb"), format!("{programs}/postgres"), format!("{place}/data"));
    let made = run(Command::new(user[0]).args(&user[1..]).args([&initdb, "-A", "trust", "-N", "-D", &data]));
    assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
    let (made, _) = server(&[&user[..], &[&binary, "-D", &data, "-k", place, "-p", port], options].concat(), port)?;
    Ok((made, Ready::ListensUntilInterrupted(format!("127.0.0.1:{port}"))))
}

fn shell(_: &Path) -> Made {
    let mut command = Command::new("sh");
    command.args(["-c", "sleep 1000; :"]).stdout(Stdio::null());
    Ok((command, Ready::HasChild))
}
