//! Readers that have seen enough, and outputs that are no terminal.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::lifecycle::sampler::PATIENCE;
use crate::support::{Victim, compile, hangsnap, limited, recorder, run, sleeper, succeed, until};

fn record(directory: &Path, victim: &Victim) -> String {
    let file = directory.join("recorded.hangsnap").display().to_string();
    succeed(recorder(&victim.pid(), "1ms").args(["--count", "200", "-o", &file]));
    file
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let victim = sleeper();
    let (file, pid) = (record(directory.path(), &victim), victim.pid());
    let kept = |name: &str| directory.path().join(name).display().to_string();
    let commands: [Vec<String>; 10] = [
        vec!["--pid".into(), pid.clone()],
        vec!["--pid".into(), pid.clone(), "--json".into()],
        vec!["--pid".into(), pid, "-o".into(), kept("kept.hangsnap")],
        vec!["list".into(), file.clone()],
        vec!["list".into(), "--json".into(), file.clone()],
        vec!["show".into(), file.clone()],
        vec!["show".into(), "--json".into(), file.clone()],
        vec!["diff".into(), file],
        vec!["man".into()],
        vec!["--help".into()],
    ];
    for arguments in commands {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        // There is no reader from the very beginning.
        drop(reader);
        let mut command = limited(hangsnap().get_program());
        command.args(&arguments).stdin(Stdio::null());
        let child = command.stdout(writer).stderr(Stdio::piped()).spawn().expect("coreutils are there");
        let output = child.wait_with_output().expect("it is our child");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
        assert!(output.stderr.is_empty(), "{arguments:?}: {output:?}");
    }
    succeed(hangsnap().args(["show", &kept("kept.hangsnap")]));
}

#[test]
fn a_reader_that_takes_one_line_gets_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let victim = sleeper();
    let file = record(directory.path(), &victim);
    let script = "set -o pipefail; \"$0\" \"$@\" | head -n 1";
    for arguments in [vec!["list", &file], vec!["show", &file], vec!["--pid", &victim.pid()]] {
        let output = run(Command::new("bash").args(["-c", script]).arg(hangsnap().get_program()).args(&arguments));
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 1, "{arguments:?}: {output:?}");
        assert!(output.stderr.is_empty(), "{arguments:?}: {output:?}");
    }
}

#[test]
fn a_full_output_is_an_error() {
    let victim = sleeper();
    for arguments in [vec!["--pid", &victim.pid()], vec!["man"]] {
        let full = fs::File::options().write(true).open("/dev/full").expect("a device of every Linux");
        let child = hangsnap().args(&arguments).stdout(full).stderr(Stdio::piped()).spawn().expect("hangsnap");
        let output = child.wait_with_output().expect("it is our child");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(super::one_line(&output).contains("No space left"), "{arguments:?}: {output:?}");
    }
}

/// Runs hangsnap on a terminal of its own and returns its exit code with what appears there.
fn on_a_terminal(environment: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String) {
    let words: Vec<String> = std::iter::once(hangsnap().get_program().display().to_string())
        .chain(arguments.iter().map(ToString::to_string))
        .collect();
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &words.join(" "), "/dev/null"]);
    command.env("TERM", "xterm-256color").env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
    let output = run(command.envs(environment.iter().copied()));
    (output.status.code(), String::from_utf8(output.stdout).expect("it prints text"))
}

#[test]
fn names_that_a_target_chose_do_not_reach_the_terminal_as_they_are() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let name = "e\x1b[31m\nvil";
    // What cannot be looked at is complained of by name, and what can is shown by name.
    let dead = directory.path().join(name);
    fs::copy("/bin/true", &dead).expect("coreutils are there");
    let mut dead = Command::new(dead).spawn().expect("a program");
    let pid = dead.id().to_string();
    until("it has exited", PATIENCE, || {
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
    });
    let (code, complaint) = on_a_terminal(&[], &["--pid", &pid]);
    dead.wait().expect("it is our child");
    assert_eq!(code, Some(2), "{complaint:?}");
    assert!(!complaint.contains("\x1b[31m") && complaint.trim_end().lines().count() == 1, "{complaint:?}");
    let alive = directory.path().join("alive").join(name);
    fs::create_dir(directory.path().join("alive")).expect("a directory of ours");
    fs::copy(compile("gcc", "sleeper.c", &["-O1", "-g", "-pthread"]), &alive).expect("just compiled");
    let victim = Victim::start(&mut Command::new(alive));
    let recorded = directory.path().join("recorded.hangsnap").display().to_string();
    let every = ["--pid", &victim.pid(), "--max-duty", "100%", "--every", "1ms", "--count", "2", "-o", &recorded];
    for arguments in [&["--pid", &victim.pid()][..], &every, &["show", &recorded], &["list", &recorded]] {
        let (code, shown) = on_a_terminal(&[("NO_COLOR", "1")], arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {shown:?}");
        assert!(shown.contains("vil") && !shown.contains("\x1b[31m"), "{arguments:?}: {shown:?}");
    }
}

#[test]
fn colours_are_for_terminals_and_for_those_who_want_them() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let victim = sleeper();
    let (file, pid) = (record(directory.path(), &victim), victim.pid());
    for arguments in [vec!["--pid", &pid], vec!["show", &file], vec!["list", &file], vec!["diff", &file]] {
        let plain = succeed(hangsnap().args(&arguments));
        assert!(!plain.contains('\x1b'), "no terminal: {plain:?}");
        let (_, coloured) = on_a_terminal(&[], &arguments);
        assert!(coloured.contains('\x1b'), "a terminal: {arguments:?} {coloured:?}");
        let (_, unwanted) = on_a_terminal(&[("NO_COLOR", "1")], &arguments);
        assert!(!unwanted.contains('\x1b'), "NO_COLOR: {arguments:?} {unwanted:?}");
    }
    let (_, json) = on_a_terminal(&[], &["show", "--json", &file]);
    assert!(!json.contains('\x1b'), "JSON has no colours: {json:?}");
}
