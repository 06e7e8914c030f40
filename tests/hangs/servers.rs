//! Real servers in waits that their own memory explains, as PostgreSQL's, or that only they
//! themselves can: then nothing is accused, and a thread that waits amid its work is not called
//! idle. What the servers say of themselves is the truth.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use super::innocents::{Made, free_port, nginx_with, postgres_with, redis_with, server, text};
use super::programs::{Running, Trouble, serve};
use super::truth::now;
use super::verdict::Look;
use super::{BEGINS_WITHIN, each, limited};
use crate::support::{hangsnap, run, until};

/// A server, or None where it is not installed.
fn started(name: &str, made: impl FnOnce(&std::path::Path) -> Made) -> Option<Running> {
    match serve(name, made) {
        Ok(running) => Some(running),
        Err(Trouble::Skipped(why)) => {
            eprintln!("SKIPPED hangs, {name}: {why}");
            None
        }
        Err(Trouble::Failed(why)) => panic!("{name}: {why}"),
    }
}

/// What `why` says of these processes: never that anything is stuck. Prints it for readers, too.
fn unaccused(name: &str, pids: &[String]) -> Value {
    let targets = || pids.iter().flat_map(|pid| ["--pid", pid.as_str()]);
    let printed = limited(hangsnap().arg("why").args(targets()));
    println!("{name}\n{}", String::from_utf8_lossy(&printed.stdout));
    let look = Look::new(now(), &limited(hangsnap().args(["why", "--json"]).args(targets())));
    assert_eq!(look.complaint(), None, "{name}");
    assert!(!look.is_stuck(), "{name}: {}", look.json);
    look.json
}

/// What is said of one thread.
fn thread(said: &Value, tid: i64) -> &Value {
    each(said, "threads").find(|thread| thread["tid"] == tid).unwrap_or_else(|| panic!("{tid} is not in {said}"))
}

fn is_amid(thread: &Value, what: &str) -> bool {
    thread["state"] == "waiting" && thread["amid"].as_str().is_some_and(|amid| amid.contains(what))
}

/// A client that sends statements and prints the answers, a line each.
struct Session {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Session {
    fn open(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("a client");
        let input = child.stdin.take().expect("its input is piped");
        let output = BufReader::new(child.stdout.take().expect("its output is piped"));
        Self { child, input, output }
    }

    fn say(&mut self, statement: &str) {
        writeln!(self.input, "{statement}").expect("the client reads");
    }

