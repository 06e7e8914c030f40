//! Debug information in `.dwo` files and `.dwp` packages.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{Built, CHAIN, assert_whole, program_functions};
use crate::names::array;
use crate::support::{hangsnap, succeed};

const COMPILERS: [&str; 2] = ["g++", "clang++"];
const VERSIONS: [&str; 2] = ["-gdwarf-4", "-gdwarf-5"];

fn each(mut check: impl FnMut(&str, Built)) {
    for compiler in COMPILERS {
        for version in VERSIONS {
            let built = Built::with(compiler, &["-O2", "-g", version, "-gsplit-dwarf"], |_| {});
            check(&format!("{compiler} {version}"), built);
        }
    }
}

fn moved(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().expect("a directory")).expect("a directory");
    fs::rename(from, to).unwrap_or_else(|error| panic!("{} cannot be moved: {error}", from.display()));
}

#[test]
fn units_beside_the_objects_are_found_wherever_they_were_moved_to() {
    each(|what, built| {
        assert_whole(&format!("{what}: where it was built"), &built.show(&[]));
        let report = built.report(&[]);
        assert!(array(&report["missing"]).is_empty(), "{what}: {report:#}");
        assert_eq!(report["inlined"], 2, "{what}: {report:#}");

        // All of it elsewhere: beside the program in another root, and in a directory by any name.
        let root = built.path("root");
        let inside = built.path("root").join(built.path("routes").strip_prefix("/").expect("an absolute path"));
        fs::create_dir_all(inside.parent().expect("a directory")).expect("a directory");
        moved(&built.path("routes.dwo"), &inside.with_file_name("routes.dwo"));
        moved(&built.path("routes"), &inside);
        let root = root.display().to_string();
        assert_whole(&format!("{what}: in another root"), &built.show(&["--sysroot", &root]));
        moved(&inside.with_file_name("routes.dwo"), &built.path("build/deep/down/routes.dwo"));
        let build = built.path("build").display().to_string();
        let both = ["--sysroot", &root, "--symbols", &build];
        assert_whole(&format!("{what}: in a directory that was named"), &built.show(&both));
    });
}

#[test]
fn a_unit_that_is_missing_is_said_once_with_what_would_supply_it() {
    each(|what, built| {
        fs::remove_file(built.path("routes.dwo")).expect("it is there");
        let report = built.report(&[]);
        let missing = array(&report["missing"]);
        assert_eq!(missing.len(), 1, "{what}: {report:#}");
        assert_eq!(missing[0]["what"], "split", "{what}: {report:#}");
        let place = built.path("routes.dwo").display().to_string();
        assert!(missing[0]["remedies"][0].as_str().is_some_and(|way| way.contains(&place)), "{what}: {report:#}");
        let shown = succeed(hangsnap().arg("show").arg(&built.snapshot));
        assert_eq!(shown.matches(&place).count(), 2, "{what}: once what, and once where to put it: {shown}");
        // The table of symbols has the names still.
        let functions = program_functions(&built.show(&[]));
        assert!(functions.iter().any(|(name, _)| name == CHAIN[0]), "{what}: {functions:?}");
    });
}

#[test]
fn a_unit_of_another_build_is_not_used() {
    for compiler in COMPILERS {
        let built = Built::with(compiler, &["-O2", "-g", "-gsplit-dwarf"], |_| {});
        // Of the same name, of a source in which every line is another.
        let source = fs::read_to_string(built.path("routes.cc")).expect("the source");
        fs::write(built.path("routes.cc"), format!("\n\n\nint another;\n{source}")).expect("it is ours");
        let flags = ["-O2", "-g", "-gsplit-dwarf", "-c", "routes.cc", "-o", "routes.o"];
        succeed(Command::new(compiler).current_dir(built.directory.path()).args(flags));
        assert_eq!(built.report(&[])["missing"][0]["what"], "split", "{compiler}");
    }
}

#[test]
fn packages_are_found_beside_the_program_its_debug_file_and_in_a_directory() {
    each(|what, built| {
        let directory = built.directory.path();
        // binutils' has no DWARF 5 yet.
        let packer = ["llvm-dwp", "dwp"].into_iter().find(|packer| {
            let mut command = Command::new(packer);
            command.current_dir(directory).args(["-e", "routes", "-o", "routes.dwp"]);
            command.output().is_ok_and(|output| output.status.success()) && directory.join("routes.dwp").exists()
        });
        assert!(packer.is_some(), "{what}: neither llvm-dwp nor dwp makes a package; tests/run installs them");
        fs::remove_file(built.path("routes.dwo")).expect("it is there");
        assert_whole(&format!("{what}: package beside the program"), &built.show(&[]));
        moved(&built.path("routes.dwp"), &built.path("elsewhere/routes.dwp"));
        let elsewhere = built.path("elsewhere").display().to_string();
        assert_whole(&format!("{what}: package in a directory"), &built.show(&["--symbols", &elsewhere]));
        // Stripped, with its debug file elsewhere, and the package beside that.
        let debug = built.path("elsewhere/routes.debug");
        succeed(Command::new("objcopy").arg("--only-keep-debug").arg(built.path("routes")).arg(&debug));
        succeed(Command::new("strip").arg(built.path("routes")));
        let debug = debug.display().to_string();
        assert_whole(&format!("{what}: package beside the debug file"), &built.show(&["--symbols", &debug]));
    });
}

/// What is in these files is hostile: cut off anywhere and changed anywhere they cost names, and no
/// more.
#[test]
fn damaged_units_and_packages_cost_names_and_no_more() {
    let built = Built::with("clang++", &["-O2", "-g", "-gsplit-dwarf"], |at| {
        succeed(Command::new("llvm-dwp").current_dir(at).args(["-e", "routes", "-o", "package"]));
    });
    let unit = fs::read(built.path("routes.dwo")).expect("readable");
    let package = fs::read(built.path("package")).expect("readable");
    fs::remove_file(built.path("routes.dwo")).expect("it is there");
    let mut shown = 0;
    for (name, whole) in [("routes.dwo", &unit), ("routes.dwp", &package)] {
        let place = built.path(name);
        for step in 0..24 {
            let mut bytes = whole.clone();
            match step % 2 {
                0 => bytes.truncate(whole.len() * step / 24),
                // The head, and then all over it.
                _ => {
                    for byte in bytes.iter_mut().skip(step * 7).step_by(61 + step) {
                        *byte = byte.wrapping_add(0x81);
                    }
                }
            }
            fs::write(&place, &bytes).expect("it is ours");
            let functions = program_functions(&built.show(&[]));
            shown += usize::from(functions.iter().any(|(name, _)| name == CHAIN[0]));
        }
        fs::remove_file(&place).expect("it is ours");
    }
    assert_eq!(shown, 48, "the table of symbols has the outermost names whatever those say");
}
