//! Real programs with something to do: how each is started, and what keeps it busy.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::build::{place, source};
use crate::support::{PATIENCE, run, until};

/// A program in a process namespace of its own, which ends with everything in it when this is
/// dropped.
pub struct Program {
    pub name: &'static str,
    parts: Vec<std::process::Child>,
    _directory: TempDir,
}

impl Program {
    /// The processes it consists of, without the one that holds the namespace.
    pub fn pids(&self) -> Vec<u32> {
        let mut found = vec![self.parts[0].id()];
        let parents: Vec<(u32, u32)> = fs::read_dir("/proc").expect("/proc").filter_map(parent).collect();
        let mut next = 0;
        while let Some(&pid) = found.get(next) {
            found.extend(parents.iter().filter(|(_, parent)| *parent == pid).map(|(child, _)| *child));
            next += 1;
        }
        found.split_off(1)
    }

    /// Starts it, and then what keeps it busy as soon as `is_ready`.
    fn start(
        name: &'static str,
        directory: TempDir,
        command: &[&str],
        mut is_ready: impl FnMut() -> bool,
        load: &[&str],
    ) -> Option<Self> {
        let mut program = Self { name, parts: vec![spawn(command)?], _directory: directory };
        until(&format!("{name} is ready"), PATIENCE, || {
            let ended = program.parts[0].try_wait().expect("a child's state");
            assert!(ended.is_none(), "{name} ended: {ended:?}");
            !program.pids().is_empty() && is_ready()
        });
        if !load.is_empty() {
            program.parts.push(spawn(load)?);
        }
        Some(program)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        for part in self.parts.iter_mut().rev() {
            // It may have ended by itself.
            let _ = part.kill();
            let _ = part.wait();
        }
    }
}

/// A process that has children; a killed one would leave them running if they were not in a
/// namespace of its own.
fn spawn(command: &[&str]) -> Option<std::process::Child> {
    let is_there = run(Command::new("sh").args(["-c", "command -v \"$0\"", command[0]])).status.success();
    let namespace = ["--pdeathsig", "KILL", "--", "unshare", "--pid", "--fork", "--kill-child=KILL", "--"];
    let mut wrapped = Command::new("setpriv");
    wrapped.args(namespace).args(command).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    is_there.then(|| wrapped.spawn().expect("setpriv is there; tests/run installs it"))
}

fn parent(entry: std::io::Result<fs::DirEntry>) -> Option<(u32, u32)> {
    let path = entry.ok()?.path();
    let pid = path.file_name()?.to_str()?.parse().ok()?;
    let stat = fs::read_to_string(path.join("stat")).ok()?;
    let parent = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()?;
    Some((pid, parent))
}

fn free_port() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("its address").port().to_string()
}

fn listens(port: &str) -> bool {
    TcpStream::connect(format!("127.0.0.1:{port}")).is_ok()
}

fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn text(path: &Path) -> String {
    path.to_str().expect("paths of tests are text").to_owned()
}

pub fn redis() -> Option<Program> {
    let port = free_port();
    let directory = directory();
    let place = text(directory.path());
    let command = ["redis-server", "--port", &port, "--dir", &place, "--save", "", "--io-threads", "3"];
    let load = ["redis-benchmark", "-p", &port, "-l", "-q", "-c", "8", "-d", "2000"];
    Program::start("redis-server", directory, &command, || listens(&port), &load)
}

/// An interpreter and a script that never ends, and that makes the file that it is given once it
/// has been busy for a while: by then much of it has been compiled.
fn script(name: &'static str, command: &[&str]) -> Option<Program> {
    let directory = directory();
    let mark = directory.path().join("warm");
    let path = text(&mark);
    let command = [command, &[&path]].concat();
    Program::start(name, directory, &command, || mark.exists(), &[])
}

pub fn python() -> Option<Program> {
    script("python3", &["/usr/bin/python3", &text(&source("busy.py"))])
}

pub fn node() -> Option<Program> {
    script("node", &["node", &text(&source("busy.js"))])
}

