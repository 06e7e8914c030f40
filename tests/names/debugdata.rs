//! Stripped programs with the file of symbols inside them that Fedora puts there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{array, assert_stack, functions, look, until_it_pauses};
use crate::support::{Victim, compile, succeed};

const CHAIN: [&str; 4] = ["sleeps_for_ever", "calls_it", "begins", "main"];

/// The victim with its symbols moved into `.gnu_debugdata`, as gdb's manual says (section
/// MiniDebugInfo).
fn packed(flags: &[&str], kept: &[&str]) -> PathBuf {
    let whole = compile("gcc", "shipped.c", flags);
    let made = |ending: &str| whole.with_extension(ending);
    let symbols = |arguments: &[&str]| -> BTreeSet<String> {
        let text = succeed(Command::new("nm").args(arguments).args(["--format=posix", "--defined-only"]).arg(&whole));
        let fields = text.lines().filter_map(|line| line.split_once(' '));
        fields.filter(|(_, rest)| rest.starts_with(['T', 't', 'D'])).map(|(name, _)| name.to_owned()).collect()
    };
    let (all, exported) = (symbols(&[]), symbols(&["-D"]));
    let wanted: Vec<&str> = all.difference(&exported).map(String::as_str).collect();
    fs::write(made("keep"), wanted.join("\n")).expect("a list of symbols");
    succeed(Command::new("objcopy").args(["--only-keep-debug"]).args([&whole, &made("debug")]));
    let keep = format!("--keep-symbols={}", made("keep").display());
    succeed(Command::new("objcopy").args(["-S", &keep]).args(kept).args([&made("debug"), &made("mini")]));
    succeed(Command::new("xz").args(["--keep", "--force"]).arg(made("mini")));
    let section = format!(".gnu_debugdata={}", made("mini.xz").display());
    succeed(Command::new("strip").args(["--strip-all", "-R", ".comment", "-o"]).args([&made("stripped"), &whole]));
    succeed(Command::new("objcopy").args(["--add-section", &section]).args([&made("stripped"), &made("packed")]));
    made("packed")
}

fn start(program: &Path) -> Victim {
    let victim = Victim::start(&mut Command::new(program));
    until_it_pauses(&victim.pid());
    victim
}

#[test]
fn a_stripped_program_has_the_names_of_the_file_inside_it() {
    let program = packed(&["-O2", "-g"], &[]);
    let victim = start(&program.with_extension("stripped"));
    let without = look(&victim.pid());
    let names = functions(&array(&without["threads"])[0]);
    assert!(!names.iter().any(|name| CHAIN.contains(&name.as_str())), "strip left names: {names:?}");
    let victim = start(&program);
    let with = look(&victim.pid());
    println!("{:?}", functions(&array(&with["threads"])[0]));
    assert_stack("stripped", &array(&with["threads"])[0], &CHAIN);
}

/// What the compiler was asked not to load at run time is `.debug_frame`, and that may be inside,
/// too.
#[test]
fn a_stripped_program_is_unwound_by_the_debug_frame_of_the_file_inside_it() {
    let flags = ["-O2", "-g", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables", "-fomit-frame-pointer"];
    let program = packed(&flags, &["--keep-section=.debug_frame"]);
    let victim = start(&program.with_extension("stripped"));
    let without = look(&victim.pid());
    // By what its instructions do to the stack, or by what looks like a return address.
    let worked_out = |document: &serde_json::Value| {
        let frames = array(&array(&document["threads"])[0]["frames"]);
        frames.iter().filter(|frame| ["guess", "inferred"].iter().any(|how| frame["found_by"] == *how)).count()
    };
    assert!(worked_out(&without) > 2, "nothing tells how to unwind it: {without}");
    let victim = start(&program);
    let with = look(&victim.pid());
    println!("{:?}", functions(&array(&with["threads"])[0]));
    assert_stack("stripped", &array(&with["threads"])[0], &CHAIN);
    assert_eq!(worked_out(&with), 0, "{with}");
}
