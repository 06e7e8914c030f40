//! Code that JIT compilers register for gdb: LLVM's in its two ways, numba's, and objects that a
//! victim registers itself.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use super::{array, functions, look, read, until_it_pauses};
use crate::support::{Victim, compile, hangsnap, recorder, succeed};

const REGISTERED: [&str; 5] =
    ["registered_leaf", "registered_middle", "registered_middle", "registered_middle", "registered_entry"];
const FRAME_POINTERS: [&str; 2] = ["-fomit-frame-pointer", "-fno-omit-frame-pointer"];

/// A process that waits in registered code, registered in this way.
fn registered(how: &str, flag: &str) -> Victim {
    let flags = ["-c", "-O1", "-fno-optimize-sibling-calls", "-fno-ipa-sra", "-fno-ipa-cp", flag];
    let object = compile("gcc", "registered_code.c", &flags);
    let program = compile("gcc", "registered.c", &["-O1", "-g", "-pthread"]);
    let victim = Victim::start(Command::new(program).arg(object).arg(how));
    until_it_pauses(&victim.pid());
    victim
}

/// The first thread as it is shown live in each way of looking, and from recordings when the
/// process has gone.
fn shown(victim: Victim) -> Vec<(String, Value)> {
    let directory = tempfile::tempdir().expect("a directory");
    let mut shown = Vec::new();
    let file = |stop: &str| directory.path().join(format!("{stop}.hangsnap"));
    for stop in ["auto", "all", "none"] {
        let pid = victim.pid();
        shown.push((format!("--stop {stop}"), read(hangsnap().args(["--pid", &pid, "--stop", stop, "--json"]))));
        succeed(hangsnap().args(["--pid", &pid, "--stop", stop, "-o"]).arg(file(stop)));
    }
    drop(victim);
    for stop in ["auto", "all", "none"] {
        let document = read(hangsnap().arg("show").arg(file(stop)).arg("--json"));
        shown.push((format!("--stop {stop}, recorded"), document));
    }
    shown.into_iter().map(|(what, document)| (what, document["threads"][0].clone())).collect()
}

/// The names of the frames that lie in no module, one after another.
fn outside(thread: &Value) -> Vec<String> {
    let frames = array(&thread["frames"]).iter().filter(|frame| frame["module"] == Value::Null);
    frames.map(|frame| frame["functions"][0]["name"].as_str().unwrap_or("?").to_owned()).collect()
}

fn assert_whole(what: &str, thread: &Value, names: &[&str], last: &str) {
    assert_eq!(outside(thread), names, "{what}: {:#?}", functions(thread));
    assert_eq!(functions(thread).last().map(String::as_str), Some(last), "{what}");
    assert_eq!(thread["incomplete"], Value::Null, "{what}: {:#?}", functions(thread));
}

#[test]
fn registered_code_has_names_and_is_walked_through_with_and_without_frame_pointers() {
    for flag in FRAME_POINTERS {
        for (what, thread) in shown(registered("whole", flag)) {
            assert_whole(&format!("{flag} {what}"), &thread, &REGISTERED, "_start");
        }
    }
}

#[test]
fn what_an_object_has_of_names_and_tables_is_used_without_the_other() {
    for (what, thread) in shown(registered("no-names", FRAME_POINTERS[0])) {
        assert_whole(&what, &thread, &["?"; 5], "_start");
    }
    // Without tables a walk goes as far as it goes for other code that was made; what it finds has
    // names.
    for (what, thread) in shown(registered("no-tables", FRAME_POINTERS[0])) {
        let found = outside(&thread);
        assert!(!found.is_empty() && REGISTERED.starts_with(&found.iter().map(String::as_str).collect::<Vec<_>>()));
        println!("{what}: {found:?}");
    }
    // The same code, unregistered, has no names: what is seen above comes from the list.
    let victim = registered("nothing", FRAME_POINTERS[0]);
    assert!(outside(&look(&victim.pid())["threads"][0]).iter().all(|name| name == "?"));
}