    /// The first line of the answer.
    fn ask(&mut self, statement: &str) -> String {
        self.say(statement);
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the client prints text");
        line.trim().to_owned()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Its sessions, by the port of the server.
struct Postgres<'a>(&'a str);

impl Postgres<'_> {
    fn session(&self) -> Session {
        let mut client = Command::new("psql");
        Session::open(client.args(["-qAtX", "-h", "127.0.0.1", "-U", "postgres", "-p", self.0, "postgres"]))
    }
}

/// Who blocks each of these backends, as the server says.
fn blocking(session: &mut Session, backends: &[i64]) -> Vec<BTreeSet<i64>> {
    let pids = |text: String| text.trim_matches(['{', '}']).split(',').filter_map(|pid| pid.parse().ok()).collect();
    backends.iter().map(|pid| pids(session.ask(&format!("select pg_blocking_pids({pid});")))).collect()
}

/// The same as hangsnap says.
fn held_by(said: &Value, backends: &[i64]) -> Vec<BTreeSet<i64>> {
    let holders = |pid: &i64| each(thread(said, *pid), "held_by").filter_map(|holder| holder["pid"].as_i64()).collect();
    backends.iter().map(holders).collect()
}

fn json(command: &mut Command) -> (Option<i32>, Value) {
    let output = limited(command);
    let said = serde_json::from_slice(&output.stdout).unwrap_or_default();
    println!("{}", String::from_utf8_lossy(&output.stderr));
    (output.status.code(), said)
}

fn why(pids: &[i64]) -> (Option<i32>, Value) {
    let targets = pids.iter().flat_map(|pid| ["--pid".to_owned(), pid.to_string()]);
    println!("{}", String::from_utf8_lossy(&limited(hangsnap().arg("why").args(targets.clone())).stdout));
    json(hangsnap().args(["why", "--json"]).args(targets))
}

fn deadlock(said: &Value) -> BTreeSet<i64> {
    let deadlock = each(said, "verdicts").find(|verdict| verdict["kind"] == "deadlock");
    let deadlock = deadlock.unwrap_or_else(|| panic!("no deadlock: {said}"));
    assert_eq!((&deadlock["level"], &deadlock["proof"]), (&"stuck".into(), &"proved".into()), "{deadlock}");
    each(deadlock, "accused").filter_map(|who| who["pid"].as_i64()).collect()
}

#[test]
fn a_deadlock_inside_postgres_is_proved_as_its_shared_memory_says() {
    let port = free_port();
    let options = ["-c", "deadlock_timeout=100s"];
    let Some(running) = started("postgres", |directory| postgres_with(directory, &port, &options)) else { return };
    let server = Postgres(&port);
    let mut watch = server.session();
    watch.say("create table t(i int primary key, v int); insert into t values (1, 1), (2, 2), (3, 3);");
    watch.say("create table u(i int);");
    assert_eq!(watch.ask("select count(*) from t;"), "3");
    let mut sessions: Vec<Session> = (0..6).map(|_| server.session()).collect();
    let pids: Vec<i64> =
        sessions.iter_mut().map(|one| one.ask("select pg_backend_pid();").parse().expect("a pid")).collect();
    let mut does = |number: usize, statement: &str| {
        let answer = sessions[number].ask(&format!("begin; {statement}; select 'done';"));
        assert_eq!(answer, "done");
    };
    // A deadlock of the first two; the third waits for a row of the first, and the fifth after it;
    // the fourth has a table that the sixth wants.
    does(0, "update t set v = 0 where i = 1");
    does(1, "update t set v = 0 where i = 2");
    does(3, "lock table u in share mode");
    for (number, statement) in [
        (0, "update t set v = 0 where i = 2;"),
        (1, "update t set v = 0 where i = 1;"),
        (2, "update t set v = 0 where i = 1;"),
        (4, "update t set v = 0 where i = 1;"),
        (5, "insert into u values (1);"),
    ] {
        sessions[number].say(statement);
        until("the backend is blocked", BEGINS_WITHIN, || !blocking(&mut watch, &pids[number..=number])[0].is_empty());
    }
    let expected = blocking(&mut watch, &pids);
    println!("{pids:?} are blocked by {expected:?}");

    let (code, said) = why(&pids);
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(held_by(&said, &pids), expected, "{said}");
    let both = BTreeSet::from([pids[0], pids[1]]);
    assert_eq!(deadlock(&said), both);
    let waits_for = |number: usize| thread(&said, pids[number])["waits_for"]["text"].to_string();
    assert!(waits_for(0).contains("ShareLock of transaction "), "{}", waits_for(0));
    assert!(waits_for(5).contains("RowExclusiveLock of relation "), "{}", waits_for(5));
    let table = thread(&said, pids[5]);
    assert_eq!((&table["state"], &table["amid"]), (&"waiting".into(), &"amid a statement".into()), "{table}");
    // One of the two is enough, for the memory is that of all.
    let (code, alone) = why(&pids[..1]);
    assert_eq!((code, deadlock(&alone)), (Some(1), both.clone()), "{alone}");
    // One that waits for them is not accused.
    let (_, third) = why(&pids[2..3]);
    assert!(each(&third, "verdicts").all(|verdict| verdict["level"] != "stuck"), "{third}");

    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut record = hangsnap();
    record.args(["--every", "300ms", "--count", "4", "-o"]).arg(directory.path());
    let recorded = limited(record.args(pids.iter().flat_map(|pid| ["--pid".to_owned(), pid.to_string()])));
    assert!(recorded.status.success(), "{}", String::from_utf8_lossy(&recorded.stderr));
    let (code, recorded) = json(hangsnap().arg("stuck").arg(directory.path()).arg("--json"));
    assert_eq!((code, held_by(&recorded, &pids), deadlock(&recorded)), (Some(1), expected, both), "{recorded}");

    // A session that waits for its client is idle, as the other processes are that wait for work.
    let idle = watch.ask("select pg_backend_pid();");
    let said = unaccused("postgres, all else", &[running.targets(), vec![idle.clone()]].concat());
    assert_eq!(thread(&said, idle.parse().expect("a pid"))["state"], "idle", "{said}");
}

#[test]
fn redis_that_sleeps_in_a_command_is_not_called_idle() {
    let port = free_port();
    let options = ["--enable-debug-command", "yes"];
    let Some(running) = started("redis", |directory| redis_with(directory, &port, &options)) else { return };
    // Its loop wakes up several times a second by itself.
    let said = unaccused("redis, idle", &running.targets());
    assert!(each(&said, "threads").all(|thread| thread["amid"].is_null() && thread["state"] != "waiting"), "{said}");
    let mut client = TcpStream::connect(format!("127.0.0.1:{port}")).expect("it listens");
    client.write_all(b"DEBUG SLEEP 30\r\n").expect("it reads");
    let call = format!("/proc/{}/syscall", running.pid());
    until("it sleeps", BEGINS_WITHIN, || {
        std::fs::read_to_string(&call).is_ok_and(|call| call.starts_with(&format!("{} ", libc::SYS_clock_nanosleep)))
    });
    let said = unaccused("redis, DEBUG SLEEP", &running.targets());
    assert_eq!(said["answer"], "waiting", "{said}");
    let main = thread(&said, running.pid().into());
    assert!(is_amid(main, "event loop"), "{main}");
    assert_eq!(main["place"], "debugCommand", "{main}");
    let mut line = [0];
    client.set_nonblocking(true).expect("a socket");
    assert!(client.read(&mut line).is_err(), "it has answered before it was looked at");
}

#[test]
fn nginx_whose_upstream_does_not_answer_is_not_accused() {
    let upstream = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = upstream.local_addr().expect("its address");
    let port = free_port();
    let location = format!("location / {{ proxy_pass http://{address}; }}");
    let Some(running) = started("nginx", |directory| nginx_with(directory, &port, &location)) else { return };
    let mut client = TcpStream::connect(format!("127.0.0.1:{port}")).expect("it listens");
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("it reads");
    let (mut request, _) = upstream.accept().expect("nginx connects");
    let mut byte = [0];
    request.read_exact(&mut byte).expect("nginx asks");
    running.until_asleep("nginx");
    let said = unaccused("nginx", &running.targets());
    assert!(each(&said, "threads").all(|thread| thread["state"] == "idle"), "{said}");
}

#[test]
fn mariadb_that_waits_for_a_metadata_lock_is_neither_accused_nor_called_idle() {
    let port = free_port();
    let Some(running) = started("mariadb", |directory| mariadb(directory, &port)) else { return };
    let socket = running.directory().join("socket");
    let session = || {
        let mut client = Command::new("mariadb");
        // Not at their end alone, what answers are printed.
        Session::open(client.args(["--no-defaults", "-uroot", "-NBn", "-S"]).arg(&socket))
    };
    let (mut one, mut other, mut third) = (session(), session(), session());
    third.say("create database d; create table d.t(i int) engine=innodb; insert into d.t values (1);");
    assert_eq!(third.ask("select count(*) from d.t;"), "1");
    assert_eq!(one.ask("begin; select i from d.t;"), "1");
    other.say("alter table d.t add column j int;");
    let waiting = "select ifnull(max(tid), 0) from information_schema.processlist where state like '%metadata lock%';";
    let mut tid = 0;
    until("the statement waits", BEGINS_WITHIN, || {
        tid = third.ask(waiting).parse().unwrap_or(0);
        tid != 0
    });
    let said = unaccused("mariadb", &[running.pid().to_string()]);
    assert!(is_amid(thread(&said, tid), "metadata lock"), "{said}");
    assert_eq!(each(&said, "threads").filter(|thread| !thread["amid"].is_null()).count(), 1, "{said}");
}

fn mariadb(directory: &std::path::Path, port: &str) -> Made {
    let (data, socket) = (format!("{}/data", text(directory)), format!("{}/socket", text(directory)));
    let (data, socket) = (format!("--datadir={data}"), format!("--socket={socket}"));
    let is_there = run(Command::new("sh").args(["-c", "command -v mariadb-install-db"])).status.success();
    if !is_there {
        return Err("mariadbd is not installed; tests/run installs it".to_owned());
    }
    let options = ["--no-defaults", "--user=root", &data, "--auth-root-authentication-method=normal", "--skip-test-db"];
    let installed = run(Command::new("mariadb-install-db").args(options));
    assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stdout));
    let (port_option, pid) = (format!("--port={port}"), format!("--pid-file={}/pid", text(directory)));
    let small = ["--innodb-buffer-pool-size=16M", "--innodb-log-file-size=4M", "--bind-address=127.0.0.1"];
    let options = ["mariadbd", "--no-defaults", "--user=root", &data, &socket, &port_option, &pid];
    server(&[&options[..], &small].concat(), port)
}
