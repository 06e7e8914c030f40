//! On a terminal, lines fit its width; elsewhere they are what they are.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{Victim, compile, hangsnap, recorder, run, succeed};

/// What appears on a terminal of this width, without colours.
fn on_a_terminal(columns: usize, environment: &str, arguments: &[&str]) -> String {
    let program = hangsnap().get_program().display().to_string();
    let line = format!("stty cols {columns}; NO_COLOR=1 {environment} {program} {}", arguments.join(" "));
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env_remove("COLUMNS");
    let output = run(&mut command);
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).expect("it prints text").replace("\r\n", "\n")
}

fn longest(text: &str) -> usize {
    text.lines().map(|line| line.chars().count()).max().unwrap_or(0)
}

/// Called as programs are: what a test's are called is longer than half a line.
fn victims(directory: &Path) -> [(&'static str, Victim); 2] {
    let rust = compile("rustc", "stacks.rs", &["--edition=2024", "-O", "-g"]);
    let cpp = compile("g++", "stacks.cpp", &["-std=c++20", "-O1", "-g", "-pthread"]);
    [("Rust", rust, "worker"), ("C++", cpp, "server")].map(|(language, path, name)| {
        let program = directory.join(name);
        fs::copy(path, &program).expect("room for it");
        (language, Victim::start(Command::new(program).arg("14")))
    })
}

/// The frames of a text, each with the lines that belong to it.
fn frames(text: &str) -> Vec<Vec<&str>> {
    let mut found: Vec<Vec<&str>> = Vec::new();
    let mut is_within = false;
    for line in text.lines() {
        if line.starts_with("    #") {
            found.push(vec![line]);
            is_within = true;
        } else if is_within && line.starts_with("        ") {
            found.last_mut().expect("it has begun").push(line);
        } else {
            is_within = false;
        }
    }
    found
}

#[test]
fn in_80_columns_a_frame_of_rust_with_generics_or_cpp_with_templates_is_a_line() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (language, victim) in victims(directory.path()) {
        let pid = victim.pid();
        let wide = succeed(hangsnap().args([&pid, "--stop", "none"]));
        assert!(longest(&wide) > 120, "{language}: there is something to shorten: {wide}");
        let shown = on_a_terminal(80, "", &[&pid, "--stop none"]);
        assert!(longest(&shown) <= 80, "{language}: {shown}");
        let (before, after) = (frames(&wide), frames(&shown));
        assert_eq!(after.len(), before.len(), "{language}: {shown}");
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(after.len(), 1, "{language}: {after:?}");
            // The source line stays, and the first word of the name: the crate or namespace.
            if let Some((_, place)) = before[0].split_once(" at ") {
                let line = place.split(' ').next().and_then(|path| path.rsplit('/').next()).expect("a file");
                assert!(after[0].contains(line), "{language}: {} became {}", before[0], after[0]);
            }
            let name = before[0].trim_start_matches([' ', '#', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']);
            let name = name.trim_start_matches(['<', '&', '(']).trim_start_matches("dyn ");
            let first = name.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or_default();
            assert!(after[0].contains(first), "{language}: {} became {}", before[0], after[0]);
        }
        assert!(!shown.contains(" library/std/") && !shown.contains("/rustc/"), "{language}: {shown}");
    }
}

#[test]
fn everything_fits_the_terminal_or_columns_and_wide_is_as_it_is_elsewhere() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("recorded.hangsnap").display().to_string();
    let [_, (_, victim)] = victims(directory.path());
    succeed(recorder(&victim.pid(), "5ms").args(["--count", "3", "-o", &file]));
    let ways: [&[&str]; 5] = [
        &["show", &file],
        &["show", &file, "--verbose", "--registers"],
        &["diff", &file],
        &["diff", &file, "first", "last"],
        &["list", &file],
    ];
    for way in ways {
        let elsewhere = succeed(hangsnap().args(way));
        assert_eq!(elsewhere, succeed(hangsnap().args(way).env("COLUMNS", "50")), "{way:?}: no terminal");
        assert!(longest(&elsewhere) > 80, "{way:?}: {elsewhere}");
        let wide = [way, &["--wide"]].concat();
        assert_eq!(on_a_terminal(50, "", &wide), elsewhere, "{way:?}");
        assert_eq!(on_a_terminal(0, "", way), elsewhere, "{way:?}: of no known width");
        for (columns, environment, bound) in [
            (80, "", 80),
            (40, "", 40),
            (20, "", 40),
            (200, "COLUMNS=60", 60),
            (60, "COLUMNS=", 60),
            (60, "COLUMNS=0", 60),
        ] {
            let shown = on_a_terminal(columns, environment, way);
            assert!(longest(&shown) <= bound, "{way:?} {columns} {environment}: {shown}");
            assert_eq!(
                shown.lines().filter(|line| line.starts_with("thread ")).count(),
                elsewhere.lines().filter(|line| line.starts_with("thread ")).count(),
                "{way:?}"
            );
        }
    }
}
