//! The recorded facts beside what util-linux says of the same processes: lslocks(8) and lsfd(1).

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use hangsnap::model::{Detail, Snapshot};
use hangsnap::store::Reader;
use serde_json::Value;

use super::each;
use super::programs::{Ready, Running, Trouble, serve, start};
use super::rows::HANGS;
use crate::support::{hangsnap, run, succeed, until};

/// A row's program in its situation; None where it cannot be started here.
fn started(name: &str) -> Option<Running> {
    let row = HANGS.iter().find(|row| row.name == name).unwrap_or_else(|| panic!("{name} is a row"));
    match start(row) {
        Ok(running) => Some(running),
        Err(Trouble::Skipped(why)) => {
            eprintln!("SKIPPED hangs, {name}: {why}");
            None
        }
        Err(Trouble::Failed(why)) => panic!("{name}: {why}"),
    }
}

/// A snapshot as it is read back from a file.
fn recorded(pid: &str) -> Snapshot {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("now.hangsnap");
    succeed(hangsnap().args(["--pid", pid, "-o"]).arg(&file));
    let mut reader = Reader::open(&file).expect("a recording");
    reader.next_snapshot().expect("it can be read").expect("it holds one").expect("it is whole")
}

/// What util-linux says; None where it is not installed or too old for it.
fn oracle(program: &str, arguments: &[&str]) -> Option<Value> {
    let output = Command::new(program).args(arguments).output().ok().filter(|output| output.status.success());
    if output.is_none() {
        eprintln!("SKIPPED hangs, {program} {arguments:?}: it is not installed, or older than 2.38");
    }
    output.map(|output| serde_json::from_slice(&output.stdout).expect("JSON"))
}

/// Waiter, holder, kind, whether the holder writes, path.
type Wait = (i64, i64, String, bool, String);

