//! `why` and `stuck` find which threads hang, on what and who holds it, and accuse no other.
//!
//! Each row is a program that brings itself into a situation, makes sure of it by what the kernel
//! says, and prints the truth about it: `victims/hangs/`. What is printed here as expected is the
//! program's own word; nothing of it comes from hangsnap. A row that is wrong does not hide the
//! others: the table is printed, and then the numbers are judged.

mod heartbeat;
mod hostile;
mod innocents;
mod oracles;
mod programs;
mod rights;
mod rows;
mod saturated;
mod servers;
mod truth;
mod verdict;

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;

use crate::support::{hangsnap, run};
use innocents::INNOCENTS;
use programs::{Program, Running, Trouble};
use rows::HANGS;
use truth::now;
use verdict::{Judged, Look};

/// A program, and what is to be said of it.
pub struct Row {
    pub name: &'static str,
    pub language: &'static str,
    pub program: Program,
    pub kind: &'static str,
    /// `proved` where the kernel or an owner field says it, else `inferred`; empty for innocents.
    pub proof: &'static str,
}

/// The first rows, which must be right but for two.
const CORE: usize = 40;

/// Rows that are judged through a recording, too: one for each way of knowing.
const RECORDED: [&str; 10] = [
    "mutexes abba",
    "mutexes twice",
    "mutexes convoy",
    "owners exited",
    "rwlocks writer",
    "lost word",
    "inside stdio",
    "streams pipe",
    "children waitpid",
    "files flock",
];

/// Runs hangsnap, and kills it should it hang itself.
fn limited(arguments: &mut Command) -> Output {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "30"]).arg(arguments.get_program()).args(arguments.get_args());
    command.env("TZ", "UTC").output().expect("timeout is there")
}

/// What `why` says of these processes.
fn why(running: &Running) -> Look {
    let begun = now();
    let mut command = hangsnap();
    command.arg("why").arg("--json");
    command.args(running.targets().iter().flat_map(|pid| ["--pid", pid]));
    Look::new(begun, &limited(&mut command))
}

/// Runs a command where what packages of debug information have installed is not to be seen.
const WITHOUT_DEBUG: [&str; 5] =
    ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /usr/lib/debug && exec \"$0\" \"$@\""];

/// What `why` says where the C library has no names but those that it exports, as on most hosts.
fn why_without_debug(running: &Running) -> Look {
    let begun = now();
    let mut command = Command::new(WITHOUT_DEBUG[0]);
    command.args(&WITHOUT_DEBUG[1..]).arg(hangsnap().get_program()).args(["why", "--json"]);
    command.args(running.targets().iter().flat_map(|pid| ["--pid", pid]));
    Look::new(begun, &limited(&mut command))
}

/// What `stuck` says of a recording of these processes.
fn stuck(running: &Running) -> Look {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let begun = now();
    let mut record = hangsnap();
    record.args(["--every", "300ms", "--count", "4", "-o"]).arg(directory.path());
    record.args(running.targets().iter().flat_map(|pid| ["--pid", pid]));
    let recorded = limited(&mut record);
    if !recorded.status.success() {
        return Look::new(begun, &recorded);
    }
    let files: Vec<_> = std::fs::read_dir(directory.path())
        .expect("it is there")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "hangsnap"))
        .collect();
    assert_eq!(files.len(), 1, "one recording of one process: {files:?}");
    // What was seen last is a second younger than what was seen first.
    Look::new(begun + 1.0, &limited(hangsnap().arg("stuck").arg(&files[0]).arg("--json")))
}

/// Starts each row's program, looks at it, judges it, prints it; what could not be started is wrong
/// or skipped.
fn judge(rows: &[&Row], look: fn(&Running) -> Look) -> Vec<Judged> {
    println!("{:>3} {:<24} {:<7} {:<20} {:<6} {:<18} since", "", "name", "in", "expected", "right", "proof");
    let judged = rows.iter().enumerate().map(|(at, row)| {
        let judged = match programs::start(row) {
            Ok(running) => verdict::judge(row, &running, &look(&running)),
            Err(Trouble::Skipped(why)) => {
                eprintln!("SKIPPED hangs, {}: {why}", row.name);
                Judged::skipped()
            }
            Err(Trouble::Failed(why)) => Judged::wrong(why),
        };
        println!("{:>3} {:<24} {:<7} {:<20} {judged}", at + 1, row.name, row.language, row.kind);
        judged
    });
    judged.collect()
}

fn count(judged: &[Judged], what: impl Fn(&Judged) -> bool) -> usize {
    judged.iter().filter(|judged| what(judged)).count()
}

#[test]
fn what_hangs_is_named_with_its_holder() {
    let judged = judge(&HANGS.iter().collect::<Vec<_>>(), why);
    let wrong = count(&judged, Judged::is_wrong);
    let tried = judged.len() - count(&judged, Judged::is_skipped);
    let core = count(&judged[..CORE], Judged::is_wrong);
    println!(
        "{} of {tried} right, {} of the first {CORE}; proof as expected in {}, time within 2 s in {}",
        tried - wrong,
        CORE - core - count(&judged[..CORE], Judged::is_skipped),
        count(&judged, |judged| judged.proof_agrees),
        count(&judged, |judged| judged.since_agrees),
    );
    assert!(core <= 2, "{core} of the first {CORE} are wrong");
    assert!(wrong * 20 <= tried, "{wrong} of {tried} are wrong");
}

#[test]
fn what_hangs_is_named_without_debug_information_of_the_library() {
    let mut hidden = Command::new(WITHOUT_DEBUG[0]);
    if !Path::new("/usr/lib/debug").exists() || !run(hidden.args(&WITHOUT_DEBUG[1..]).arg("true")).status.success() {
        eprintln!("SKIPPED: there is no debug information to hide, or no right to hide it");
        return;
    }
    let judged = judge(&HANGS[..CORE].iter().collect::<Vec<_>>(), why_without_debug);
    let wrong = count(&judged, Judged::is_wrong);
    println!("{wrong} of {CORE} wrong; proof as expected in {}", count(&judged, |judged| judged.proof_agrees));
    assert!(wrong <= 2, "{wrong} of {CORE} are wrong");
}

#[test]
fn what_only_looks_as_if_it_hung_is_not_accused() {
    let judged = judge(&INNOCENTS.iter().collect::<Vec<_>>(), why);
    let accused = count(&judged, Judged::is_wrong);
    println!("{accused} of {} accused", judged.len() - count(&judged, Judged::is_skipped));
    assert_eq!(accused, 0, "innocents were accused");
}

#[test]
fn what_hung_is_named_from_a_recording() {
    let rows: Vec<&Row> = HANGS.iter().filter(|row| RECORDED.contains(&row.name)).collect();
    assert_eq!(rows.len(), RECORDED.len(), "each is a row");
    let judged = judge(&rows, stuck);
    let wrong = count(&judged, Judged::is_wrong);
    assert_eq!(wrong, 0, "{wrong} of {} are wrong", judged.len());
}

/// The members of an array, or none.
fn each<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value[name].as_array().map(Vec::as_slice).unwrap_or_default().iter()
}

/// How long a program may take until it is in its situation.
const BEGINS_WITHIN: Duration = Duration::from_secs(30);
