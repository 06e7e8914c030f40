//! Pins: an empty file beside a segment keeps it from being removed.
//!
//! The writer looks for it just before it removes a segment, so a recording can be pinned while it
//! grows.

use std::fs::{self, OpenOptions};
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::part::Part;
use super::{Damage, Error, layout};

/// What was pinned, or is no longer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Pinned {
    /// The segments.
    pub segments: Vec<PathBuf>,
    /// How many snapshots are in them.
    pub snapshots: u64,
    /// What could not be read, so that its time is unknown.
    pub damage: Vec<Damage>,
}

/// Pins the segments of a recording that hold something of this time, in nanoseconds since 1970.
pub fn pin(recording: &Path, times: &RangeInclusive<i128>) -> Result<Pinned, Error> {
    each(recording, times, |segment| {
        // What is there is a pin already, whatever it is. A link is not followed, nor anything
        // emptied.
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(layout::pin_of(segment)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            opened => drop(opened?),
        }
        // It may have been about to be removed: then there is nothing left to pin.
        let is_there = is_there_to_stay(segment);
        if !is_there {
            fs::remove_file(layout::pin_of(segment))?;
        }
        Ok(is_there)
    })
}

/// Takes the pins away again.
pub fn unpin(recording: &Path, times: &RangeInclusive<i128>) -> Result<Pinned, Error> {
    each(recording, times, |segment| match fs::remove_file(layout::pin_of(segment)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        removed => removed.map(|()| true),
    })
}

/// For how long a writer may take to decide about a segment. It does so between two system calls.
const DECIDES: Duration = Duration::from_secs(1);

/// Whether a segment beside which a pin lies now is there, or given its name back by a writer that
/// was about to remove it.
fn is_there_to_stay(segment: &Path) -> bool {
    let begun = Instant::now();
    while !segment.exists() {
        // What a killed writer left is there for longer.
        if !layout::leaving(segment).exists() || begun.elapsed() > DECIDES {
            return segment.exists();
        }
        thread::sleep(Duration::from_millis(1));
    }
    true
}

fn each(
    recording: &Path,
    times: &RangeInclusive<i128>,
    change: impl Fn(&Path) -> io::Result<bool>,
) -> Result<Pinned, Error> {
    if !recording.is_dir() {
        return Err(Error::NotPinnable { path: recording.into() });
    }
    let (mut pinned, mut last) = (Pinned::default(), 0);
    for segment in layout::segments_of(recording)? {
        let part = match Part::open(&segment) {
            Ok(part) => part,
            Err(error) if error.is_gone() => continue,
            Err(error) => {
                pinned.damage.push(error.into_damage(last)?);
                continue;
            }
        };
        pinned.damage.extend(part.damage.into_iter().map(|one| Damage { after: one.after.max(last), ..one }));
        let Some(span) = part.span else { continue };
        last = span.numbers.1;
        let (earliest, latest) = (i128::from(span.realtime_ns.0), i128::from(span.realtime_ns.1));
        if latest < *times.start() || earliest > *times.end() {
            continue;
        }
        if change(&segment).map_err(|source| Error::Pin { path: segment.clone(), source })? {
            pinned.snapshots += span.snapshots;
            pinned.segments.push(segment);
        }
    }
    Ok(pinned)
}
