//! The same functions and lines as gdb and llvm-symbolizer have for the same places.

use std::process::Command;

use serde_json::Value;

use super::{Built, Named, is_program, plain, program_functions};
use crate::names::array;
use crate::support::succeed;

/// The functions at a place, innermost inlined one first.
fn by_symbolizer(built: &Built, address: u64) -> Vec<Named> {
    let mut command = Command::new("llvm-symbolizer");
    command.arg(format!("--obj={}", built.path("routes").display())).arg(format!("{address:#x}"));
    let printed = succeed(&mut command);
    let lines: Vec<&str> = printed.lines().filter(|line| !line.is_empty()).collect();
    let (pairs, _) = lines.as_chunks::<2>();
    let line_of = |place: &str| place.rsplit(':').nth(1).and_then(|line| line.parse().ok()).filter(|line| *line > 0);
    pairs.iter().map(|[name, place]| (plain(name), line_of(place))).collect()
}

/// The line of the innermost one.
fn by_gdb(built: &Built, address: u64) -> Option<u64> {
    let mut command = Command::new("gdb");
    command.args(["-nx", "-batch", "-ex", &format!("info line *{address:#x}")]).arg(built.path("routes"));
    let printed = succeed(&mut command);
    printed.split_whitespace().nth(1).and_then(|line| line.parse().ok())
}

/// An address inside the instruction that a frame is about.
fn looked_up(frame: &Value) -> u64 {
    let text = frame["file_address"].as_str().expect("it is in a file");
    let address = u64::from_str_radix(text.trim_start_matches("0x"), 16).expect("a number");
    if frame["is_return_address"] == true { address - 1 } else { address }
}

#[test]
fn functions_lines_and_inlined_chains_are_gdbs_and_llvms() {
    let mut compared = 0;
    for compiler in ["g++", "clang++"] {
        for flags in [&["-O2", "-g"][..], &["-O2", "-g", "-gsplit-dwarf"], &["-O0", "-g"], &["-O2", "-g", "-gdwarf-4"]]
        {
            let built = Built::with(compiler, flags, |_| {});
            let document = built.show(&[]);
            let frames = array(&array(&document["threads"])[0]["frames"]);
            let mut theirs = Vec::new();
            for frame in frames.iter().filter(|frame| is_program(frame["module"].as_str())) {
                let address = looked_up(frame);
                let inlined = by_symbolizer(&built, address);
                assert_eq!(
                    inlined.first().and_then(|(_, line)| *line),
                    by_gdb(&built, address),
                    "{compiler} {flags:?}"
                );
                theirs.extend(inlined);
            }
            let theirs: Vec<Named> = theirs.into_iter().take_while(|(name, _)| name != "main").collect();
            let ours = program_functions(&document);
            let short = |named: &[Named]| -> Vec<Named> {
                let last = |name: &str| name.rsplit("::").next().unwrap_or_default().to_owned();
                named.iter().map(|(name, line)| (last(name), *line)).collect()
            };
            // LLVM prints the last word only where there is no linkage name.
            assert_eq!(short(&ours), short(&theirs), "{compiler} {flags:?}");
            compared += ours.len();
        }
    }
    println!("{compared} functions as llvm-symbolizer and gdb have them");
    assert!(compared >= 32);
}
