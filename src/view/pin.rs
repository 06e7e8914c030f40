//! `hangsnap pin`: keeps the segments of a time from being removed, or no longer.

use std::io::Write;
use std::path::Path;

use super::select::moment_of;
use super::{At, Error};
use crate::render::printable;
use crate::store::{self, Contents};

/// A second, in nanoseconds: a time that is typed means all of it.
const SECOND: i128 = 1_000_000_000;

/// Pins the segments of a recording that hold something from one time to another; all, without times.
pub fn pin(out: &mut dyn Write, path: &Path, from: Option<&At>, to: Option<&At>, undo: bool) -> Result<(), Error> {
    let path = store::recording_at(path)?;
    let mut contents = Contents::open(&path)?;
    // The moment that `At` holds is the last of the second that was typed; a segment more is kept rather than one too few.
    let from = from.map(|at| moment(&mut contents, at)).transpose()?.map_or(i128::MIN, |end| end - (SECOND - 1));
    let to = to.map(|at| moment(&mut contents, at)).transpose()?.unwrap_or(i128::MAX);
    let pinned = if undo { store::unpin(&path, &(from..=to))? } else { store::pin(&path, &(from..=to))? };
    let what = if undo { "no longer pinned" } else { "pinned" };
    let (segments, snapshots) = (pinned.segments.len(), pinned.snapshots);
    let plural = if segments == 1 { "" } else { "s" };
    let path = printable(&path.display().to_string());
    writeln!(out, "{what}: {segments} segment{plural} with {snapshots} snapshots of {path}")?;
    Ok(())
}

fn moment(contents: &mut Contents, at: &At) -> Result<i128, Error> {
    let found = match at {
        At::Time(moment) => return Ok(*moment),
        At::TimeOfDay(time) => return moment_of(contents, *time),
        At::Number(number) => contents.by_number(*number)?,
        At::Last => contents.last()?,
    };
    let summary = found.map(|found| contents.summary(found)).transpose()?.flatten();
    Ok(summary.map_or(0, |summary| summary.taken.realtime_ns.into()))
}
