//! The snapshots of recordings, a line each: a timeline of how many threads there were, and how
//! many had not run since the line before.

use std::io::{self, Write};
use std::time::Duration;

use super::style::{HEADING, WARNING};
use super::value::{Clock, Foreign, duration, put_duration, put_number};
use crate::model::{Recording, Summary};

/// One recording.
pub struct ListedRecording {
    pub path: String,
    /// What it says of itself, if that can be read.
    pub recording: Option<Recording>,
}

/// Writes the list of one recording: its snapshots, without what is in them.
pub fn list(out: &mut dyn Write, listed: &ListedRecording, snapshots: impl Iterator<Item = Summary>) -> io::Result<()> {
    let ListedRecording { path, recording } = listed;
    write!(out, "{HEADING}{}{HEADING:#}: ", Foreign(path))?;
    match recording {
        None => writeln!(out, "recorded nobody knows where: what it said of itself is lost")?,
        Some(Recording { version, host, kernel, interval, .. }) => {
            let (host, kernel, version) = (Foreign(host), Foreign(kernel), Foreign(version));
            write!(out, "recorded on {host} (Linux {kernel}) by hangsnap {version}")?;
            match interval {
                Some(interval) => writeln!(out, ", every {}", duration(*interval))?,
                None => writeln!(out)?,
            }
        }
    }
    writeln!(
        out,
        "  number  time                             pid      program          threads  not run  longest held     all  losses"
    )?;
    let clock = Clock::here();
    let mut line = Vec::new();
    for snapshot in snapshots {
        line.clear();
        row(&mut line, &clock, &snapshot)?;
        out.write_all(&line)?;
    }
    Ok(())
}

/// One line. There may be a million, so it is put together with little asked about each value.
fn row(line: &mut Vec<u8>, clock: &Clock, snapshot: &Summary) -> io::Result<()> {
    let Summary { number, taken, pid, program, threads, not_run, longest_hold, window, losses } = snapshot;
    right(line, 6, |line| put_number(line, *number, 1));
    left(line, 31, |line| {
        clock.put(line, taken.realtime_ns);
        Ok(())
    })?;
    left(line, 7, |line| write!(line, "{pid}"))?;
    left(line, 15, |line| write!(line, "{}", Foreign(program)))?;
    right(line, 7, |line| put_number(line, *threads as u64, 1));
    right(line, 7, |line| match not_run {
        Some(count) => put_number(line, *count as u64, 1),
        None => line.push(b'-'),
    });
    // Nothing lasts 0 ns: of a snapshot for which no thread was held there is no such time.
    let put = |line: &mut Vec<u8>, time: Duration| match time.is_zero() {
        true => line.push(b'-'),
        false => put_duration(line, time),
    };
    right(line, 12, |line| put(line, *longest_hold));
    right(line, 6, |line| put(line, *window));
    match losses {
        0 => writeln!(line, "       0"),
        _ => writeln!(line, "  {WARNING}{losses:>6}{WARNING:#}"),
    }
}

/// A column of so many characters behind two spaces, its text at the right.
fn right(line: &mut Vec<u8>, width: usize, put: impl FnOnce(&mut Vec<u8>)) {
    let start = line.len() + 2;
    line.resize(start + width, b' ');
    let end = line.len();
    put(line);
    // It is put behind its column, and moved back into it as far as that has room.
    let length = line.len() - end;
    let from = end - length.min(width);
    line.copy_within(end.., from);
    line.truncate(from + length);
}

/// The same with its text at the left. It may be of any script.
fn left(line: &mut Vec<u8>, width: usize, put: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> io::Result<()> {
    line.extend_from_slice(b"  ");
    let start = line.len();
    put(line)?;
    // Each character has one byte that continues none.
    let characters = line[start..].iter().filter(|byte| **byte & 0xc0 != 0x80).count();
    line.resize(line.len() + width.saturating_sub(characters), b' ');
    Ok(())
}
