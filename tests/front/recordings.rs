//! What recordings are called, in which order they are listed, and that one goes on when nothing
//! reads what is said about it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{NOON, recorded_at, snapshot_of};
use crate::support::{Victim, compile, first_column, hangsnap, recorder, run, sleeper, succeed, until};

const PATIENCE: Duration = Duration::from_secs(60);

fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("a directory");
    entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("our own names")).collect()
}

#[test]
fn a_recording_is_named_after_the_executable() {
    let directory = tempfile::tempdir().expect("a directory");
    // Longer than what a thread may be called.
    let long = directory.path().join("front-of-a-long-name");
    fs::copy(compile("gcc", "sleeper.c", &["-O1", "-g", "-pthread"]), &long).expect("room for a program");
    let removed = directory.path().join("removed");
    fs::copy(&long, &removed).expect("room for a program");
    let script = "open('/proc/self/comm', 'w').write('MainThread'); print('ready', flush=True); input()";
    let mut python = Command::new("python3");
    python.args(["-c", &script.replace("input()", "import time; time.sleep(1e6)")]);
    let victims = [
        Victim::start(&mut Command::new(&long)),
        Victim::start(&mut Command::new(&removed)),
        Victim::start(&mut python),
    ];
    let executables: Vec<String> = victims
        .iter()
        .map(|victim| {
            let path = fs::read_link(format!("/proc/{}/exe", victim.pid())).expect("it is running");
            path.file_name().expect("a file").to_string_lossy().into_owned()
        })
        .collect();
    fs::remove_file(&removed).expect("it was there");
    for (victim, executable) in victims.iter().zip(&executables) {
        for (kind, more) in [("one", &[][..]), ("several", &["--every", "5ms", "--count", "2"])] {
            let place = directory.path().join(format!("{executable}-{kind}"));
            let output = format!("{}/", place.display());
            succeed(hangsnap().args(["--pid", &victim.pid(), "-o", &output]).args(more));
            let start = format!("{executable}-{}-", victim.pid());
            let names = names_in(&place);
            assert!(names.len() == 1 && names[0].starts_with(&start), "{start}: {names:?}");
        }
    }
}

#[test]
fn a_directory_is_listed_newest_first() {
    let directory = tempfile::tempdir().expect("a directory");
    let aside = tempfile::tempdir().expect("a directory");
    let snapshot = snapshot_of(&sleeper(), aside.path());
    // By their names they would come in another order.
    let ages = [("b", 3600), ("d", 60), ("a", 7200), ("c", 86_400)];
    for (name, age) in ages {
        let path = directory.path().join(format!("{name}.hangsnap"));
        recorded_at(&path, &snapshot, &[NOON]);
        let file = File::options().write(true).open(&path).expect("it is there");
        file.set_modified(SystemTime::now() - Duration::from_secs(age)).expect("a file of ours");
    }
    // And one that is being written: its directory is older than what is in it.
    let victim = sleeper();
    let running = directory.path().join("running.hangsnap");
    let mut sampler =
        recorder(&victim.pid(), "5ms").arg("-o").arg(&running).stdout(Stdio::null()).spawn().expect("hangsnap");
    until("it has a snapshot", PATIENCE, || run(hangsnap().arg("show").arg(&running)).status.success());
    let listed = succeed(hangsnap().arg("list").arg(directory.path()));
    kill(Pid::from_raw(sampler.id().cast_signed()), Signal::SIGTERM).expect("it is running");
    sampler.wait().expect("it is our child");
    let order: Vec<&str> =
        listed.lines().filter_map(|line| line.split_once(".hangsnap: recorded")?.0.rsplit('/').next()).collect();
    assert_eq!(order, ["running", "d", "b", "a", "c"], "{listed}");
}

/// It ended, so that a recording of a night was lost with the terminal in which it had been
/// started.
#[test]
fn a_recording_goes_on_when_nothing_reads_its_output_and_says_so_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let victim = sleeper();
    for (name, lines) in [("at-once", 0), ("later", 3)] {
        let file = directory.path().join(format!("{name}.hangsnap"));
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let mut command = recorder(&victim.pid(), "5ms");
        command.arg("-o").arg(&file).stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
        let mut child = command.spawn().expect("hangsnap");
        drop(command);
        let mut reader = BufReader::new(reader);
        for _ in 0..lines {
            reader.read_line(&mut String::new()).expect("a line");
        }
        drop(reader);
        let mut complaints = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut said = String::new();
        complaints.read_line(&mut said).expect("text");
        assert!(said.contains("goes on") && said.contains(&file.display().to_string()), "{name}: {said}");
        let count = || first_column(&succeed(hangsnap().arg("list").arg(&file))).len();
        until("there is a snapshot", PATIENCE, || {
            file.exists() && run(hangsnap().arg("show").arg(&file)).status.success()
        });
        let before = count();
        until("there are more", PATIENCE, || count() > before + 20);
        assert!(child.try_wait().expect("it is our child").is_none(), "{name}: it runs");
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).expect("it is running");
        assert_eq!(child.wait().expect("it is our child").code(), Some(0), "{name}");
        let mut more = String::new();
        complaints.read_line(&mut more).expect("text");
        assert_eq!(more, "", "{name}: it is said once");
        succeed(hangsnap().arg("check").arg(&file));
    }
    // Without a place to complain to, either, it takes what it was asked for.
    let file = directory.path().join("alone.hangsnap");
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = recorder(&victim.pid(), "5ms");
    command.args(["--count", "30", "-o"]).arg(&file).stdin(Stdio::null());
    command.stderr(writer.try_clone().expect("a descriptor")).stdout(writer);
    assert_eq!(command.status().expect("hangsnap").code(), Some(0));
    assert_eq!(first_column(&succeed(hangsnap().arg("list").arg(&file))).len(), 30);
}
