//! The processes to look at.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

use crate::support::{PATIENCE, Victim, compile, until, victim_source};

/// A process whose threads all stay where they are.
pub struct Target {
    victim: Victim,
    pub threads: usize,
    /// What else has to live as long.
    _client: Option<TcpStream>,
}

impl Target {
    /// A victim that parks as many threads as it is asked to.
    pub fn compiled(compiler: &str, source: &str, flags: &[&str], threads: usize, arguments: &[&str]) -> Self {
        let program = compile(compiler, source, flags);
        Self::started(Command::new(program).arg(threads.to_string()).args(arguments), threads)
    }

    pub fn python(interpreter: &str, threads: usize) -> Self {
        Self::started(Command::new(interpreter).arg(victim_source("stacks.py")).arg(threads.to_string()), threads)
    }

    fn started(command: &mut Command, threads: usize) -> Self {
        // A libc of the machine's own finds every lock it needs at the start, not in the call that
        // it is parked in.
        let victim = Victim::start(command.env("LD_BIND_NOW", "1"));
        Self { victim, threads, _client: None }
    }

    /// A redis-server whose main thread sleeps in the command of a client.
    pub fn redis() -> Self {
        let port = free_port();
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--io-threads", "8", "--enable-debug-command", "yes", "--dir", env!("CARGO_TARGET_TMPDIR")])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        let mut child =
            child.unwrap_or_else(|error| panic!("redis-server cannot be run ({error}); tests/run installs it"));
        let output = BufReader::new(child.stdout.take().expect("its output is piped"));
        let mut victim = Victim { child, output };
        let mut connection = None;
        until("redis-server listens", PATIENCE, || {
            connection = TcpStream::connect(("127.0.0.1", port)).ok();
            connection.is_some()
        });
        let mut client = connection.expect("it is connected");
        ask(&mut client, "PING");
        let mut answer = String::new();
        BufReader::new(&client).read_line(&mut answer).expect("redis-server answers");
        assert_eq!(answer, "+PONG\r\n");
        let pid = victim.pid();
        assert!(victim.child.try_wait().expect("its state").is_none(), "another process has the port");
        ask(&mut client, "DEBUG SLEEP 1000000");
        // 35 and 230: the calls that sleep.
        let call = || fs::read_to_string(format!("/proc/{pid}/syscall")).expect("the server is alive");
        until("redis-server sleeps", PATIENCE, || ["35 ", "230 "].iter().any(|number| call().starts_with(number)));
        let threads = victim.states().len();
        Self { victim, threads, _client: Some(client) }
    }

    pub fn pid(&self) -> String {
        self.victim.pid()
    }

    /// Waits until every thread sleeps again: calls that a tracer interrupts begin again.
    pub fn settle(&self) {
        until("all threads sleep", PATIENCE, || self.victim.states().iter().all(|state| *state == 'S'));
    }
}

/// A free port. Another process could take it before the server does; then the server ends, and
/// the test says so.
fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

fn ask(client: &mut TcpStream, command: &str) {
    client.write_all(format!("{command}\r\n").as_bytes()).expect("redis-server listens");
}
