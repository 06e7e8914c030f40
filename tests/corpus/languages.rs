//! Stacks of other languages than C: exceptions in flight, panics, goroutines.

use std::process::Command;

use super::build::{compile, made, place, source};
use super::{Case, Table};

#[test]
fn exceptions() {
    let mut table = Table::new("C++ exceptions");
    for (compiler, level) in [("g++", "-O0"), ("g++", "-O2"), ("clang++", "-O2"), ("g++", "-Os")] {
        let what = format!("{compiler} {level}");
        let flags = [level, "-std=c++17", "-pthread"];
        if let Some(program) = compile(&format!("exceptions {what}"), &[compiler], &["exceptions.cc"], &flags) {
            for kind in ["catch", "destructor", "terminate", "nested", "virtual"] {
                table.run(&Case::new(&format!("{kind}, {what}")), &program, &[kind]);
            }
        }
    }
    let flags = ["-O2", "-std=c++17", "-pthread", "-static"];
    if let Some(program) = compile("exceptions static", &["g++"], &["exceptions.cc"], &flags) {
        table.run(&Case::new("destructor, g++ -O2 -static"), &program, &["destructor"]);
    }
    table.finish();
}

#[test]
fn rust() {
    let mut table = Table::new("Rust");
    let kinds: [(&str, &[&str]); 7] = [
        ("debug", &["-g"]),
        ("release", &["-Copt-level=3"]),
        ("release with -g", &["-Copt-level=3", "-g"]),
        ("panic=abort", &["-Copt-level=3", "-Cpanic=abort"]),
        ("panic=abort without tables", &["-Copt-level=3", "-Cpanic=abort", "-Cforce-unwind-tables=no", "-g"]),
        ("opt-level=z", &["-Copt-level=z"]),
        ("v0 mangling, lto", &["-Copt-level=3", "-Csymbol-mangling-version=v0", "-Clto=fat", "-Ccodegen-units=1"]),
    ];
    for (name, flags) in kinds {
        let case = format!("Rust, {name}");
        let flags = [&["--edition=2024"], flags].concat();
        if let Some(program) = compile(&case, &["rustc"], &["chain.rs"], &flags) {
            table.run(&Case::new(&case), &program, &[]);
            table.run(&Case::new(&format!("{case}, in a panic hook")), &program, &["panic"]);
        }
    }
    table.finish();
}

const IN_C: [&str; 7] =
    ["cgo", "callback", "callback, read", "callback, spin", "thread, cgo", "thread, read", "thread, spin"];

#[test]
fn go() {
    let mut table = Table::new("Go");
    let stripped: &[&str] = &["-ldflags=-s -w"];
    let variants: [(&str, &[&str], &str, bool); 4] = [
        ("Go", &[], "chain_pure.go", true),
        ("Go, stripped", stripped, "chain_pure.go", false),
        ("Go with cgo", &[], "chain_cgo.go", true),
        ("Go with cgo, stripped", stripped, "chain_cgo.go", false),
    ];
    for (name, flags, part, names_exist) in variants {
        let program = place(name).join("program");
        let mut command = Command::new("go");
        command.args(["build", "-o"]).arg(&program).args(flags).arg(source("chain.go")).arg(source(part));
        // Both belong to no module, and what was compiled before is kept where the test's other
        // products are.
        command.env("GO111MODULE", "off").env("GOCACHE", place("go-cache"));
        if !made(name, &mut command, &program) {
            continue;
        }
        let in_c: &[&str] = if part == "chain_cgo.go" { &IN_C } else { &[] };
        for kind in [&["read", "spin", "system stack"], in_c].concat() {
            let title = format!("{name}, {kind}");
            let case = Case { names_exist, ..Case::new(&title) };
            // The runtime wakes up now and then to see whether it has waited for long enough.
            let case = if kind.ends_with("spin") || kind == "system stack" { case.spinning(20) } else { case };
            table.run(&case, &program, &[kind]);
        }
    }
    table.finish();
}
