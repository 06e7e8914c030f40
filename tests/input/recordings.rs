//! Files that are no recordings, snapshots that are not in them, and places that cannot be written
//! to.

use std::fs;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;

use super::{FAILED, NOT_THERE, assert_contains, complaint, is_empty};
use crate::lifecycle::sampler::{PATIENCE, Sampler};
use crate::support::{Victim, compile, first_column, hangsnap, limited, recorder, run, sleeper, succeed, until};

fn record(directory: &Path, count: &str) -> std::path::PathBuf {
    let file = directory.join("recorded.hangsnap");
    succeed(hangsnap().args(["--pid", &sleeper().pid(), "--every", "200ms", "--count", count, "-o"]).arg(&file));
    file
}

#[test]
fn what_is_no_recording() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let empty = directory.path().join("empty");
    fs::write(&empty, "").expect("a file of ours");
    let text = directory.path().join("text.hangsnap");
    fs::write(&text, "HANGSNOT, and more of it").expect("a file of ours");
    let no_recordings = directory.path().join("none");
    fs::create_dir(&no_recordings).expect("a directory of ours");
    let nowhere = directory.path().join("nowhere");
    let elf = hangsnap().get_program().to_owned();
    let bad: [&Path; 7] =
        [&empty, &text, &no_recordings, &nowhere, Path::new(&elf), Path::new("/etc/passwd"), Path::new("/dev/null")];
    for path in bad {
        for command in ["list", "show", "diff"] {
            for json in [&[][..], &["--json"]] {
                let line = complaint(hangsnap().arg(command).arg(path).args(json), FAILED);
                assert_contains(&line, &[&path.display().to_string()]);
            }
        }
    }
    for command in ["show", "diff"] {
        complaint(hangsnap().arg(command).arg("/dev/zero"), FAILED);
    }
}

#[test]
fn a_fifo_that_nobody_writes_to_is_no_recording() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let fifo = directory.path().join("fifo.hangsnap");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    for command in ["list", "show", "diff"] {
        let mut reads = limited(hangsnap().get_program());
        assert_contains(&complaint(reads.arg(command).arg(&fifo), FAILED), &["fifo.hangsnap"]);
    }
    // In a directory of recordings it may lie there by accident or on purpose.
    let mut list = limited(hangsnap().get_program());
    assert_contains(&complaint(list.arg("list").arg(directory.path()), FAILED), &["fifo.hangsnap"]);
}

#[test]
fn snapshots_and_threads_that_are_not_there() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = record(directory.path(), "3");
    // On a busy machine some may have been skipped.
    let last = first_column(&succeed(hangsnap().arg("list").arg(&file))).pop().expect("a snapshot");
    let there = format!("1 to {last}");
    let show = |arguments: &[&str], code| complaint(hangsnap().arg("show").arg(&file).args(arguments), code);
    assert_contains(&show(&["--at", "99"], NOT_THERE), &["99", &there]);
    assert_contains(&show(&["--at", "0"], NOT_THERE), &["0", &there]);
    assert_contains(&show(&["--at", "1999-01-01T00:00:00Z"], NOT_THERE), &["1999-01-01", &there]);
    for nonsense in ["nonsense", "", "-1", "25:00:00", "1.5", "99999999999999999999999"] {
        let line = show(&[&format!("--at={nonsense}")], FAILED);
        assert_contains(&line, &["--at", nonsense]);
    }
    assert_contains(&show(&["--thread", "nosuch"], NOT_THERE), &["nosuch"]);
    assert_contains(&show(&["--thread", "1", "--json"], NOT_THERE), &["`1`"]);
    assert_contains(&show(&["--sysroot", "/nowhere"], FAILED), &["/nowhere"]);
    let diff = |arguments: &[&str], code| complaint(hangsnap().arg("diff").arg(&file).args(arguments), code);
    assert_contains(&diff(&["1", "99"], NOT_THERE), &["99"]);
    assert_contains(&diff(&["99", "1"], NOT_THERE), &["99"]);
    assert_contains(&diff(&["nonsense", "last"], FAILED), &["nonsense"]);
    let single = directory.path().join("single");
    fs::create_dir(&single).expect("a directory of ours");
    let single = record(&single, "1");
    assert_contains(&complaint(hangsnap().arg("diff").arg(&single), NOT_THERE), &["snapshot 1 only"]);
    // The threads of a live process are no different.
    let victim = sleeper();
    complaint(hangsnap().args(["--pid", &victim.pid(), "--thread", "nosuch"]), NOT_THERE);
    let kept = directory.path().join("kept.hangsnap");
    let mut command = hangsnap();
    command.args(["--pid", &victim.pid(), "--thread", "nosuch", "-o"]).arg(&kept);
    assert_contains(&complaint(&mut command, NOT_THERE), &["nosuch"]);
    assert!(!kept.exists(), "nothing is kept of what could not be shown");
}

