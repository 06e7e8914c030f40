//! A process named by a word of its own, and hangsnap called with nothing.

use std::fs;
use std::process::Command;

use crate::support::{Victim, compile, hangsnap, run, sleeper, succeed};

/// A process that is called like this, and like nothing else that runs.
fn called(directory: &std::path::Path, name: &str) -> Victim {
    let program = directory.join(name);
    fs::copy(compile("gcc", "sleeper.c", &["-O1", "-g", "-pthread"]), &program).expect("room for a program");
    Victim::start(&mut Command::new(program))
}

fn headings(printed: &str) -> Vec<&str> {
    printed.lines().filter(|line| line.contains("(pid ")).collect()
}

#[test]
fn a_process_is_named_by_a_word_as_by_an_option() {
    let directory = tempfile::tempdir().expect("a directory");
    // Its name is no command's, and no other test's.
    let name = format!("front-{}", std::process::id());
    let (named, other) = (called(directory.path(), &name), sleeper());
    let (first, second) = (named.pid(), other.pid());
    let heading = |pid: &str| format!("(pid {pid})");
    let cases: [(&[&str], &[&str]); 7] = [
        (&[&first], &[&first]),
        (&[&name], &[&first]),
        (&[&first, &second], &[&first, &second]),
        (&[&second, &name, "--stop", "none"], &[&second, &first]),
        // Options may come first, an option's value is no process, and one that is named twice is
        // one.
        (&["--stop", "none", "--max-hold", "5ms", &name], &[&first]),
        (&["--pid", &second, &name, &first], &[&second, &first]),
        (&["--", &name], &[&first]),
    ];
    for (arguments, pids) in cases {
        let printed = succeed(hangsnap().args(arguments));
        let found = headings(&printed);
        assert_eq!(found.len(), pids.len(), "{arguments:?}: {found:?}");
        for (line, pid) in found.iter().zip(pids) {
            assert!(line.contains(&heading(pid)), "{arguments:?}: {found:?}");
        }
    }
    let file = directory.path().join("kept.hangsnap");
    succeed(hangsnap().args([&name, "--every", "5ms", "--count", "2", "-o"]).arg(&file));
    assert!(succeed(hangsnap().arg("show").arg(&file)).contains(&heading(&first)));
}

#[test]
fn a_word_that_is_a_command_is_the_command() {
    let directory = tempfile::tempdir().expect("a directory");
    let process = called(directory.path(), "list");
    let pid = format!("(pid {})", process.pid());
    let output = run(hangsnap().arg("list"));
    assert_eq!(output.status.code(), Some(2), "a list of no file: {output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("Usage: hangsnap list"), "{output:?}");
    // The process of that name is reached all the same.
    for arguments in [&["--pid", "list"][..], &["--", "list"]] {
        assert!(succeed(hangsnap().args(arguments)).contains(&pid), "{arguments:?}");
    }
}

#[test]
fn a_word_that_is_neither_gets_an_error_that_names_both() {
    let directory = tempfile::tempdir().expect("a directory");
    let complaint = |arguments: &[&str]| {
        let output = run(hangsnap().current_dir(directory.path()).args(arguments));
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{arguments:?}: {output:?}");
        let text = String::from_utf8(output.stderr).expect("text");
        assert_eq!(text.lines().count(), 1, "{text}");
        text
    };
    for arguments in [&["nosuchprogram"][..], &["nosuchprogram", "--every", "1s"], &["--pid", "1", "nosuchprogram"]] {
        let text = complaint(arguments);
        // Not permitted to look at 1 is said first, where that is so.
        if !text.contains("not permitted") {
            for part in ["`nosuchprogram`", "command", "program that is running", "hangsnap --help", "ps -e"] {
                assert!(text.contains(part), "{arguments:?}: `{part}` is not in {text}");
            }
        }
        assert!(fs::read_dir(directory.path()).expect("it is there").next().is_none(), "nothing is left");
    }
    // What was typed after --pid cannot have been meant for a command.
    assert!(!complaint(&["--pid", "nosuchprogram"]).contains("command"));
    fs::write(directory.path().join("now.hangsnap"), "").expect("room for nothing");
    assert!(complaint(&["now.hangsnap"]).contains("hangsnap show now.hangsnap"));
}

/// A script whose variable is empty has not looked at anything, and must notice.
#[test]
fn hangsnap_alone_says_in_ten_lines_what_it_is_and_fails() {
    let output = run(&mut hangsnap());
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stderr).expect("text");
    assert_eq!(text.lines().count(), 10, "{text}");
    let examples: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("  hangsnap ")).collect();
    assert_eq!(examples.len(), 4, "{text}");
    assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    // Each of them is a call that clap takes, with a process and a recording in the place of those
    // that are named there.
    let victim = sleeper();
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("some.hangsnap");
    succeed(hangsnap().args([&victim.pid(), "--every", "5ms", "--count", "2", "-o"]).arg(&file));
    for example in examples {
        let (call, _) = example.split_once("  ").expect("what it does is written beside it");
        let words = call.split(' ').map(|word| match word {
            "22780" | "nginx" => victim.pid(),
            "RECORDING" => file.display().to_string(),
            "5s" => "5ms".into(),
            word => word.into(),
        });
        let mut command = hangsnap();
        command.current_dir(directory.path()).args(words);
        if call.contains("--every") {
            command.args(["--count", "2"]);
        }
        let code = run(&mut command).status.code();
        // A doctor that finds something missing on this host exits with 1.
        assert!(code == Some(0) || (call.starts_with("doctor") && code == Some(1)), "{call}: {code:?}");
    }
}