#[test]
fn file_locks_are_those_that_lslocks_lists() {
    for name in ["files flock", "files fcntl", "files pair"] {
        let Some(running) = started(name) else { continue };
        let columns = "PID,TYPE,MODE,PATH,BLOCKER";
        let Some(listed) = oracle("lslocks", &["--json", "--notruncate", "--output", columns]) else { return };
        let pids = running.truth.targets.clone();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let number = |value: &Value| value.as_i64().or_else(|| value.as_str()?.parse().ok());
        let expected: BTreeSet<Wait> = each(&listed, "locks")
            .filter_map(|lock| {
                let (waiter, holder) = (number(&lock["pid"])?, number(&lock["blocker"])?);
                let is_write = text(&lock["mode"]).starts_with("WRITE");
                pids.contains(&waiter).then(|| (waiter, holder, text(&lock["type"]), is_write, text(&lock["path"])))
            })
            .collect();
        let found: BTreeSet<Wait> = pids
            .iter()
            .flat_map(|pid| {
                let facts = recorded(&pid.to_string()).wait_facts;
                let locks = facts.file_locks.iter().flat_map(|lock| {
                    let holder = lock.holder.as_ref().map_or(0, |holder| holder.pid.0.into());
                    let path = lock.path.clone().unwrap_or_default();
                    lock.waiters.iter().map(move |waiter| {
                        (i64::from(waiter.0), holder, lock.kind.clone(), lock.is_write, path.clone())
                    })
                });
                locks.filter(|(waiter, ..)| waiter == pid).collect::<Vec<_>>()
            })
            .collect();
        println!("{name}: {found:?}");
        assert_eq!(expected.len(), pids.len(), "{name}: lslocks lists each wait once: {listed}");
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn descriptors_are_those_that_lsfd_lists() {
    for name in ["streams pipe", "streams unix", "streams tcp", "resolver"] {
        let Some(running) = started(name) else { continue };
        for pid in running.targets() {
            descriptors_agree(name, &pid);
        }
    }
}

/// Compares each descriptor of a snapshot with the line of the same number; returns the snapshot.
fn descriptors_agree(name: &str, pid: &str) -> Option<Snapshot> {
    let listed = oracle("lsfd", &["--json", "--output", "ASSOC,TYPE,NAME,INODE,MODE,PROTONAME", "-p", pid])?;
    let snapshot = recorded(pid);
    let facts = &snapshot.wait_facts;
    assert!(!facts.descriptors.is_empty(), "{name}: it waits for a descriptor");
    for descriptor in &facts.descriptors {
        let is_it = |line: &&Value| line["assoc"] == descriptor.number.to_string().as_str();
        let line = each(&listed, "lsfd").find(is_it).unwrap_or_else(|| panic!("{name}: {descriptor:?} of {listed}"));
        println!("{name}: {descriptor:?}\n        {line}");
        let inode = line["inode"].to_string().trim_matches('"').to_owned();
        let (kind, may_write) = (line["type"].as_str().unwrap_or(""), line["mode"].as_str().unwrap_or(""));
        let is_one = match &descriptor.detail {
            Detail::Pipe { is_writer, .. } => kind == "FIFO" && *is_writer == may_write.contains('w'),
            Detail::Socket(_) => kind == "SOCK" || kind == "sock",
            _ => !["FIFO", "SOCK", "sock"].contains(&kind),
        };
        assert!(is_one, "{name}: {descriptor:?} and {line}");
        match descriptor.target.split_once(":[") {
            Some((of, number)) if of != "anon_inode" => {
                assert_eq!(number.trim_end_matches(']'), inode, "{name}: {line}");
            }
            _ => assert_eq!(line["name"], descriptor.target.as_str(), "{name}: {line}"),
        }
        let Detail::Pipe { others, .. } = &descriptor.detail else { continue };
        // Who has the same pipe open at its other end, of all processes.
        let all = oracle("lsfd", &["--json", "--output", "PID,INODE,TYPE,MODE,NAME", "-Q", "TYPE == 'FIFO'"])?;
        let end = if may_write.contains('w') { 'r' } else { 'w' };
        let has_other = |line: &&Value| {
            let mode = line["mode"].as_str().unwrap_or("");
            line["inode"].to_string().trim_matches('"') == inode && mode.contains(end) && !mode.contains('x')
        };
        let expected: BTreeSet<i64> =
            each(&all, "lsfd").filter(has_other).filter_map(|line| line["pid"].as_i64()).collect();
        let found: BTreeSet<i64> = others.iter().map(|other| other.pid.0.into()).collect();
        assert_eq!(found, expected, "{name}: {descriptor:?}");
    }
    Some(snapshot)
}

/// Waits for an eventfd that is full.
const FULL: &str = "import os, sys
full = os.eventfd(0)
os.eventfd_write(full, 2**64 - 2)
print('ready', flush=True)
os.eventfd_write(full, 1)";

#[test]
fn an_eventfd_has_the_count_that_the_kernel_says() {
    let made = |_: &Path| {
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-c", FULL]);
        Ok((command, Ready::Says))
    };
    if !run(Command::new("/usr/bin/python3").args(["-c", "import os; os.eventfd"])).status.success() {
        eprintln!("SKIPPED hangs, eventfd: there is no Python 3.10");
        return;
    }
    let Ok(running) = serve("eventfd", made) else { panic!("it does not start") };
    let pid = running.pid().to_string();
    let writes = format!("{} ", libc::SYS_write);
    until("it writes", super::BEGINS_WITHIN, || {
        std::fs::read_to_string(format!("/proc/{pid}/syscall")).is_ok_and(|call| call.starts_with(&writes))
    });
    let Some(snapshot) = descriptors_agree("eventfd", &pid) else { return };
    let counts = snapshot.wait_facts.descriptors.iter().filter_map(|descriptor| match descriptor.detail {
        Detail::Event(count) => Some(count),
        _ => None,
    });
    assert_eq!(counts.collect::<Vec<_>>(), [u64::MAX - 1]);
}
