//! Names, lines and inlined functions from every place that real tools leave them in: split off,
//! compressed, shared by dwz, kept by the compiler in files of their own. A snapshot is taken where
//! the program runs, and shown with nothing but that place left. gdb and llvm-symbolizer judge.

mod bundled;
mod compressed;
mod languages;
mod oracle;
mod served;
mod shared;
mod split;
mod text;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, iter};

use serde_json::Value;
use tempfile::TempDir;

use crate::names::{array, read};
use crate::support::{PATIENCE, Victim, hangsnap, succeed, until, victim_source};

/// What the victim waits in, innermost first: two of these were inlined.
const CHAIN: [&str; 4] =
    ["net::waits", "net::(anonymous namespace)::RouteTable::add", "net::Pool<int>::take", "net::serves"];

/// A directory with a program built from routes.cc, and a snapshot of it.
struct Built {
    directory: TempDir,
    snapshot: PathBuf,
}

impl Built {
    /// Builds in a directory of its own, and takes a snapshot once the program waits.
    fn with(compiler: &str, flags: &[&str], then: impl FnOnce(&Path)) -> Self {
        Self::of(compiler, flags, then, &[])
    }

    /// The same, with these options for the snapshot.
    fn of(compiler: &str, flags: &[&str], then: impl FnOnce(&Path), options: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let at = directory.path();
        fs::copy(victim_source("routes.cc"), at.join("routes.cc")).expect("a copy");
        succeed(Command::new(compiler).current_dir(at).args(flags).args(["-c", "routes.cc", "-o", "routes.o"]));
        // Whatever links, the objects are the compiler's.
        succeed(Command::new("g++").current_dir(at).args(["routes.o", "-o", "routes", "-Wl,--build-id"]));
        then(at);
        let victim = Victim::start(&mut Command::new(at.join("routes")));
        let pauses =
            || fs::read_to_string(format!("/proc/{}/syscall", victim.pid())).is_ok_and(|call| call.starts_with("34 "));
        until("the victim pauses", PATIENCE, pauses);
        let snapshot = at.join("routes.hangsnap");
        succeed(hangsnap().arg(victim.pid()).args(options).arg("-o").arg(&snapshot));
        Self { directory, snapshot }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Shows the snapshot.
    fn show(&self, options: &[&str]) -> Value {
        read(hangsnap().arg("show").arg(&self.snapshot).arg("--json").args(options))
    }

    /// What `symbols` says of the program.
    fn report(&self, options: &[&str]) -> Value {
        let document = read(hangsnap().arg("symbols").arg(&self.snapshot).arg("--json").args(options));
        let modules = array(&document["modules"]);
        modules.iter().find(|module| is_program(module["path"].as_str())).expect("the program is on the stack").clone()
    }
}

fn is_program(path: Option<&str>) -> bool {
    path.is_some_and(|path| path.ends_with("/routes"))
}

/// A function on the stack, without its arguments: its name, and its line.
type Named = (String, Option<u64>);

/// The program's functions in the snapshot, innermost first, without those that start it.
fn program_functions(document: &Value) -> Vec<Named> {
    let frames = array(&array(&document["threads"])[0]["frames"]);
    let of_program = frames.iter().filter(|frame| is_program(frame["module"].as_str()));
    let functions = of_program.flat_map(|frame| array(&frame["functions"]));
    let named = functions.map(|function| (plain(function["name"].as_str().unwrap_or("?")), function["line"].as_u64()));
    named.take_while(|(name, _)| name != "main").collect()
}

/// A name without arguments.
fn plain(name: &str) -> String {
    const UNNAMED: &str = "(anonymous namespace)";
    let held = name.replace(UNNAMED, "\u{1}");
    held.split('(').next().unwrap_or_default().replace('\u{1}', UNNAMED)
}

/// The lines of the source on which the functions of `CHAIN` wait for each other.
fn lines() -> Vec<u64> {
    let source = fs::read_to_string(victim_source("routes.cc")).expect("the victim's source");
    let line = |text: &str| source.lines().position(|line| line.contains(text)).expect("it is in the source") as u64;
    // Where a call returns to, the line is that of the call.
    ["pause();", "waits(n + size)", "table.add(n)", "pool.take(n)"].map(|text| line(text) + 1).into()
}

#[track_caller]
fn assert_whole(what: &str, document: &Value) {
    let expected: Vec<Named> = iter::zip(CHAIN, lines()).map(|(name, line)| (name.to_owned(), Some(line))).collect();
    assert_eq!(program_functions(document), expected, "{what}");
}
