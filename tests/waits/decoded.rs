//! What a blocked call is about is what strace says of the same thread.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{PATIENCE, Victim, hangsnap, succeed, until};

/// One that waits, as its arguments for Python, and how many arguments of the call strace prints of
/// a call that has not returned, without those that differ for a reason: strace prints a number for
/// a timeout, and pointers to what the kernel is to fill in only when it has. (Of a poll it says
/// restart_syscall: that it has interrupted it.)
const CASES: [(&str, &str, usize); 10] = [
    ("flock", "f = os.open(sys.argv[1], os.O_RDWR); locked(sys.argv[1]); say(); fcntl.flock(f, fcntl.LOCK_EX)", 2),
    ("fcntl", "f = os.open(sys.argv[1], os.O_RDWR); posix(sys.argv[1]); say(); fcntl.lockf(f, fcntl.LOCK_EX)", 2),
    ("wait4", "p = os.fork() or signal.pause(); say(); os.waitpid(p, os.WUNTRACED)", 1),
    ("clock_nanosleep", "say(); time.sleep(3600)", 2),
    ("openat", "os.mkfifo(sys.argv[1] + '.fifo'); say(); os.open(sys.argv[1] + '.fifo', os.O_WRONLY)", 3),
    ("read", "r, w = os.pipe(); say(); os.read(r, 1)", 1),
    ("accept4", "s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen(); say(); s.accept()", 1),
    ("pselect6", "r, w = os.pipe(); q, x = os.pipe(); say(); select.select([r, q], [], [])", 6),
    ("rt_sigtimedwait", "signal.pthread_sigmask(signal.SIG_BLOCK, [10, 40]); say(); signal.sigwait([10, 40])", 1),
    (
        "futex_waitv",
        "w = ctypes.c_uint32(0); a = struct.pack('QQII', 0, ctypes.addressof(w), 0x82, 0); say(); \
         c.syscall(449, a, 1, 0, None, 1)",
        5,
    ),
];

const BEGINNING: &str = "import ctypes, fcntl, os, select, signal, socket, struct, sys, time
c = ctypes.CDLL(None)
def say():
    print('ready', flush=True)
def child(lock):
    r, w = os.pipe()
    if not os.fork():
        lock()
        os.write(w, b'1')
        signal.pause()
    os.read(r, 1)
def locked(path):
    child(lambda: fcntl.flock(os.open(path, os.O_RDWR), fcntl.LOCK_EX))
def posix(path):
    child(lambda: fcntl.lockf(os.open(path, os.O_RDWR), fcntl.LOCK_EX))
";

#[test]
fn a_blocked_call_reads_as_strace_writes_it() {
    let mut wrong = Vec::new();
    for (name, body, count) in CASES {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("file");
        fs::write(&file, "").expect("a file");
        let program = format!("{BEGINNING}{}\n", body.replace("; ", "\n"));
        let mut command = Command::new("/usr/bin/python3");
        // A child that locks for it must not outlive it.
        let victim = Victim::start(command.args(["-c", &program]).arg(&file));
        let pid = victim.pid();
        let ours = until_in(&pid, name);
        let theirs = strace(&pid, directory.path());
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        for child in children.split_whitespace() {
            succeed(Command::new("kill").args(["-9", child]));
        }
        println!("{ours}\n    {theirs}");
        if arguments(&ours, count) != arguments(&theirs, count) {
            wrong.push((ours, theirs));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Waits until the main thread sleeps in this call, and says how hangsnap prints that.
fn until_in(pid: &str, name: &str) -> String {
    let mut text = String::new();
    until("it sleeps in the call", PATIENCE, || {
        let printed = succeed(hangsnap().args(["--pid", pid, "--stop", "none", "--json"]));
        let document: Value = serde_json::from_str(&printed).expect("JSON");
        let call = &document["threads"][0]["system_call"];
        call["text"].as_str().unwrap_or("").clone_into(&mut text);
        call["name"] == name && document["threads"][0]["state"] == "sleeping"
    });
    text
}

/// What strace says of a thread that sleeps.
fn strace(pid: &str, directory: &Path) -> String {
    let log = directory.join("strace");
    let mut tracing = Command::new("strace")
        .args(["-yy", "-p", pid, "-o"])
        .arg(&log)
        .stderr(Stdio::null())
        .spawn()
        .expect("strace is installed");
    let text = || fs::read_to_string(&log).unwrap_or_default();
    until("strace has said it", PATIENCE, || text().contains('('));
    succeed(Command::new("kill").args(["-INT", &tracing.id().to_string()]));
    tracing.wait().expect("strace ends");
    let line = text().lines().next().unwrap_or("").replace(" <detached ...>", "");
    // It says what the working directory is.
    match line.split_once("AT_FDCWD<") {
        Some((before, after)) => format!("{before}AT_FDCWD{}", after.split_once('>').map_or("", |(_, rest)| rest)),
        None => line,
    }
}

/// The call's name and this many of its arguments. Commas between brackets belong to one.
fn arguments(text: &str, count: usize) -> Vec<String> {
    let (name, rest) = text.split_once('(').unwrap_or((text, ""));
    let (mut depth, mut all) = (0, vec![String::new()]);
    for c in rest.trim_end().trim_end_matches([')', ',', ' ']).chars() {
        match c {
            '[' | '{' | '<' => depth += 1,
            ']' | '}' | '>' => depth -= 1,
            ',' if depth == 0 => {
                all.push(String::new());
                continue;
            }
            _ => {}
        }
        all.last_mut().expect("one was begun").push(c);
    }
    let all = all.into_iter().map(|argument| argument.trim().to_owned());
    std::iter::once(name.to_owned()).chain(all.take(count)).collect()
}
