//! Compressed sections, and debug files by link and checksum.

use std::fs;
use std::process::Command;

use super::{Built, assert_whole, program_functions};
use crate::support::succeed;

#[test]
fn compressed_sections_are_read_of_programs_and_of_what_was_split_off() {
    for kind in ["zlib", "zlib-gnu", "zstd"] {
        let compress = format!("--compress-debug-sections={kind}");
        for split in [false, true] {
            let flags = if split { &["-O2", "-g", "-gsplit-dwarf"][..] } else { &["-O2", "-g"] };
            let built = Built::with("g++", flags, |at| {
                let files = if split { vec!["routes", "routes.dwo"] } else { vec!["routes"] };
                for file in files {
                    let done = ["objcopy", "llvm-objcopy", "llvm-objcopy-16"].into_iter().any(|tool| {
                        let mut command = Command::new(tool);
                        command.args([&compress]).arg(at.join(file));
                        command.output().is_ok_and(|output| output.status.success())
                    });
                    if !done {
                        println!("SKIPPED: no objcopy here compresses sections with {kind}");
                    }
                }
            });
            assert_whole(&format!("{kind}, split: {split}"), &built.show(&[]));
        }
    }
}

/// A file without a build-id is known by the checksum that the debug link has.
#[test]
fn a_debug_link_is_followed_if_its_checksum_is_right() {
    let built = Built::with("g++", &["-O2", "-g"], |at| {
        succeed(Command::new("g++").current_dir(at).args(["routes.o", "-o", "routes", "-Wl,--build-id=none"]));
        succeed(Command::new("objcopy").current_dir(at).args(["--only-keep-debug", "routes", "routes.debug"]));
        succeed(Command::new("strip").current_dir(at).arg("routes"));
        succeed(Command::new("objcopy").current_dir(at).args(["--add-gnu-debuglink=routes.debug", "routes"]));
    });
    assert_whole("beside it", &built.show(&[]));
    let report = built.report(&[]);
    assert_eq!(report["build_id"], serde_json::Value::Null);
    let unchecked = |report: &serde_json::Value| {
        report["files"].as_array().is_some_and(|files| files.iter().any(|file| file["unchecked"] == true))
    };
    assert!(unchecked(&report), "no build-id was compared: {report:#}");
    fs::create_dir(built.path(".debug")).expect("a directory");
    fs::rename(built.path("routes.debug"), built.path(".debug/routes.debug")).expect("it is ours");
    assert_whole("in .debug", &built.show(&[]));
    fs::create_dir(built.path("kept")).expect("a directory");
    fs::rename(built.path(".debug/routes.debug"), built.path("kept/routes.debug")).expect("it is ours");
    let kept = built.path("kept").display().to_string();
    assert_whole("in a directory", &built.show(&["--symbols", &kept]));
    // Of the right name, and other contents.
    let mut bytes = fs::read(built.path("kept/routes.debug")).expect("readable");
    bytes.push(0);
    fs::write(built.path("routes.debug"), bytes).expect("it is ours");
    assert!(program_functions(&built.show(&[])).iter().all(|(_, line)| line.is_none()), "its checksum is another");
}
