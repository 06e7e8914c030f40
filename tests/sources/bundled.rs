//! Files that the recording keeps: names when the program is nowhere any more.

use std::fs;
use std::process::Command;

use super::{Built, CHAIN, assert_whole, program_functions};
use crate::names::{array, read};
use crate::support::{Victim, hangsnap, succeed};

/// Builds, takes a snapshot with a bundle, and removes what it was built from.
fn bundled(what: &str, flags: &[&str]) -> Built {
    let built = Built::of("g++", flags, |_| {}, &["--bundle", what]);
    for file in ["routes", "routes.o", "routes.dwo", "routes.dwp"] {
        let _ = fs::remove_file(built.path(file));
    }
    built
}

#[test]
fn a_bundle_names_what_is_gone() {
    for flags in [&["-O2", "-g"][..], &["-O2", "-g", "-gsplit-dwarf"], &["-O2", "-g", "-gz"]] {
        let what = format!("{flags:?}");
        let whole = bundled("debug", flags);
        assert_whole(&what, &whole.show(&[]));
        let report = whole.report(&[]);
        assert_eq!(report["files"][0]["found"], "bundle", "{what}: {report:#}");
        assert!(array(&report["missing"]).is_empty(), "{what}: {report:#}");
        let symbols = bundled("symbols", flags);
        let names: Vec<String> = program_functions(&symbols.show(&[])).into_iter().map(|(name, _)| name).collect();
        assert!(names.starts_with(&[CHAIN[0].into(), CHAIN[3].into()]), "{what}: {names:?}");
        let size = |built: &Built| fs::metadata(&built.snapshot).expect("it is there").len();
        println!("{what}: {} bytes with symbols, {} with debug information", size(&symbols), size(&whole));
        assert!(size(&symbols) < 1 << 20 && size(&symbols) < size(&whole));
    }
}

#[test]
fn a_bundle_can_be_added_while_the_process_has_the_files_and_cut_and_merge_carry_it() {
    let built = Built::with("g++", &["-O2", "-g"], |_| {});
    let victim = Victim::start(&mut Command::new(built.path("routes")));
    let recording = built.path("recording");
    let every = ["--every", "50ms", "--count", "3", "-o"];
    succeed(hangsnap().arg(victim.pid()).args(every).arg(&recording));
    let single = built.path("single.hangsnap");
    succeed(hangsnap().arg(victim.pid()).arg("-o").arg(&single));
    // The process has it still, though nothing leads to it.
    fs::remove_file(built.path("routes")).expect("it is there");
    for file in [&recording, &single] {
        let said = succeed(hangsnap().arg("bundle").arg(file).args(["--with", "debug"]));
        assert!(said.contains("2 files added"), "{said}");
        let said = succeed(hangsnap().arg("bundle").arg(file).args(["--with", "debug"]));
        assert!(said.contains("0 files added"), "what is there is not added again: {said}");
    }
    drop(victim);
    let show = |file: &std::path::Path| read(hangsnap().arg("show").arg(file).arg("--json"));
    assert_whole("recording", &show(&recording));
    assert_whole("single", &show(&single));
    let (cut, merged) = (built.path("cut.hangsnap"), built.path("merged.hangsnap"));
    succeed(hangsnap().arg("cut").arg(&recording).args(["--from", "2", "-o"]).arg(&cut));
    assert_whole("cut", &show(&cut));
    succeed(hangsnap().arg("merge").arg(&cut).arg(&single).arg("-o").arg(&merged));
    assert_whole("merged", &show(&merged));
    succeed(hangsnap().arg("check").arg(&merged));
    succeed(hangsnap().arg("scrub").arg(&merged));
    assert_whole("scrubbed", &show(&merged));
    // What is damaged of a bundle costs names, and no snapshot.
    let mut bytes = fs::read(&merged).expect("readable");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(&merged, bytes).expect("it is ours");
    let names = succeed(hangsnap().arg("list").arg(&cut));
    assert!(!names.is_empty());
}

/// A file that the recording keeps without its debug information hid the one on this machine that
/// has it.
#[test]
fn a_bundle_of_symbols_does_not_hide_lines() {
    let built = Built::with("g++", &["-O2", "-g"], |_| {});
    let victim = Victim::start(&mut Command::new(built.path("routes")));
    let single = built.path("single.hangsnap");
    succeed(hangsnap().arg(victim.pid()).arg("-o").arg(&single));
    let show = || succeed(hangsnap().arg("show").arg(&single).arg("--all-frames"));
    let before = show();
    succeed(hangsnap().arg("bundle").arg(&single));
    assert!(before.contains("routes.cc:"), "{before}");
    assert_eq!(show(), before);
}

/// A file whose pieces are all lies must cost no more than it is.
#[test]
fn a_bundle_that_lies_is_not_used() {
    use hangsnap::model::{BundledFile, BundledRole};
    let built = Built::with("g++", &["-O2", "-g"], |_| {});
    fs::remove_file(built.path("routes")).expect("it is there");
    let document = built.show(&[]);
    let frames = array(&array(&document["threads"])[0]["frames"]);
    let frame = frames.iter().find(|frame| super::is_program(frame["module"].as_str())).expect("it is on the stack");
    let id = frame["build_id"].as_str().expect("it has one");
    let id = (0..id.len()).step_by(2).map(|at| u8::from_str_radix(&id[at..at + 2], 16).expect("hexadecimal")).collect();
    let id = hangsnap::model::BuildId(id);
    let lies: [(&[u8], u64); 3] = [(b"no zlib", 100), (b"", 1 << 40), (b"x\x9c\x03\x00\x00\x00\x00\x01", 0)];
    let files = lies.map(|(packed, size)| BundledFile {
        build_id: Some(id.clone()),
        path: "/routes".into(),
        role: BundledRole::Module,
        packed: packed.into(),
        size,
    });
    hangsnap::store::add_bundled(&built.snapshot, &files).expect("it is ours");
    assert_eq!(built.report(&[])["missing"][0]["what"], "file");
}