pub fn java() -> Option<Program> {
    let classes = place("java");
    let compiled = Command::new("javac").arg("-d").arg(&classes).arg(source("Busy.java")).status();
    if !compiled.is_ok_and(|status| status.success()) {
        return None;
    }
    script("java", &["java", "-Xmx64m", "-cp", &text(&classes), "Busy"])
}

pub fn nginx() -> Option<Program> {
    let port = free_port();
    let directory = directory();
    let place = text(directory.path());
    let configuration = format!(
        "daemon off; worker_processes 2; pid {place}/pid; error_log {place}/errors; user root;
         events {{ worker_connections 64; }}
         http {{ access_log {place}/accesses; gzip on; gzip_min_length 1; gzip_types *; root {place};
                 client_body_temp_path {place}; proxy_temp_path {place}; fastcgi_temp_path {place};
                 uwsgi_temp_path {place}; scgi_temp_path {place}; server {{ listen 127.0.0.1:{port}; }} }}"
    );
    let file = format!("{place}/configuration");
    fs::write(&file, configuration).expect("a temporary file");
    fs::write(format!("{place}/page"), "all work and no play ".repeat(20_000)).expect("a temporary file");
    let fetch = format!("while :; do curl -s --compressed -o /dev/null 'http://127.0.0.1:{port}/page?[1-1000]'; done");
    let command = ["nginx", "-e", "stderr", "-c", &file];
    Program::start("nginx", directory, &command, || listens(&port), &["sh", "-c", &fetch])
}

pub fn postgres() -> Option<Program> {
    let directory = directory();
    // It refuses to run as root; its package brings a user for it.
    if !run(Command::new("chown").arg("postgres").arg(directory.path())).status.success() {
        return None;
    }
    let (place, port) = (text(directory.path()), free_port());
    let programs = glob_last("/usr/lib/postgresql")?;
    let (initdb, server) = (format!("{programs}/bin/initdb"), format!("{programs}/bin/postgres"));
    let bench = format!("{programs}/bin/pgbench");
    let as_user = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"];
    let data = format!("{place}/data");
    let made = run(Command::new(as_user[0]).args(&as_user[1..]).args([&initdb, "-A", "trust", "-N", "-D", &data]));
    assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
    let command = [&as_user[..], &[&server, "-D", &data, "-k", &place, "-p", &port]].concat();
    let fill = format!(
        "{bench} -h {place} -p {port} -U postgres -i postgres && \
         exec {bench} -h {place} -p {port} -U postgres -c 4 -T 100000 postgres"
    );
    let socket = format!("{place}/.s.PGSQL.{port}");
    Program::start("postgres", directory, &command, || UnixStream::connect(&socket).is_ok(), &["sh", "-c", &fill])
}

pub fn mariadb() -> Option<Program> {
    let directory = directory();
    let place = text(directory.path());
    let (data, socket) = (format!("--datadir={place}/data"), format!("{place}/socket"));
    let install = ["--no-defaults", "--user=root", "--auth-root-authentication-method=normal", &data];
    if !Command::new("mariadb-install-db").args(install).stdout(Stdio::null()).status().is_ok_and(|it| it.success()) {
        return None;
    }
    let at = format!("--socket={socket}");
    let command = ["mariadbd", "--no-defaults", "--user=root", &data, &at, "--skip-networking"];
    let load = format!(
        "while :; do mariadb-slap --no-defaults --user=root {at} --auto-generate-sql --concurrency=4 \
         --auto-generate-sql-load-type=mixed --number-of-queries=5000; done"
    );
    let greets = || {
        let mut first = [0];
        // It says something as soon as it can be asked something.
        UnixStream::connect(&socket)
            .is_ok_and(|mut stream| stream.write(&[]).is_ok() && stream.read(&mut first).is_ok())
    };
    Program::start("mariadbd", directory, &command, greets, &["sh", "-c", &load])
}

/// The newest of what is in a directory.
fn glob_last(path: &str) -> Option<String> {
    let entries = fs::read_dir(path).ok()?.filter_map(|entry| Some(text(&entry.ok()?.path())));
    entries.max()
}
