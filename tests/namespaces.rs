//! Targets in namespaces of their own, with files that the host does not have, and files that are
//! not what they were.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::mkfifo;

use crate::support::{Victim, compile, hangsnap, limited, run, succeed};

fn sleeper(flags: &[&str]) -> PathBuf {
    compile("gcc", "sleeper.c", &[&["-O1", "-g", "-pthread"], flags].concat())
}

/// A PID, a mount and a user namespace; what runs in them ends with the one that made them.
fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc"]);
    command
}

/// The pid, seen from outside, of what unshare has started.
fn pid_inside(victim: &Victim) -> String {
    let pid = victim.pid();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("unshare waits");
    let mut children = children.split_whitespace();
    let child = children.next().expect("it has started one").to_owned();
    assert_eq!(children.next(), None, "and no more");
    child
}

/// Runs hangsnap, which must come to an end whatever its target has put in its way.
fn soon(arguments: &[&str]) -> String {
    succeed(limited(hangsnap().get_program()).env("TZ", "UTC").args(arguments))
}

fn assert_named(printed: &str) {
    for function in ["doze", "rest", "main"] {
        assert!(printed.contains(&format!(" {function} ")), "`{function}` has its name:\n{printed}");
    }
    assert!(printed.contains("sleeper.c:"), "and its line:\n{printed}");
    assert!(!printed.contains("no further"), "stacks are whole:\n{printed}");
}

fn assert_both_stops_and_a_recording(pid: &str, check: impl Fn(&str)) {
    for stop in ["auto", "all"] {
        check(&soon(&["--pid", pid, "--stop", stop, "--all-frames"]));
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("recorded.hangsnap").display().to_string();
    soon(&["--pid", pid, "--every", "20ms", "--count", "3", "-o", &file]);
    assert_eq!(soon(&["list", &file]).lines().count(), 5, "three snapshots below the heading");
}

/// With /proc of another PID namespace it looked at one process in /proc and held another, which
/// had the same number.
#[test]
fn the_proc_of_another_namespace_is_refused() {
    let victim = Victim::start(&mut Command::new(sleeper(&[])));
    let mut foreign = Command::new("unshare");
    foreign.args(["--pid", "--fork"]).arg(hangsnap().get_program()).args(["--pid", &victim.pid()]);
    let output = run(&mut foreign);
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("/proc is that of another PID namespace"), "{told}");
}

#[test]
fn a_target_in_namespaces_of_its_own() {
    let victim = Victim::start(unshare().arg(sleeper(&[])));
    let pid = pid_inside(&victim);
    assert_both_stops_and_a_recording(&pid, |printed| {
        assert_named(printed);
        let heading = printed.lines().next().expect("a heading");
        assert!(heading.contains(&format!("(pid {pid}), 1 in its own namespace")), "{heading}");
        assert!(!printed.contains("Not seen"), "nothing is missing:\n{printed}");
    });
    let snapshot: serde_json::Value = serde_json::from_str(&soon(&["--pid", &pid, "--json"])).expect("JSON");
    assert_eq!(snapshot["snapshot"]["inner_pid"].as_i64().or(snapshot["inner_pid"].as_i64()), Some(1), "{snapshot}");
}

#[test]
fn a_target_whose_files_are_in_its_mount_namespace_only() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let hidden = directory.path().join("hidden-sleeper");
    let script = "mount -t tmpfs none \"$1\" && cp \"$0\" \"$2\" && exec \"$2\"";
    let victim =
        Victim::start(unshare().args(["sh", "-c", script]).arg(sleeper(&[])).arg(directory.path()).arg(&hidden));
    assert!(!hidden.exists(), "the host has no such file");
    assert_both_stops_and_a_recording(&pid_inside(&victim), |printed| {
        assert_named(printed);
        assert!(printed.contains("hidden-sleeper"), "it is what runs:\n{printed}");
    });
}

#[test]
fn a_static_program_in_a_root_that_is_otherwise_empty() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::copy(sleeper(&["-static"]), directory.path().join("sleeper")).expect("the victim was just compiled");
    let victim = Victim::start(Command::new("chroot").arg(directory.path()).arg("/sleeper"));
    assert_both_stops_and_a_recording(&victim.pid(), assert_named);
    // With namespaces of its own as well, as in a container that was built from nothing.
    let mut inside = Command::new("unshare");
    inside.args(["--user", "--map-root-user", "--pid", "--mount", "--fork", "--kill-child"]);
    let victim = Victim::start(inside.arg("--root").arg(directory.path()).arg("/sleeper"));
    assert_both_stops_and_a_recording(&pid_inside(&victim), assert_named);
}

/// Something that is put where a file was.
type Trap = (&'static str, fn(&Path));

const TRAPS: [Trap; 7] = [
    ("nothing", |_| {}),
    ("a FIFO", |path| mkfifo(path, Mode::S_IRWXU).expect("a FIFO")),
    ("a device that never ends", |path| {
        mknod(path, SFlag::S_IFCHR, Mode::S_IRWXU, makedev(1, 5)).expect("/dev/zero by another name");
    }),
    ("a link to a device", |path| symlink("/dev/zero", path).expect("a link")),
    ("a directory", |path| fs::create_dir(path).expect("a directory")),
    ("a socket", |path| drop(UnixListener::bind(path).expect("a socket"))),
    ("text", |path| fs::write(path, "no library\n".repeat(1000)).expect("a file")),
];

fn remove(path: &Path) {
    // Whatever kind of thing it is.
    let removed = if path.is_dir() && !path.is_symlink() { fs::remove_dir(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{}: {error}", path.display()),
        _ => {}
    }
}

#[test]
fn what_lies_where_a_deleted_library_was_hangs_nothing_and_stacks_go_through_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let library = directory.path().join("libpause.so");
    fs::copy(compile("gcc", "pause.c", &["-O1", "-g", "-shared", "-fPIC"]), &library).expect("just compiled");
    let victim = Victim::start(Command::new(sleeper(&[])).env("LD_PRELOAD", &library));
    for (what, put) in TRAPS {
        remove(&library);
        put(&library);
        let kept = directory.path().join("kept.hangsnap").display().to_string();
        let printed = soon(&["--pid", &victim.pid(), "-o", &kept]);
        assert_named(&printed);
        assert!(printed.contains("libpause.so"), "{what}: the library's frames are there:\n{printed}");
        let notices = printed.split("Notes").nth(1).unwrap_or_else(|| panic!("{what} is told of:\n{printed}"));
        assert!(notices.contains("libpause.so"), "{what}: {notices}");
        assert_eq!(soon(&["show", &kept]), printed, "{what}");
        remove(Path::new(&kept));
        assert_both_stops_and_a_recording(&victim.pid(), assert_named);
    }
}

#[test]
fn what_lies_where_a_deleted_program_was_hangs_nothing_and_stacks_go_through_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = directory.path().join("deleted-sleeper");
    fs::copy(sleeper(&[]), &program).expect("the victim was just compiled");
    let victim = Victim::start(&mut Command::new(&program));
    for (what, put) in TRAPS {
        remove(&program);
        put(&program);
        assert_both_stops_and_a_recording(&victim.pid(), |printed| {
            assert!(!printed.contains("no further"), "{what}: stacks are whole:\n{printed}");
            assert!(printed.contains("__libc_start_call_main"), "{what}: up to the first frame:\n{printed}");
        });
    }
}
