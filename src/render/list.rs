//! The snapshots of recordings, a line each: a timeline of how many threads there were, and how
//! many had not run since the line before.

use std::io::{self, Write};
use std::ops::Range;
use std::time::Duration;

use super::shorten::{self, cut};
use super::style::{HEADING, WARNING};
use super::value::{Clock, Foreign, duration, put_duration, put_number};
use super::width::{Width, Wrapped};
use crate::model::{Recording, Summary};

/// One recording.
pub struct ListedRecording {
    /// Its path, as it was named.
    pub path: String,
    /// What it says of itself, if that can be read.
    pub recording: Option<Recording>,
}

/// Writes the list of one recording: its snapshots, without what is in them.
pub fn list(
    out: &mut dyn Write,
    listed: &ListedRecording,
    snapshots: impl Iterator<Item = Summary>,
    width: Width,
) -> io::Result<()> {
    heading(&mut Wrapped::new(out, width), listed)?;
    let columns = Columns::within(width);
    writeln!(out, "{}", columns.heading)?;
    let clock = Clock::here();
    let mut line = Vec::new();
    for snapshot in snapshots {
        line.clear();
        row(&mut line, &clock, &snapshot, columns)?;
        out.write_all(&line)?;
    }
    Ok(())
}

fn heading(out: &mut dyn Write, listed: &ListedRecording) -> io::Result<()> {
    let ListedRecording { path, recording } = listed;
    write!(out, "{HEADING}{}{HEADING:#}: ", Foreign(path))?;
    match recording {
        None => writeln!(out, "recorded on an unknown host: the record that names it is lost"),
        Some(Recording { version, host, kernel, interval, .. }) => {
            let (host, kernel, version) = (Foreign(host), Foreign(kernel), Foreign(version));
            write!(out, "recorded on {host} (Linux {kernel}) by hangsnap {version}")?;
            match interval {
                Some(interval) => writeln!(out, ", every {}", duration(*interval)),
                None => writeln!(out),
            }
        }
    }
}
/// The columns, how wide each is; of those that are not wanted it is 0.
#[derive(Debug)]
struct Columns {
    heading: &'static str,
    /// Between two of them.
    gap: usize,
    /// Which part of a time is shown.
    time: Range<usize>,
    time_width: usize,
    pid: usize,
    program: usize,
    threads: usize,
    not_run: usize,
    held: usize,
    window: usize,
    losses: usize,
}

/// Everything.
const ALL: Columns = Columns {
    heading: "  number  time                             pid      program          threads  not run  longest held     all  losses",
    gap: 2,
    time: 0..usize::MAX,
    time_width: 31,
    pid: 7,
    program: 15,
    threads: 7,
    not_run: 7,
    held: 12,
    window: 6,
    losses: 6,
};
/// The same closer together and without the time zone, which is the reader's own in each row.
const CLOSE: Columns = Columns {
    heading: " number time                    pid     program  threads not run longest     all losses",
    gap: 1,
    time: 0..23,
    time_width: 23,
    program: 8,
    held: 7,
    window: 7,
    ..ALL
};
/// What a timeline needs: the time of day.
const LEAST: Columns = Columns {
    heading: " number time         threads losses",
    time: 11..23,
    time_width: 12,
    pid: 0,
    program: 0,
    not_run: 0,
    held: 0,
    window: 0,
    ..CLOSE
};

impl Columns {
    /// As many as there is room for.
    fn within(width: Width) -> &'static Self {
        let all = width.columns().unwrap_or(usize::MAX);
        [&ALL, &CLOSE].into_iter().find(|columns| columns.heading.len() <= all).unwrap_or(&LEAST)
    }
}

/// One line. There may be a million, so it is put together with little asked about each value.
fn row(line: &mut Vec<u8>, clock: &Clock, snapshot: &Summary, columns: &Columns) -> io::Result<()> {
    let Summary { number, taken, pid, program, threads, not_run, longest_hold, window, losses } = snapshot;
    let gap = columns.gap;
    right(line, gap, 6, |line| put_number(line, *number, 1));
    left(line, gap, columns.time_width, |line| {
        let start = line.len();
        clock.put(line, taken.realtime_ns);
        line.truncate(start.saturating_add(columns.time.end));
        line.drain(start..line.len().min(start + columns.time.start));
        Ok(())
    })?;
    left(line, gap, columns.pid, |line| write!(line, "{pid}"))?;
    left(line, gap, columns.program, |line| {
        let program = Foreign(program).to_string();
        // At its full width, it may be longer than its column.
        let is_whole = columns.program == ALL.program || shorten::columns(&program) <= columns.program;
        let program = if is_whole { program } else { cut(&program, columns.program) };
        line.write_all(program.as_bytes())
    })?;
    right(line, gap, columns.threads, |line| put_number(line, *threads as u64, 1));
    right(line, gap, columns.not_run, |line| match not_run {
        Some(count) => put_number(line, *count as u64, 1),
        None => line.push(b'-'),
    });
    // Nothing lasts 0 ns: of a snapshot for which no thread was held there is no such time.
    let put = |line: &mut Vec<u8>, time: Duration| match time.is_zero() {
        true => line.push(b'-'),
        false => put_duration(line, time),
    };
    right(line, gap, columns.held, |line| put(line, *longest_hold));
    right(line, gap, columns.window, |line| put(line, *window));
    match losses {
        0 => writeln!(line, "{:1$}0", "", gap + columns.losses - 1),
        _ => writeln!(line, "{:gap$}{WARNING}{losses:>1$}{WARNING:#}", "", columns.losses),
    }
}

/// A column of `width` characters after a gap, its text at the right.
fn right(line: &mut Vec<u8>, gap: usize, width: usize, put: impl FnOnce(&mut Vec<u8>)) {
    if width == 0 {
        return;
    }
    let start = line.len() + gap;
    line.resize(start + width, b' ');
    let end = line.len();
    put(line);
    // It is put after its column, and moved back into it as far as that has room.
    let length = line.len() - end;
    let from = end - length.min(width);
    line.copy_within(end.., from);
    line.truncate(from + length);
}

/// The same with its text at the left. It may be of any script.
fn left(
    line: &mut Vec<u8>,
    gap: usize,
    width: usize,
    put: impl FnOnce(&mut Vec<u8>) -> io::Result<()>,
) -> io::Result<()> {
    if width == 0 {
        return Ok(());
    }
    let start = line.len() + gap;
    line.resize(start, b' ');
    put(line)?;
    // Each character has one byte that continues none.
    let characters = line[start..].iter().filter(|byte| **byte & 0xc0 != 0x80).count();
    line.resize(line.len() + width.saturating_sub(characters), b' ');
    Ok(())
}
