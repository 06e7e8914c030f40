//! Programs and libraries that are loaded in unusual ways, or whose files are not what they were
//! when they were loaded.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::build::{Running, compile, place, remove_section_headers, skip};
use super::{Case, Table};
use crate::support::{hangsnap, succeed};

fn program() -> Option<PathBuf> {
    compile("modules", &["gcc"], &["modules.c"], &["-O2", "-pthread"])
}

fn library(case: &str, flags: &[&str]) -> Option<PathBuf> {
    compile(case, &["gcc"], &["plugin.c"], &[&["-O2", "-shared", "-fPIC"], flags].concat())
}

/// A copy that the case may spoil.
fn copy(of: &Path, case: &str) -> PathBuf {
    let copy = place(case).join("copy");
    // The one of an earlier run may still be executed by somebody; its name can be had
    // nevertheless.
    let _ = fs::remove_file(&copy);
    fs::copy(of, &copy).expect("room for a copy");
    copy
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

/// A file system made of two, as containers have them: device and inode of its files are not those
/// of the mappings.
struct Overlay {
    directory: tempfile::TempDir,
}

impl Overlay {
    /// Of these files, one in each part; and where they are seen. None, having said so, where it
    /// may not be mounted.
    fn mount(case: &str, lower: &Path, upper: &Path) -> Option<(Self, [PathBuf; 2])> {
        let overlay = Self { directory: tempfile::tempdir().expect("a temporary directory") };
        let root = text(overlay.directory.path());
        // Nothing may be put into the parts while it is mounted.
        let script = "mount -t tmpfs none $0 && mkdir $0/lower $0/upper $0/work $0/merged && \
                      cp $1 $0/lower/program && cp $2 $0/upper/library && mount -t overlay none \
                      -o lowerdir=$0/lower,upperdir=$0/upper,workdir=$0/work $0/merged";
        let mounted = Command::new("sh").args(["-c", script, root, text(lower), text(upper)]).status();
        if mounted.is_ok_and(|status| status.success()) {
            let seen = ["program", "library"].map(|name| overlay.directory.path().join("merged").join(name));
            return Some((overlay, seen));
        }
        skip(case, "an overlay cannot be mounted here");
        None
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        for mounted in [self.directory.path().join("merged"), self.directory.path().to_owned()] {
            // What was not mounted cannot be taken off; what a program still executes goes when
            // that ends.
            let _ = Command::new("umount").arg("--lazy").arg(mounted).status();
        }
    }
}

#[test]
fn overlays() {
    let mut table = Table::new("overlays");
    let name = "program and library on an overlay";
    if let Some((program, library)) = program().zip(library("library", &[]))
        && let Some((_mounted, [program, library])) = Overlay::mount(name, &program, &library)
    {
        table.run(&Case::new(name), &program, &["library", text(&library)]);
    }
    table.finish();
}

#[test]
fn mappings() {
    let mut table = Table::new("mappings");
    if let Some(program) = program() {
        table.run(&Case::new("program as usual"), &program, &["plain"]);
        table.run(&Case::new("code in pieces"), &program, &["pieces"]);
        table.run(&Case::new("code in an anonymous mapping"), &program, &["anonymous"]);
        table.run(&Case::new("a page of the program mapped again"), &program, &["again"]);
        table.run(&Case::new("executed from memory"), &program, &["in-memory"]);
    }
    table.finish();
}

/// The notes of such a page are nowhere near it, and its file was taken for another one.
#[test]
fn a_page_that_is_mapped_again_is_of_the_file_that_runs() {
    let Some(program) = program() else {
        return;
    };
    let running = Running::start(&program, &["again"]);
    let printed = succeed(hangsnap().args(["--pid", &running.victim.pid()]));
    assert!(printed.contains("mapped_again "), "{printed}");
    assert!(!printed.contains("is not the one that is running"), "{printed}");
}

#[test]
fn libraries() {
    let mut table = Table::new("libraries");
    let libraries = library("library", &[]).zip(library("other library", &["-DVARIANT"]));
    if let Some((program, (library, other))) = program().zip(libraries) {
        table.run(&Case::new("library"), &program, &["library", text(&library)]);
        table.run(&Case::new("library in memory"), &program, &["library-in-memory", text(&library)]);
        let deleted = copy(&library, "deleted library");
        table.run(&Case::new("deleted library"), &program, &["deleted-library", text(&deleted)]);
        let (first, second) = (copy(&library, "first of one path"), copy(&other, "second of one path"));
        let arguments = ["two-of-one-path", text(&first), text(&second)];
        table.run(&Case::new("two libraries of one path"), &program, &arguments);
        let bare = copy(&library, "library without section headers");
        remove_section_headers(&bare);
        table.run(&Case::new("library without section headers").nameless(), &program, &["library", text(&bare)]);
    }
    table.finish();
}

#[test]
fn files() {
    let mut table = Table::new("files");
    let flags = ["-O0", "-pthread"];
    if let Some((program, other)) = program().zip(compile("another program", &["gcc"], &["chain.c"], &flags)) {
        let name = "deleted after the start";
        let deleted = copy(&program, name);
        let running = Running::start(&deleted, &["plain"]);
        fs::remove_file(&deleted).expect("it is there");
        table.look(&Case::new(name), &running);

        let name = "replaced after the start";
        let replaced = copy(&program, name);
        let running = Running::start(&replaced, &["plain"]);
        fs::rename(copy(&other, "the replacement"), &replaced).expect("both are on one file system");
        table.look(&Case::new(name), &running);

        let name = "deleted, a page of it mapped again";
        let deleted = copy(&program, name);
        let running = Running::start(&deleted, &["again"]);
        fs::remove_file(&deleted).expect("it is there");
        table.look(&Case::new(name), &running);

        let name = "without section headers";
        let bare = copy(&program, name);
        remove_section_headers(&bare);
        table.run(&Case::new(name).nameless(), &bare, &["plain"]);
    }
    table.finish();
}