/// What is wrong elsewhere in the list loses nothing, and takes neither long nor much memory.
#[test]
fn a_hostile_list_of_registered_code_is_bounded_and_loses_nothing() {
    let usual = {
        let victim = registered("whole", FRAME_POINTERS[0]);
        let begun = Instant::now();
        let _ = look(&victim.pid());
        begun.elapsed()
    };
    for how in ["overlapping", "unmapped", "enormous", "garbage", "cyclic", "endless", "oversized", "changing"] {
        let victim = registered(how, FRAME_POINTERS[0]);
        let begun = Instant::now();
        let thread = look(&victim.pid())["threads"][0].clone();
        let took = begun.elapsed();
        assert_whole(how, &thread, &REGISTERED, "_start");
        // Not a million times as long, nor as many entries as a list claims.
        assert!(took < usual * 100, "{how} took {took:?}, where a list of one takes {usual:?}");
    }
}

/// Memory that was freed is given out again: the list looks as before, and what it leads to is
/// another object.
#[test]
fn an_object_in_the_place_of_another_is_not_taken_for_it() {
    let victim = registered("replaced", FRAME_POINTERS[0]);
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("replaced.hangsnap");
    succeed(recorder(&victim.pid(), "50ms").args(["--count", "40", "-o"]).arg(&file));
    drop(victim);
    let at = |number: u64| read(hangsnap().arg("show").arg(&file).args(["--json", "--at", &number.to_string()]));
    let listed = succeed(hangsnap().arg("list").arg(&file));
    let numbers = crate::support::first_column(&listed);
    let leaves: Vec<String> =
        numbers.iter().filter_map(|number| outside(&at(*number)["threads"][0]).first().cloned()).collect();
    for name in ["registered_leaf", "forgedered_leaf"] {
        assert!(leaves.iter().any(|leaf| leaf == name), "{name} was never seen: {leaves:?}");
    }
}

/// What gdb names of the frames above `last`, that is in no file.
fn gdb(pid: &str) -> Vec<String> {
    let text = succeed(Command::new("gdb").args(["-nx", "-batch", "-iex", "set debuginfod enabled off"]).args([
        "-iex",
        "set auto-load no",
        "-ex",
        "set width 0",
        "-p",
        pid,
        "-ex",
        "bt",
    ]));
    let frames = text.lines().filter(|line| line.starts_with('#'));
    let name = |line: &str| line.split(" in ").nth(1).and_then(|rest| rest.split(" (").next()).unwrap_or("").to_owned();
    frames.map(name).collect()
}

/// Asserts that gdb names the same frames as we do of those that lie in no file: nothing more and
/// nothing less.
fn assert_as_gdb(what: &str, victim: Victim, known: &[&str]) {
    let oracle = gdb(&victim.pid());
    for (way, thread) in shown(victim) {
        let ours = outside(&thread);
        let what = format!("{what} {way}");
        let place = oracle.windows(ours.len().max(1)).position(|names| names == ours);
        assert_eq!(place, Some(1), "{what}: gdb has {oracle:#?}, not {ours:#?}");
        assert!(known.iter().all(|known| ours.iter().any(|name| name.contains(known))), "{what}: {ours:?}");
        assert_eq!(thread["incomplete"], Value::Null, "{what}: {:#?}", functions(&thread));
        assert_eq!(functions(&thread).last().map(String::as_str), Some("_start"), "{what}");
    }
}

#[test]
fn what_llvm_compiles_is_walked_and_named_as_gdb_does() {
    for flag in FRAME_POINTERS {
        let flags = ["-S", "-emit-llvm", "-O1", "-fno-optimize-sibling-calls", flag];
        let program: PathBuf = compile("clang", "jitted.c", &flags);
        for kind in ["mcjit", "orc"] {
            let victim = Victim::start(Command::new("lli").arg(format!("--jit-kind={kind}")).arg(&program));
            until_it_pauses(&victim.pid());
            assert_as_gdb(&format!("{kind} {flag}"), victim, &["jitted_leaf", "jitted_middle", "main"]);
        }
    }
}

/// llvmlite has LLVM inside, and the descriptor in its full table of symbols only.
#[test]
fn what_numba_compiles_is_walked_and_named_as_gdb_does() {
    let packages = Path::new(env!("CARGO_TARGET_TMPDIR")).join("numba");
    let source = crate::support::victim_source("jitted.py");
    let victim = Victim::start(Command::new("python3").arg(source).env("PYTHONPATH", packages));
    until_it_pauses(&victim.pid());
    assert_as_gdb("numba", victim, &["numba_middle"]);
}
