//! The side-effect matrix: every call that a thread can wait in, infinitely or with a timeout, and
//! what it notices of being looked at. Of hangsnap: no EINTR, no short count, no changed byte, no
//! timeout that is not on time; and the stack is right in at least 99 of 100 snapshots.
//!
//! What the calls are and how they are checked is in tests/victims/matrix.c. That the check can
//! fail is shown by a bare stop. The table beside what gdb and a bare stop do to the same calls is
//! printed in the long form, as Markdown.

mod rows;
mod stacks;
mod table;

use std::process::{ChildStdin, Command};
use std::time::Duration;

use crate::lifecycle::sampler::{Sampler, start_told};
use crate::support::{Victim, compile, limited, long_form, recorder, succeed};
use rows::{Row, parse};
use stacks::Shares;
use tempfile::TempDir;

/// Far more than a timeout is late by on a machine that has room, far less than a stop of gdb's
/// takes.
const LATE: Duration = Duration::from_millis(50);
/// What is later than that may be this many times as late as the latest timeout of the same program
/// beside it, which is not looked at.
const TIMES_AS_LATE: u32 = 3;
/// Some calls may be missing on some machine; not many.
const LEAST_ROWS: usize = 100;
const OPTIMISED: &[&str] = &["-O2", "-g", "-pthread", "-Wall"];
/// With frame pointers, so that callers' frames are found through a register that a thread read in
/// place does not say.
const UNOPTIMISED: &[&str] = &["-O0", "-g", "-pthread", "-Wall"];

fn snapshots() -> u64 {
    if long_form() { 1_000 } else { 200 }
}

/// The program with all rows.
struct Rows {
    victim: Victim,
    input: ChildStdin,
    _directory: TempDir,
}

impl Rows {
    fn start(flags: &[&str]) -> Self {
        let program = compile("gcc", "matrix.c", flags);
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (victim, input) = start_told(Command::new(program).arg(directory.path()));
        Self { victim, input, _directory: directory }
    }

    /// What they have noticed.
    fn end(mut self) -> Vec<Row> {
        drop(self.input);
        let rows = parse(|| self.victim.line());
        assert!(rows.len() >= LEAST_ROWS, "only {} rows are there", rows.len());
        rows
    }
}

/// Runs the victim while something is done to it, and returns what its rows noticed.
fn rows_during(flags: &[&str], meanwhile: impl FnOnce(&str)) -> Vec<Row> {
    let rows = Rows::start(flags);
    meanwhile(&rows.victim.pid());
    rows.end()
}

/// The same program at the same time, for as long as that takes, not looked at: the latest
/// of its timeouts.
fn rows_beside_control(flags: &[&str], meanwhile: impl FnOnce(&str)) -> (Vec<Row>, Duration) {
    let control = Rows::start(flags);
    let rows = rows_during(flags, meanwhile);
    let control = control.end().iter().map(|row| row.late).max().unwrap_or_default();
    (rows, control)
}

/// Every thread is looked at in each snapshot, whether or not it has run.
const ANEW: [&str; 2] = ["--keep", "stacks"];

/// Samples until this many snapshots more are stored, and adds up in how many of them each thread's
/// stack is right.
fn sample(shares: &mut Shares, pid: &str, wanted: u64, options: &[&str]) {
    let wanted = shares.snapshots() + wanted;
    while shares.snapshots() < wanted {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = directory.path().join("matrix.hangsnap");
        // Piece by piece, so that what is read back fits into memory.
        let count = (wanted - shares.snapshots()).min(200).to_string();
        let sampler = Sampler::start(recorder(pid, "5ms").args(["--count", &count]).args(options).arg("-o").arg(&file));
        let stored = sampler.end().snapshots();
        assert_eq!(shares.add(&file), stored, "every snapshot that was stored can be read");
    }
}

fn bare_stop(pid: &str, rounds: u64) {
    let program = compile("gcc", "bare_stop.c", &["-O2", "-Wall"]);
    let stops = succeed(Command::new(program).args([pid, &rounds.to_string(), "5"]));
    let stops: u64 = stops.trim().parse().expect("it says how many stops there were");
    assert!(stops >= rounds * LEAST_ROWS as u64, "only {stops} threads were stopped in {rounds} rounds");
}