#[test]
fn an_output_that_is_there_already_is_not_touched() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let victim = sleeper();
    let file = directory.path().join("precious");
    fs::write(&file, "precious").expect("a file of ours");
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(directory.path().join("not-there-yet"), &link).expect("a link of ours");
    for (path, every) in [
        (&file, &[][..]),
        (&file, &["--max-duty", "100%", "--every", "10ms"]),
        (&link, &[]),
        (&link, &["--every", "10ms"]),
    ] {
        let mut command = hangsnap();
        command.args(["--pid", &victim.pid()]).args(every).arg("-o").arg(path);
        assert_contains(&complaint(&mut command, FAILED), &["exists already", &path.display().to_string()]);
    }
    assert_eq!(fs::read_to_string(&file).expect("it is still there"), "precious");
    assert!(!directory.path().join("not-there-yet").exists(), "a link is not followed to a new file");
    // Two targets need a directory.
    let second = sleeper();
    let mut command = hangsnap();
    command.args(["--pid", &victim.pid(), "--pid", &second.pid(), "-o"]).arg(&file);
    assert_contains(&complaint(&mut command, FAILED), &["precious", "directory"]);
    assert_eq!(fs::read_to_string(&file).expect("it is still there"), "precious");
}

#[test]
fn an_output_that_cannot_be_written() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let victim = sleeper();
    fs::write(directory.path().join("file"), "").expect("a file of ours");
    // Root may write anywhere but where the kernel has no files, and below what is no directory.
    let places = ["/proc/none.hangsnap".into(), directory.path().join("file/none.hangsnap"), "/proc/none/".into()];
    for place in places {
        for every in [&[][..], &["--max-duty", "100%", "--every", "10ms"]] {
            let mut command = hangsnap();
            command.args(["--pid", &victim.pid()]).args(every).arg("-o").arg(&place);
            let line = complaint(&mut command, FAILED);
            assert_contains(&line, &[place.to_str().expect("our own names").trim_end_matches('/')]);
        }
    }
}

#[test]
fn a_directory_that_one_may_not_write_to() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = directory.path().join("hangsnap");
    fs::copy(hangsnap().get_program(), &program).expect("the program under test");
    let closed = directory.path().join("closed");
    fs::create_dir(&closed).expect("a directory of ours");
    let victim = compile("gcc", "sleeper.c", &["-O1", "-g", "-pthread"]);
    let copied = directory.path().join("sleeper");
    fs::copy(victim, &copied).expect("the victim was just compiled");
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("our own directory");
    let as_nobody = |program: &Path| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]).arg(program);
        command
    };
    // One of the same user may be looked at, as far as the system's policy goes; where it goes is
    // what fails.
    let victim = Victim::start(&mut as_nobody(&copied));
    for output in [closed.join("none.hangsnap"), closed.join("deeper/"), closed.clone()] {
        for every in [&[][..], &["--max-duty", "100%", "--every", "10ms"]] {
            let mut command = as_nobody(&program);
            command.args(["--pid", &victim.pid()]).args(every).arg("-o").arg(&output);
            let line = complaint(&mut command, FAILED);
            assert_contains(&line, &["closed", "ermission"]);
            assert!(is_empty(&closed), "{command:?} left something behind");
        }
    }
}

/// A shell with a mount namespace of its own, which a file system that is made in it goes with:
/// `$0` is hangsnap, `$1` a directory, `$2` the victim's pid.
fn in_a_mount_namespace(script: &str, directory: &Path, victim: &Victim) -> std::process::Output {
    let mut command = limited("unshare");
    command.args(["--mount", "bash", "-c", script]).arg(hangsnap().get_program());
    run(command.arg(directory).arg(victim.pid()).env("TZ", "UTC"))
}

