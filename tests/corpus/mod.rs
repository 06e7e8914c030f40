//! Programs whose stacks are known by construction, held against what hangsnap, gdb and eu-stack
//! see.
//!
//! Each program writes down the functions its threads are in and the addresses they return to
//! (tests/victims/corpus), so nothing that is expected comes from a walker. Each case is a row of a
//! printed table (`--nocapture`): hangsnap as it comes, hangsnap without stopping anything, and
//! both peers. hangsnap must be right in every case, and say that the stack is complete.

mod build;
mod chain;
mod compiled;
mod java;
mod languages;
mod modules;
mod programs;
mod real;
mod split;
mod stops;

use std::fmt::Write as _;
use std::panic;
use std::path::Path;

use build::Running;
use chain::{Chain, Verdict, spell};

use crate::oracle::peers::{self, Peer};
use crate::oracle::stacks::{Seen, Snapshot};

/// One program, and how it is looked at.
struct Case<'a> {
    name: &'a str,
    /// Whether files that walkers can find have the names of the program's functions.
    names_exist: bool,
    /// Whether all its threads sleep, and so can be read without stopping them.
    sleeps: bool,
    /// How often hangsnap looks: where a thread is not always at the same instruction.
    snapshots: usize,
    /// In how many of them a thread may be one that did not stop in time, which is said: one that
    /// runs and calls the kernel without end may wait for a CPU whenever it is asked to.
    may_miss: usize,
    /// Whether there are enough frames for the middle ones to be left out.
    is_deep: bool,
}

impl<'a> Case<'a> {
    fn new(name: &'a str) -> Self {
        Self { name, names_exist: true, sleeps: true, snapshots: 1, may_miss: 0, is_deep: false }
    }

    fn nameless(self) -> Self {
        Self { names_exist: false, ..self }
    }

    fn deep(self) -> Self {
        Self { is_deep: true, ..self }
    }

    fn spinning(self, snapshots: usize) -> Self {
        Self { sleeps: false, snapshots, ..self }
    }

    fn missing(self, may_miss: usize) -> Self {
        Self { may_miss, ..self }
    }
}

/// The rows so far, and what is wrong in them.
struct Table {
    rows: String,
    details: String,
    wrong: Vec<String>,
}

/// What one walker made of all threads of a case.
#[derive(Default)]
struct Cell {
    threads: usize,
    right: usize,
    short: usize,
    wrong: usize,
    missed: usize,
    faults: Vec<String>,
}

impl Table {
    fn new(what: &str) -> Self {
        let columns = ["hangsnap", "--stop none", "gdb", "eu-stack"].map(|name| format!("{name:<14}")).concat();
        Self { rows: format!("{what:<50}{}\n", columns.trim_end()), details: String::new(), wrong: Vec::new() }
    }

    /// Starts the program, lets all walkers look, and adds the row.
    fn run(&mut self, case: &Case<'_>, program: &Path, arguments: &[&str]) {
        self.look(case, &Running::start(program, arguments));
    }

    fn look(&mut self, case: &Case<'_>, running: &Running) {
        let pid = running.victim.pid();
        let own = |options: &[&str], times| {
            let mut cell = Cell::default();
            for _ in 0..times {
                let snapshot = Snapshot::take_with(&pid, options);
                for chain in &running.chains {
                    let seen = snapshot.threads.get(&chain.tid);
                    let frames = snapshot.stacks.get(&chain.tid).map_or(&[][..], Vec::as_slice);
                    cell.add(case, chain, frames, seen);
                }
            }
            cell
        };
        let by_default = own(&[], case.snapshots);
        let in_place = if case.sleeps { own(&["--stop", "none"], 1) } else { Cell::default() };
        let beside = |peer: fn(&str) -> Peer| {
            let mut cell = Cell::default();
            // A peer that gives up is no fault of the test's.
            match panic::catch_unwind(|| peer(&pid)) {
                Ok(peer) => running.chains.iter().for_each(|chain| {
                    let frames = peer.stacks.get(&chain.tid).map_or(&[][..], Vec::as_slice);
                    cell.add(case, chain, frames, None);
                }),
                Err(_) => cell.faults.push("it gave up".into()),
            }
            cell
        };
        // gdb last: where it is killed because it hangs, it leaves threads stopped.
        let eu_stack = beside(peers::eu_stack);
        let cells = [by_default, in_place, beside(peers::gdb), eu_stack];
        let shown = cells.each_ref().map(|cell| format!("{:<14}", cell.show())).concat();
        self.row(&format!("{:<50}{}", case.name, shown.trim_end()));
        assert!(!running.chains.is_empty(), "{}: the program tells no chain", case.name);
        for (who, cell) in ["hangsnap", "hangsnap --stop none", "gdb", "eu-stack"].into_iter().zip(&cells) {
            let faults = cell.faults.iter().map(|fault| format!("{}: {who}: {fault}", case.name));
            match who {
                "hangsnap" | "hangsnap --stop none" => self.wrong.extend(faults),
                _ => faults.for_each(|fault| writeln!(self.details, "{fault}").expect("a string takes all")),
            }
        }
    }

    fn row(&mut self, text: &str) {
        writeln!(self.rows, "{text}").expect("a string takes all");
    }

    /// Prints the table, and fails where hangsnap was wrong.
    fn finish(self) {
        println!("{}{}", self.rows, self.details);
        assert!(self.wrong.is_empty(), "{}\n{}", self.rows, self.wrong.join("\n"));
    }
}

impl Cell {
    /// `seen` is what hangsnap says of the thread: that its stack is whole.
    fn add(&mut self, case: &Case<'_>, chain: &Chain, frames: &[crate::oracle::stacks::Frame], seen: Option<&Seen>) {
        self.threads += 1;
        let incomplete = seen.and_then(|seen| seen.incomplete.as_deref());
        if incomplete == Some("the thread was not captured") && self.missed < case.may_miss {
            self.missed += 1;
            return;
        }
        let verdict = match chain.judge(frames, case.names_exist, case.is_deep) {
            Verdict::Right if incomplete.is_some() && !case.is_deep => Verdict::CutShort,
            verdict => verdict,
        };
        match verdict {
            Verdict::Right => self.right += 1,
            Verdict::CutShort => self.short += 1,
            Verdict::Wrong => self.wrong += 1,
        }
        // One is enough to see what is wrong, and 200 snapshots may have it.
        if verdict != Verdict::Right && self.faults.len() < 2 {
            let reason = incomplete.map(|reason| format!(" ({reason})")).unwrap_or_default();
            self.faults.push(format!("{verdict:?}{reason}\n    {}\n    saw {}", chain.text, spell(frames)));
        }
    }

    fn show(&self) -> String {
        let counts = match (self.threads, self.wrong, self.short) {
            (0, ..) if self.faults.is_empty() => return "-".into(),
            (0, ..) => return "gave up".into(),
            (_, 0, 0) => return "right".into(),
            (threads, 0, short) => format!("short {short}/{threads}"),
            (threads, wrong, _) => format!("WRONG {wrong}/{threads}"),
        };
        debug_assert!(self.right <= self.threads);
        counts
    }
}
