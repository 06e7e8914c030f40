//! Names of D, Ada, Fortran and OCaml, as their compilers encode them, with debug information and
//! from the tables of symbols alone; binutils reads D's, too.

use std::path::PathBuf;
use std::process::Command;

use crate::names::{array, assert_stack, functions, read};
use crate::support::{Victim, hangsnap, succeed, victim_source};

/// Builds a victim of another language in a directory of its own.
fn built(directory: &tempfile::TempDir, compiler: &str, source: &str, flags: &[&str]) -> PathBuf {
    let at = directory.path();
    let name = std::path::Path::new(source).file_name().expect("it has a name");
    std::fs::copy(victim_source(source), at.join(name)).expect("a copy");
    let mut command = Command::new(compiler);
    command.current_dir(at).args(flags).arg(name).args(["-o", "program"]);
    succeed(&mut command);
    at.join("program")
}

#[test]
fn names_are_those_of_the_language() {
    let rows: [(&str, &str, &[&str], &[&str]); 4] = [
        ("gdc", "app.d", &["-O1"], &["app.Pair!(int).Pair.take", "app.Worker.run", "app.outer", "D main"]),
        ("gnatmake", "ada_app.adb", &[], &["ada_app.int_depot.wait", "ada_app.int_depot.\"+\"", "ada_app"]),
        ("gfortran", "solver.f90", &[], &["solver::wait_cell", "solver::solve"]),
        ("ocamlopt", "worker.ml", &["unix.cmxa"], &["Worker.wait", "Worker.+++", "Worker.fun", "Worker.run"]),
    ];
    for (compiler, source, flags, chain) in rows {
        for debug in [true, false] {
            let directory = tempfile::tempdir().expect("a temporary directory");
            let mut flags = flags.to_vec();
            flags.extend(debug.then_some("-g"));
            let program = built(&directory, compiler, &format!("languages/{source}"), &flags);
            let victim = Victim::start(&mut Command::new(&program));
            let what = format!("{compiler} {flags:?}");
            let waits = || {
                let document = read(hangsnap().arg(victim.pid()).arg("--json"));
                let names = functions(&array(&document["threads"])[0]);
                names.iter().any(|name| name == chain[0]).then_some(document)
            };
            let mut seen = None;
            crate::support::until(&format!("{what} waits"), crate::support::PATIENCE, || {
                seen = waits();
                seen.is_some()
            });
            assert_stack(&what, &array(&seen.expect("it was seen")["threads"])[0], chain);
        }
    }
}

/// Each function of D's runtime library that binutils has a name for, beside ours.
#[test]
fn names_of_d_are_those_of_binutils() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = built(&directory, "gdc", "languages/app.d", &["-static-libphobos"]);
    let symbols = succeed(Command::new("nm").args(["--defined-only", "--format=posix"]).arg(program));
    let fields = symbols.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let functions = fields.filter(|fields| ["T", "t", "W"].contains(&fields[1]) && fields[0].starts_with("_D"));
    let names: Vec<String> = functions.map(|fields| fields[0].to_owned()).take(20_000).collect();
    assert!(names.len() > 1000, "only {} functions", names.len());
    let theirs = directory.path().join("names");
    std::fs::write(&theirs, names.join("\n")).expect("it is ours");
    let input = std::fs::File::open(&theirs).expect("it is there");
    let output = Command::new("c++filt").args(["-s", "dlang"]).stdin(input).output().expect("binutils is installed");
    let printed = String::from_utf8(output.stdout).expect("text");
    let (mut agree, mut known, mut shown) = (0, 0, 0);
    for (name, theirs) in names.iter().zip(printed.lines()) {
        if theirs == name {
            continue;
        }
        known += 1;
        let ours = hangsnap::elf::demangle(name);
        // What functions take that are handed over is left out of ours.
        let is_short = theirs.contains(" delegate") || theirs.contains(" function");
        let plain = if is_short { without_parentheses } else { without_calls };
        if plain(theirs) == plain(&ours) {
            agree += 1;
        } else if shown < 20 {
            shown += 1;
            println!("{name}\n  {ours}\n  {theirs}");
        }
    }
    println!("{agree} of {known} names of D as binutils has them");
    assert!(agree * 100 >= known * 95, "{agree} of {known}");
}

/// A name without anything in parentheses.
fn without_parentheses(name: &str) -> String {
    let mut depth = 0;
    let mut plain = name.to_owned();
    plain.retain(|character| {
        depth += i32::from(character == '(');
        let is_kept = depth == 0;
        depth -= i32::from(character == ')');
        is_kept
    });
    without_calls(&plain)
}

/// A name without what functions in it take: only parentheses after `!` stay.
fn without_calls(name: &str) -> String {
    let mut plain = String::new();
    let mut kept = Vec::new();
    let mut left_out = 0;
    for character in name.chars() {
        match character {
            '(' if left_out > 0 || !plain.ends_with('!') && kept.is_empty() => left_out += 1,
            '(' => {
                kept.push(());
                plain.push(character);
            }
            ')' if left_out > 0 => left_out -= 1,
            ')' => {
                kept.pop();
                plain.push(character);
            }
            _ if left_out == 0 => plain.push(character),
            _ => {}
        }
    }
    plain.replace(" inout", "").replace(" const", "").replace(" shared", "").replace(" immutable", "").trim().to_owned()
}