#[test]
fn a_full_disk_stops_the_recording_until_there_is_room() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let script = r##"
        mount -t tmpfs -o size=64k none "$1" || exit 9
        mkfifo "/dev/shm/full.$$"
        exec 3<> "/dev/shm/full.$$"
        rm "/dev/shm/full.$$"
        "$0" --pid "$2" --max-duty 100% --every 1ms -o "$1/full.hangsnap" >&3 2>&1 &
        while read -r line <&3; do echo "$line"; [[ $line == *"goes on when there is room"* ]] && break; done
        mount -o remount,size=64m "$1"
        while read -r line <&3; do echo "$line"; [[ $line == *"there is room again"* ]] && break; done
        while read -r line <&3; do echo "$line"; [[ $line == "#"* ]] && break; done
        kill -TERM $!
        while read -r line <&3; do [[ $line == "stopped"* ]] && echo "$line" && break; done
        wait $!; echo "code $?"
        "$0" list "$1/full.hangsnap" | tail -n +3 | while read -r number rest; do echo "listed $number"; done
        "$0" check "$1/full.hangsnap"; echo "check $?"
        ls "$1/full.hangsnap"
    "##;
    let output = in_a_mount_namespace(script, directory.path(), &sleeper());
    let text = String::from_utf8_lossy(&output.stdout);
    let told = |what: &str| text.lines().filter(|line| line.contains(what)).collect::<Vec<_>>();
    let full = told("goes on when there is room");
    assert_eq!(full.len(), 1, "it is told once: {output:?}");
    assert_contains(full[0], &["cannot write", "full.hangsnap", "No space left"]);
    let again = told("there is room again");
    let lost: u64 = again[0].split("; ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok()).expect("a count");
    assert!(lost > 0, "{again:?}");
    assert_contains(told("stopped:")[0], &[&format!(", {lost} found no room")]);
    assert_eq!(told("code "), ["code 0"], "the sampler went on to its end");
    let numbers: Vec<u64> = told("listed ").iter().map(|line| line[7..].parse().expect("a number")).collect();
    let gap = numbers.windows(2).map(|pair| pair[1] - pair[0] - 1).max().expect("more than one");
    assert!(gap >= lost, "the {lost} numbers that are lost are not listed: {numbers:?}");
    assert!(told("full.hangsnap: whole;").len() == 1 && told("check 0").len() == 1, "nothing is torn: {text}");
    assert!(told("00000002.segment").len() == 1, "it went on in another segment: {text}");
}

#[test]
fn a_disk_that_is_full_from_the_beginning_is_an_error_and_nothing_is_left() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let script = r#"
        mount -t tmpfs -o size=64k none "$1" || exit 9
        cat /dev/zero > "$1/filler" 2> /dev/null
        "$0" --pid "$2" --every 10ms -o "$1/full.hangsnap"; echo "code $?"
        "$0" --pid "$2" -o "$1/one.hangsnap" > /dev/null; echo "code $?"
        echo "there $(ls "$1")"
    "#;
    let output = in_a_mount_namespace(script, directory.path(), &sleeper());
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(text.lines().filter(|line| *line == "code 2").count(), 2, "{output:?}");
    assert!(text.ends_with("there filler\n"), "{output:?}");
    let errors = String::from_utf8_lossy(&output.stderr);
    for (line, name) in errors.lines().zip(["full.hangsnap", "one.hangsnap"]) {
        assert_contains(line, &["hangsnap: cannot ", name, "No space left"]);
    }
    assert_eq!(errors.lines().count(), 2, "{errors}");
}

/// The limit is on each file, so that another one may still be written.
#[test]
fn where_files_may_not_grow_more_of_them_are_made() {
    const LIMIT: u64 = 32 << 10;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let recording = directory.path().join("small.hangsnap");
    let victim = sleeper();
    let mut sampler = Sampler::start(recorder(&victim.pid(), "1ms").arg("-o").arg(&recording));
    sampler.line_with("#1 ");
    let limit = format!("--fsize={LIMIT}");
    succeed(Command::new("prlimit").args(["--pid", &sampler.pid().to_string(), &limit]));
    let segment = |number: u32| recording.join(format!("{number:08}.segment"));
    until("there is a third segment", PATIENCE, || segment(3).exists());
    sampler.signal(Signal::SIGTERM);
    let ended = sampler.end();
    assert!(!ended.in_order().contains("no room"), "none is lost: {:?}", ended.lines);
    succeed(hangsnap().arg("check").arg(&recording));
    for number in [2, 3] {
        assert!(fs::metadata(segment(number)).expect("it is there").len() <= LIMIT);
    }
}
