//! Programs without names whose debug information lies where no tool would look for it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{array, assert_stack, read, until_it_pauses};
use crate::support::{Victim, compile, hangsnap, run, succeed};

const CHAIN: [&str; 4] = ["waits", "fetches", "serves", "main"];

/// A stripped copy of a victim, and its debug information in a file of another name.
fn strip(compiler: &str, flags: &[&str], directory: &Path) -> (PathBuf, PathBuf) {
    let whole = compile(compiler, "moved_text.c", flags);
    let (bare, debug) = (directory.join("bare"), directory.join("names-of-it"));
    succeed(Command::new("objcopy").arg("--only-keep-debug").arg(&whole).arg(&debug));
    succeed(Command::new("strip").arg("-o").arg(&bare).arg(&whole));
    (bare, debug)
}

fn files_without_names(document: &Value) -> Vec<&str> {
    document["files_without_names"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|file| file["path"].as_str().expect("a path"))
        .collect()
}

/// `??` stood on every line and nothing said why, and a live process took no file for it.
#[test]
fn a_stripped_program_is_said_to_be_and_takes_its_names_from_a_file_that_is_named() {
    for (compiler, flags) in
        [("gcc", &["-O2", "-g"][..]), ("gcc", &["-O2", "-g", "-static"]), ("clang", &["-O1", "-g"])]
    {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (bare, debug) = strip(compiler, flags, directory.path());
        let victim = Victim::start(Command::new(&bare).arg("page"));
        let pid = victim.pid();
        until_it_pauses(&pid);
        let file = directory.path().join("snapshot.hangsnap");
        let path = bare.to_str().expect("a path of this test's");
        for stop in ["auto", "all", "none"] {
            let what = format!("{compiler} {flags:?}, --stop {stop}");
            let look = || {
                let mut command = hangsnap();
                command.args([pid.as_str(), "--stop", stop]);
                command
            };
            let nameless = read(look().arg("--json"));
            assert_eq!(files_without_names(&nameless), [path], "{what}");
            assert!(succeed(&mut look()).contains("its file is stripped"), "{what}");
            let named = read(look().args(["--json", "--symbols"]).arg(&debug));
            assert_stack(&what, &array(&named["threads"])[0], &CHAIN);
            assert!(files_without_names(&named).is_empty(), "{what}");
        }
        succeed(hangsnap().arg(&pid).arg("-o").arg(&file));
        drop(victim);
        std::fs::remove_file(&bare).expect("it is ours");
        let recorded = read(hangsnap().arg("show").arg(&file).args(["--json", "--symbols"]).arg(&debug));
        assert_stack(&format!("{compiler} {flags:?}, recorded"), &array(&recorded["threads"])[0], &CHAIN);
    }
}

#[test]
fn a_file_of_another_build_is_not_used_and_that_is_said() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (bare, _) = strip("gcc", &["-O2", "-g"], directory.path());
    let other = compile("gcc", "moved_text.c", &["-O1", "-g"]);
    let victim = Victim::start(Command::new(&bare).arg("page"));
    until_it_pauses(&victim.pid());
    let printed = succeed(hangsnap().arg(victim.pid()).arg("--symbols").arg(&other));
    assert!(printed.contains("not used, no module on these stacks has its build-id"), "{printed}");
    assert!(!printed.contains("serves"), "{printed}");
    for (name, why) in [("nowhere", "cannot be opened"), ("text", "is no ELF file")] {
        let file = directory.path().join(name);
        if name == "text" {
            std::fs::write(&file, "words").expect("a file");
        }
        let output = run(hangsnap().arg(victim.pid()).arg("--symbols").arg(&file));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{said}");
        assert!(said.contains(name) && said.contains(why), "{said}");
    }
}

/// The files of a live process lie below another directory: an image that was unpacked, perhaps.
#[test]
fn a_live_process_takes_its_names_from_below_a_directory_that_is_named() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (bare, debug) = strip("gcc", &["-O2", "-g"], directory.path());
    let below = directory
        .path()
        .join("tree")
        .join(debug.strip_prefix("/").expect("an absolute path").parent().expect("it has one"));
    std::fs::create_dir_all(&below).expect("a directory");
    // The whole program at the path of the stripped one.
    let whole = compile("gcc", "moved_text.c", &["-O2", "-g"]);
    std::fs::copy(&whole, below.join("bare")).expect("a copy");
    let victim = Victim::start(Command::new(&bare).arg("page"));
    until_it_pauses(&victim.pid());
    let named = read(hangsnap().arg(victim.pid()).arg("--json").arg("--sysroot").arg(directory.path().join("tree")));
    assert_stack("--sysroot", &array(&named["threads"])[0], &CHAIN);
}