fn gdb(pid: &str, rounds: u64) {
    for _ in 0..rounds {
        // A debuginfod would make the length of the stop depend on a network.
        let mut command = limited("gdb");
        command.args(["-batch", "-nx", "-iex", "set debuginfod enabled off", "-p", pid]);
        let stacks = succeed(command.args(["-ex", "thread apply all bt"]));
        assert!(stacks.contains("row_epoll_wait"), "gdb has seen the stacks: {stacks}");
    }
}

fn undisturbed(flags: &[&str]) {
    let mut shares = Shares::default();
    let (rows, control) = rows_beside_control(flags, |pid| {
        sample(&mut shares, pid, snapshots(), &ANEW);
        sample(&mut shares, pid, snapshots(), &[]);
    });
    let late = LATE.max(control * TIMES_AS_LATE);
    eprintln!("{}: {} snapshots, {} rows; {control:?} late beside it", flags[0], shares.snapshots(), rows.len());
    let mut faults = Vec::new();
    for row in &rows {
        let right = shares.of(row.tid, &row.name);
        eprintln!("{row}  stack right in {} of {}", right.count, shares.snapshots());
        faults.extend(row.faults(late).into_iter().map(|fault| format!("{}: {fault}", row.name)));
        if right.count * 100 < shares.snapshots() * 99 {
            let example = right.wrong.unwrap_or_else(|| "no stack at all".into());
            faults.push(format!("{}: stack right in {} only: {example}", row.name, right.count));
        }
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

/// What is wrong here would be the victim's own doing, or the machine's.
#[test]
fn without_anybody_looking_no_row_notices_anything() {
    let (rows, control) = rows_beside_control(OPTIMISED, |_| std::thread::sleep(Duration::from_secs(2)));
    let late = LATE.max(control * TIMES_AS_LATE);
    let faults: Vec<String> =
        rows.iter().flat_map(|row| row.faults(late).into_iter().map(move |f| format!("{row}: {f}"))).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The rows see what a stop does, so that what they do not see of hangsnap is not there.
#[test]
fn a_bare_stop_is_noticed_by_the_rows_that_it_must_disturb() {
    let rounds = 20;
    let (rows, control) = rows_beside_control(OPTIMISED, |pid| bare_stop(pid, rounds));
    let late = LATE.max(control * TIMES_AS_LATE);
    let row = |name: &str| rows.iter().find(|row| row.name == name);
    // Not every machine has asynchronous input and output.
    for name in [
        "epoll_wait",
        "epoll_wait_timed",
        "epoll_pwait2_timed",
        "recv_timed",
        "accept_timed",
        "semop",
        "semtimedop_timed",
        "sigtimedwait_timed",
        "sigwaitinfo",
        "io_getevents",
        "io_uring_enter",
    ] {
        assert!(row(name).is_none_or(|row| row.eintr >= rounds / 2), "EINTR, as every stop makes it: {:?}", row(name));
    }
    for name in ["write_pipe_large", "send_large", "recv_waitall_part"] {
        assert!(row(name).is_some_and(|row| row.short > 0), "a short count: {:?}", row(name));
    }
    for name in ["select_long", "select_raw_long", "ppoll_raw_long", "nanosleep_rest"] {
        assert!(row(name).is_some_and(|row| row.changed > 0), "changed bytes: {:?}", row(name));
    }
    let clean = rows.iter().filter(|row| row.faults(late).is_empty()).count();
    assert!(clean > rows.len() / 3, "only {clean} of {} rows do not mind a stop", rows.len());
}

#[test]
fn of_hangsnap_no_row_notices_anything_and_every_stack_is_right() {
    undisturbed(OPTIMISED);
}

#[test]
fn of_hangsnap_no_row_with_frame_pointers_notices_anything_and_every_stack_is_right() {
    undisturbed(UNOPTIMISED);
}

#[test]
fn the_table_beside_gdb_and_a_bare_stop() {
    if !long_form() {
        eprintln!("SKIPPED: it is published, not tested; HANGSNAP_LONG=1 prints it");
        return;
    }
    let stops = snapshots();
    let own = rows_during(OPTIMISED, |pid| sample(&mut Shares::default(), pid, stops, &ANEW));
    let gdb = rows_during(OPTIMISED, |pid| gdb(pid, 10));
    let bare = rows_during(OPTIMISED, |pid| bare_stop(pid, stops));
    let columns = [
        (format!("hangsnap, {stops} snapshots"), own),
        ("gdb, 10 × `thread apply all bt`".into(), gdb),
        (format!("bare stop, {stops} times"), bare),
    ];
    eprintln!("{}", table::markdown(&columns));
}
