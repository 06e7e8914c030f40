//! Code that was moved into anonymous memory at its place, to have it in huge pages: the map no
//! longer says which file it is of.

use std::process::Command;

use super::{array, assert_stack, read, until_it_pauses};
use crate::support::{Victim, compile, hangsnap};

/// Compilers and flags: the code lies in a segment of its own, in one with the file's headers, and
/// in a program that is not moved.
const PROGRAMS: [(&str, &[&str]); 5] = [
    ("gcc", &["-O2", "-g"]),
    ("gcc", &["-O2", "-g", "-no-pie", "-fno-pie"]),
    ("gcc", &["-O2", "-g", "-Wl,-z,noseparate-code"]),
    ("clang", &["-O1", "-g", "-fuse-ld=lld"]),
    ("gcc", &["-O2", "-g", "-static"]),
];

/// Its stack ended there, without names.
#[test]
fn code_in_anonymous_memory_at_its_place_is_of_the_file_around_it() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (compiler, flags) in PROGRAMS {
        let program = compile(compiler, "moved_text.c", flags);
        for moved in ["page", "program", "library"] {
            if moved == "library" && flags.contains(&"-static") {
                continue;
            }
            let victim = Victim::start(Command::new(&program).arg(moved));
            let pid = victim.pid();
            until_it_pauses(&pid);
            let what = format!("{compiler} {flags:?}, {moved} moved");
            let files = ["auto", "all", "none"].map(|stop| {
                let file = directory.path().join(format!("{pid}-{stop}.hangsnap"));
                let document = read(hangsnap().args(["--pid", &pid, "--json", "--stop", stop, "-o"]).arg(&file));
                assert_stacks(&format!("{what}, --stop {stop}"), &array(&document["threads"])[0]);
                file
            });
            drop(victim);
            for file in files {
                let document = read(hangsnap().arg("show").arg(&file).arg("--json"));
                assert_stacks(&format!("{what}, recorded"), &array(&document["threads"])[0]);
            }
        }
    }
}

fn assert_stacks(what: &str, thread: &serde_json::Value) {
    assert_stack(what, thread, &["waits", "fetches", "serves", "main"]);
}
