//! What `hangsnap` prints while it records: what it will do, a line a sample, what happened, and a
//! summary.
//!
//! On a terminal the line of the last sample is overwritten by the next; elsewhere every line
//! stays. Where nothing reads those lines any more, that is said once where complaints go, and the
//! recording goes on: it is what was asked for, and the lines are about it.

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use crate::model::{Notice, Snapshot, StopMode};
use crate::process::Target;
use crate::record::{Event, Report, Skipped};
use crate::render::{bytes, duration, printable, time};
use crate::store::{self, Unsynced};

/// Where to talk.
pub(super) struct Voice {
    pub(super) out: Box<dyn Write + Send>,
    pub(super) is_terminal: bool,
    /// Where to say that nothing reads `out` any more.
    pub(super) complaints: Box<dyn Write + Send>,
}

impl Voice {
    /// Writes a piece. Whether somebody may have read it: a reader that went away is no error.
    fn put(&mut self, piece: &str) -> io::Result<bool> {
        match self.out.write_all(piece.as_bytes()).and_then(|()| self.out.flush()) {
            Ok(()) => Ok(true),
            // A pipe that is closed; a terminal that has gone.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe || error.raw_os_error() == Some(libc::EIO) => {
                self.out = Box::new(io::sink());
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

/// What has been recorded of one target.
#[derive(Default)]
struct Tally {
    label: String,
    path: String,
    snapshots: u64,
    bytes: u64,
    losses: u64,
    skipped: u64,
    /// Of these, those whose time had passed when hangsnap came to it, and how many of them were
    /// reported.
    late: u64,
    late_told: u64,
    /// Samples for which there was no room.
    missing: u64,
    /// Samples that the disk may not have.
    unsynced: u64,
    longest_hold: Duration,
    fewest_threads: usize,
    most_threads: usize,
    last_threads: Option<usize>,
    first_ns: u64,
    last_ns: u64,
}

/// Talks about all targets of one run.
pub(super) struct Progress {
    voice: Voice,
    tallies: Vec<Tally>,
    line_is_open: bool,
}

impl Progress {
    pub(super) fn new(voice: Voice) -> Self {
        Self { voice, tallies: Vec::new(), line_is_open: false }
    }

    fn say(&mut self, line: &str) -> io::Result<()> {
        let before = if std::mem::take(&mut self.line_is_open) { "\n" } else { "" };
        self.put(&format!("{before}{}\n", printable(line)))
    }

    fn put(&mut self, piece: &str) -> io::Result<()> {
        if !self.voice.put(piece)? {
            let paths: Vec<&str> = self.tallies.iter().map(|tally| tally.path.as_str()).collect();
            let paths = printable(&paths.join(", "));
            // With that gone, too, no reader is left.
            let _ = writeln!(
                self.voice.complaints,
                "hangsnap: nothing reads standard output any more; recording goes on to {paths}, until it is stopped"
            );
        }
        Ok(())
    }
}

impl Report for Progress {
    /// Says that a target will be recorded. Targets are numbered in the order of these calls.
    fn begin(
        &mut self,
        target: &Target,
        threads: usize,
        interval: Duration,
        stop: StopMode,
        path: &Path,
    ) -> io::Result<()> {
        let label = format!("{} ({})", target.process.name, target.pid());
        let held = match stop {
            StopMode::None => "no thread held",
            StopMode::OneAtATime => "one thread held at a time",
            StopMode::All => "all threads held at once",
        };
        let count = counted(threads);
        let path = path.display().to_string();
        let line = format!("recording {label}, {count}, every {}, {held}, to {path}", duration(interval));
        self.tallies.push(Tally { label, path, ..Tally::default() });
        self.say(&line)
    }

    /// Says that a sample was stored.
    fn sample(&mut self, target: usize, snapshot: &Snapshot, stored: u64) -> io::Result<()> {
        let tally = &mut self.tallies[target];
        let threads = snapshot.threads.len();
        let change = match tally.last_threads {
            Some(last) if last < threads => format!(" (+{})", threads - last),
            Some(last) if last > threads => format!(" (-{})", last - threads),
            _ => String::new(),
        };
        if tally.snapshots == 0 {
            tally.fewest_threads = threads;
            tally.first_ns = snapshot.taken.monotonic_ns;
        }
        tally.snapshots += 1;
        tally.bytes += stored;
        tally.losses += snapshot.losses().count() as u64;
        tally.longest_hold = tally.longest_hold.max(snapshot.longest_hold());
        tally.fewest_threads = tally.fewest_threads.min(threads);
        tally.most_threads = tally.most_threads.max(threads);
        tally.last_threads = Some(threads);
        tally.last_ns = snapshot.taken.monotonic_ns;
        let losses: Vec<&Notice> = snapshot.losses().collect();
        let losses = match (losses.as_slice(), snapshot.notices.as_slice()) {
            ([], []) => "no losses".into(),
            ([], [notice, ..]) => format!("no losses; {notice}"),
            ([notice], _) => format!("1 loss: {notice}"),
            ([first, rest @ ..], _) => format!("{} losses: {first}; {} more", rest.len() + 1, rest.len()),
        };
        let held = match snapshot.longest_hold() {
            Duration::ZERO => "none held".into(),
            longest => format!("held at most {}", duration(longest)),
        };
        let whose = if self.tallies.len() > 1 { format!("{}  ", self.tallies[target].label) } else { String::new() };
        let line = format!(
            "#{}  {}  {whose}{}{change}, {held}, {}, {losses}",
            snapshot.number,
            time(snapshot.taken.realtime_ns),
            counted(threads),
            bytes(stored),
        );
        let line = printable(&line);
        if self.voice.is_terminal {
            self.line_is_open = true;
            self.put(&format!("\r\x1b[K{line}"))
        } else {
            self.say(&line)
        }
    }

    /// Says that samples find no room, once for all of them; they go on being taken, and each is
    /// tried.
    fn no_room(&mut self, target: usize, why: &store::Error, missing: u64) -> io::Result<()> {
        self.tallies[target].missing += 1;
        if missing > 1 {
            return Ok(());
        }
        let label = self.tallies[target].label.clone();
        self.say(&format!("{label}: {why}; recording goes on when there is room"))
    }

    /// Says that samples find room again, if this many did not.
    fn room_again(&mut self, target: usize, missing: u64) -> io::Result<()> {
        if missing == 0 {
            return Ok(());
        }
        let label = self.tallies[target].label.clone();
        let plural = if missing == 1 { "" } else { "s" };
        self.say(&format!("{label}: there is room again; {missing} sample{plural} found none and are lost"))
    }

    /// Says that what was stored may not be on the disk.
    fn unsynced(&mut self, target: usize, unsynced: &Unsynced) -> io::Result<()> {
        self.tallies[target].unsynced += unsynced.snapshots;
        let label = self.tallies[target].label.clone();
        self.say(&format!("{label}: {unsynced}; recording goes on"))
    }

    /// Says that samples were not taken; of those that were late not each time, for where one was,
    /// the next may be too, but when there are twice as many as were reported.
    fn skipped(&mut self, target: usize, skipped: Skipped) -> io::Result<()> {
        let Skipped { unstored, late } = skipped;
        let tally = &mut self.tallies[target];
        tally.skipped += unstored + late;
        tally.late += late;
        let (label, all) = (tally.label.clone(), tally.late);
        if late > 0 && all >= 2 * tally.late_told {
            tally.late_told = all;
            let plural = if all == 1 { "" } else { "s" };
            self.say(&format!(
                "{label}: {all} sample{plural} skipped so far, because hangsnap was not done or did not run when they \
                 were due"
            ))?;
        }
        if unstored > 0 {
            self.say(&format!("{label}: {unstored} samples skipped, because those before were still being stored"))?;
        }
        Ok(())
    }

    fn event(&mut self, target: usize, event: &Event) -> io::Result<()> {
        let label = self.tallies[target].label.clone();
        self.say(&match event {
            Event::Executed { executable, name } => {
                format!("{label}: executed {executable}, calls itself {name}; recording goes on")
            }
            Event::Forked(children) => {
                format!("{label}: started {}; recording goes on with {label} alone", listed(children))
            }
            Event::Lost { why } => format!("{label}: cannot be recorded any more: {why}"),
            Event::Ended { successors } if successors.is_empty() => format!("{label}: ended"),
            Event::Ended { successors } => format!(
                "{label}: ended; {} that came from it {} on: record it with --pid {}",
                listed(successors),
                if successors.len() == 1 { "goes" } else { "go" },
                successors.first().map_or(0, |(pid, _)| pid.0),
            ),
        })
    }

    /// Says what was recorded.
    fn end(&mut self, why: &str) -> io::Result<()> {
        for tally in std::mem::take(&mut self.tallies) {
            let Tally { label, path, snapshots, bytes: size, losses, skipped, missing, unsynced, longest_hold, .. } =
                tally;
            let took = duration(Duration::from_nanos(tally.last_ns.saturating_sub(tally.first_ns)));
            let threads = match (tally.fewest_threads, tally.most_threads) {
                (fewest, most) if fewest == most => counted(most),
                (fewest, most) => format!("{fewest} to {most} threads"),
            };
            let plural = if snapshots == 1 { "" } else { "s" };
            let missing = if missing == 0 { String::new() } else { format!(", {missing} found no room") };
            let unsynced = if unsynced == 0 { String::new() } else { format!(", {unsynced} perhaps not on the disk") };
            self.say(&format!(
                "{why}: {snapshots} snapshot{plural} of {label} in {took}, {threads}, none held{}, {} in \
                 {path}; {skipped} skipped{missing}{unsynced}, {losses} losses",
                if longest_hold.is_zero() { String::new() } else { format!(" longer than {}", duration(longest_hold)) },
                bytes(size),
            ))?;
        }
        Ok(())
    }
}

fn counted(threads: usize) -> String {
    if threads == 1 { "1 thread".into() } else { format!("{threads} threads") }
}

fn listed(processes: &[(crate::model::Pid, String)]) -> String {
    let list: Vec<String> = processes.iter().map(|(pid, name)| format!("{name} ({pid})")).collect();
    list.join(", ")
}
