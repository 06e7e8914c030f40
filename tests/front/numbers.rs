//! Numbers read as what they are: timeouts of live calls, and holds that there were none of.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::{Victim, hangsnap, recorder, succeed, until};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// Each thread sits in its own call, whose arguments it chose.
const WAITS: &str = "
import ctypes, os, select, threading, time
libc = ctypes.CDLL(None, use_errno=True)
def call(name, number, *arguments):
    def wait():
        open('/proc/thread-self/comm', 'w').write(name)
        libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
    threading.Thread(target=wait, daemon=True).start()
epoll = select.epoll()
events = ctypes.create_string_buffer(4096)
word = ctypes.c_int(7)
at = ctypes.addressof(word)
call('poll-hour', 7, 0, 0, 3600000)
call('poll-ever', 7, 0, 0, -1)
call('epoll-min', 232, epoll.fileno(), ctypes.addressof(events), 64, 90000)
call('futex-ever', 202, at, 128, 7, 0, 5, 6)
call('futex-bits', 202, at, 137, 7, 0, 0, 3)
print('ready', flush=True)
time.sleep(1e6)
";

/// Read in place, from a recording, and held.
fn documents(victim: &Victim, directory: &Path) -> [Value; 3] {
    let file = directory.join("kept.hangsnap");
    let live = succeed(hangsnap().args([&victim.pid(), "--stop", "none", "--json", "-o"]).arg(&file));
    let held = succeed(hangsnap().args([&victim.pid(), "--stop", "all", "--json"]));
    let kept = succeed(hangsnap().arg("show").arg(&file).arg("--json"));
    [live, kept, held].map(|text| serde_json::from_str(&text).expect("JSON"))
}

fn call<'a>(document: &'a Value, name: &str) -> Option<&'a str> {
    let threads = document["threads"].as_array().expect("a list");
    threads.iter().find(|thread| thread["name"] == name)?["system_call"]["text"].as_str()
}

#[test]
fn timeouts_are_times_and_a_call_has_the_arguments_of_its_operation() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut python = Command::new("python3");
    let victim = Victim::start(python.args(["-c", WAITS]));
    let names = ["poll-hour", "poll-ever", "epoll-min", "futex-ever", "futex-bits"];
    until("all of them wait", PATIENCE, || {
        // A poll that was held goes on as restart_syscall(2), which has no arguments.
        let printed = succeed(hangsnap().args([&victim.pid(), "--stop", "none", "--json"]));
        let document: Value = serde_json::from_str(&printed).expect("JSON");
        names.iter().all(|name| call(&document, name).is_some())
    });
    for document in documents(&victim, directory.path()) {
        let text = |name| call(&document, name).unwrap_or_default();
        assert_eq!(text("poll-hour"), "poll(0, 0, timeout 1 h)");
        assert_eq!(text("poll-ever"), "poll(0, 0, no timeout)");
        assert!(text("epoll-min").ends_with(", 64, timeout 1 min 30 s)"), "{}", text("epoll-min"));
        assert!(text("futex-ever").ends_with(", FUTEX_WAIT_PRIVATE, 7, no timeout)"), "{}", text("futex-ever"));
        assert!(
            text("futex-bits").ends_with(", FUTEX_WAIT_BITSET_PRIVATE, 7, no timeout, 0x3)"),
            "{}",
            text("futex-bits")
        );
    }
    let shown = succeed(hangsnap().arg("show").arg(directory.path().join("kept.hangsnap")));
    assert!(shown.contains("sleeping in poll(0, 0, timeout 1 h)"), "{shown}");
}

#[test]
fn of_what_was_never_held_no_time_is_listed() {
    let directory = tempfile::tempdir().expect("a directory");
    let victim = crate::support::sleeper();
    for (stop, is_held) in [("none", false), ("all", true)] {
        let file = directory.path().join(stop);
        let said = succeed(recorder(&victim.pid(), "5ms").args(["--count", "3", "--stop", stop, "-o"]).arg(&file));
        let listed = succeed(hangsnap().arg("list").arg(&file));
        let rows: Vec<&str> = listed.lines().skip(2).collect();
        let heading = listed.lines().nth(1).expect("a heading");
        let (before, _) = heading.split_once("  longest held").expect("a column");
        assert!(!rows.is_empty(), "{listed}");
        for row in rows {
            // The columns of times, before that of losses.
            let dashes = row[before.len()..].split_whitespace().filter(|word| *word == "-").count();
            assert_eq!(dashes, if is_held { 0 } else { 2 }, "--stop {stop}: {row}");
        }
        assert_eq!(said.contains(", none held, "), !is_held, "--stop {stop}: {said}");
        assert_eq!(said.contains("held at most "), is_held, "--stop {stop}: {said}");
        assert!(!said.contains(" 0 ns"), "--stop {stop}: {said}");
    }
}
