//! `why` without rights, and of processes that count their threads otherwise.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::programs::{Program, start};
use super::truth::now;
use super::verdict::Look;
use super::{HANGS, Row, each, limited};
use crate::support::{hangsnap, run};

fn abba() -> &'static Row {
    HANGS.iter().find(|row| row.name == "mutexes abba").expect("it is a row")
}

#[test]
fn without_rights_a_line_says_what_would_help() {
    let nobody = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"];
    if !run(Command::new(nobody[0]).args(&nobody[1..]).arg("true")).status.success() {
        eprintln!("SKIPPED hangs, without rights: no other user can be had");
        return;
    }
    // Where the program was built others need not be let in.
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = directory.path().join("hangsnap");
    fs::copy(hangsnap().get_program(), &program).expect("a copy");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
    let Ok(running) = start(abba()) else { panic!("the program does not start") };
    for format in [&[][..], &["--json"]] {
        let mut command = Command::new(nobody[0]);
        command.args(&nobody[1..]).arg(&program).arg("why").args(format).args(["--pid", &running.pid().to_string()]);
        let output = limited(&mut command);
        let complaint = String::from_utf8_lossy(&output.stderr);
        println!("{complaint}");
        assert_eq!(output.status.code(), Some(2), "{complaint}");
        assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
        assert_eq!(complaint.lines().count(), 1, "{complaint}");
        assert!(complaint.contains("not permitted") && complaint.contains("CAP_SYS_PTRACE"), "{complaint}");
    }
}

#[test]
fn a_deadlock_in_another_pid_namespace_is_proved() {
    let unshare = ["--pid", "--fork", "--kill-child", "--mount-proc"];
    if !run(Command::new("unshare").args(unshare).arg("true")).status.success() {
        eprintln!("SKIPPED hangs, PID namespace: none can be made here");
        return;
    }
    // What it says of itself counts as its namespace does.
    let Program::Built(compiler, source, flags, arguments) = abba().program else { panic!("it is built") };
    let program = super::programs::built(compiler, source, flags);
    let made = |_: &std::path::Path| {
        let mut command = Command::new("unshare");
        command.args(unshare).arg(program).args(arguments);
        Ok((command, super::programs::Ready::Says))
    };
    let Ok(running) = super::programs::serve("PID namespace", made) else { panic!("the program does not start") };
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", running.pid())).expect("children");
    let pid = children.trim();
    let look = Look::new(now(), &limited(hangsnap().args(["why", "--json", "--pid", pid])));
    let verdict = each(&look.json, "verdicts").next().expect("a verdict");
    assert_eq!((&verdict["kind"], &verdict["proof"]), (&"deadlock".into(), &"proved".into()), "{verdict}");
    // NSpid of proc_pid_status(5): the id here, then the one inside.
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("it is alive").flatten();
    let ids: Vec<(i64, i64)> = tasks
        .filter_map(|task| {
            let status = fs::read_to_string(task.path().join("status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?.to_owned();
            let mut ids = line.split_whitespace().map(|id| id.parse().expect("an id"));
            Some((ids.next()?, ids.next_back()?))
        })
        .collect();
    let outside = |inner: i64| ids.iter().find(|(_, inside)| *inside == inner).expect("it lives").0;
    let mut expected: Vec<i64> = running.truth.accused.iter().map(|inner| outside(*inner)).collect();
    let mut accused: Vec<i64> = each(verdict, "accused").filter_map(|who| who["tid"].as_i64()).collect();
    expected.sort_unstable();
    accused.sort_unstable();
    assert!(ids.iter().all(|(here, inside)| here != inside), "{ids:?}");
    assert_eq!(accused, expected, "{verdict}");
}
