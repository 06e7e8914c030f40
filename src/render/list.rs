//! The snapshots of recordings, a line each.

use std::io::{self, Write};

use super::style::{HEADING, WARNING};
use super::value::{Clock, Foreign, duration};
use crate::model::{Recording, Summary};

/// One recording's snapshots, without what is in them.
pub struct ListedRecording {
    pub path: String,
    /// What it says of itself, if that can be read.
    pub recording: Option<Recording>,
    pub snapshots: Vec<Summary>,
}

/// Writes the list of one recording.
pub fn list(out: &mut dyn Write, listed: &ListedRecording) -> io::Result<()> {
    let ListedRecording { path, recording, snapshots } = listed;
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
        "  number  time                             pid      program          threads  longest held     all  losses"
    )?;
    let clock = Clock::here();
    for snapshot in snapshots {
        let Summary { number, taken, pid, program, threads, longest_hold, window, losses } = snapshot;
        write!(
            out,
            "  {number:>6}  {:<31}  {:<7}  {:<15}  {threads:>7}  {:>12}  {:>6}  ",
            clock.time(taken.realtime_ns),
            pid.0,
            Foreign(program).to_string(),
            duration(*longest_hold),
            duration(*window),
        )?;
        match losses {
            0 => writeln!(out, "{losses:>6}")?,
            _ => writeln!(out, "{WARNING}{losses:>6}{WARNING:#}")?,
        }
    }
    Ok(())
}
