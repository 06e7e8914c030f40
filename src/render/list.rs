//! The snapshots of recordings, a line each.

use std::io::{self, Write};

use super::style::{HEADING, WARNING};
use super::value::{Foreign, duration, time};
use crate::model::{Pid, Recording, Snapshot};

/// One recording's snapshots, without what is in them.
pub struct ListedRecording {
    pub path: String,
    pub recording: Recording,
    pub snapshots: Vec<ListedSnapshot>,
}

/// What a list says of a snapshot.
pub struct ListedSnapshot {
    pub number: u64,
    pub realtime_ns: i64,
    pub pid: Pid,
    pub name: String,
    pub threads: usize,
    pub longest_hold: std::time::Duration,
    pub window: std::time::Duration,
    /// How many things it says it could not see.
    pub losses: usize,
}

impl From<&Snapshot> for ListedSnapshot {
    fn from(snapshot: &Snapshot) -> Self {
        Self {
            number: snapshot.number,
            realtime_ns: snapshot.taken.realtime_ns,
            pid: snapshot.process.id.pid,
            name: snapshot.process.name.clone(),
            threads: snapshot.threads.len(),
            longest_hold: snapshot.longest_hold(),
            window: snapshot.window,
            losses: snapshot.notices.len(),
        }
    }
}

/// Writes the list of one recording.
pub fn list(out: &mut dyn Write, listed: &ListedRecording) -> io::Result<()> {
    let ListedRecording { path, recording, snapshots } = listed;
    let Recording { version, host, kernel, interval, .. } = recording;
    write!(
        out,
        "{HEADING}{}{HEADING:#}: recorded on {} (Linux {}) by hangsnap {}",
        Foreign(path),
        Foreign(host),
        Foreign(kernel),
        Foreign(version)
    )?;
    match interval {
        Some(interval) => writeln!(out, ", every {}", duration(*interval))?,
        None => writeln!(out)?,
    }
    writeln!(
        out,
        "  number  time                             pid      program          threads  longest held     all  losses"
    )?;
    for snapshot in snapshots {
        let ListedSnapshot { number, realtime_ns, pid, name, threads, longest_hold, window, losses } = snapshot;
        write!(
            out,
            "  {number:>6}  {:<31}  {:<7}  {:<15}  {threads:>7}  {:>12}  {:>6}  ",
            time(*realtime_ns),
            pid.0,
            Foreign(name).to_string(),
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
