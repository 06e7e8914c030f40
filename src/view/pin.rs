//! `hangsnap pin`: keeps the segments of a time from being removed, or no longer.

use std::io::Write;
use std::path::Path;

use super::select::Range;
use super::{At, Error};
use crate::render::printable;
use crate::store::{self, Contents};

/// Pins the segments of a recording that hold something from one time to another; all, without times.
pub fn pin(out: &mut dyn Write, path: &Path, from: Option<&At>, to: Option<&At>, undo: bool) -> Result<(), Error> {
    let path = store::recording_at(path)?;
    let mut contents = Contents::open(&path)?;
    let times = Range::of(&mut contents, &path, from, to)?.as_times(&mut contents)?;
    let pinned = if undo { store::unpin(&path, &times)? } else { store::pin(&path, &times)? };
    let what = if undo { "no longer pinned" } else { "pinned" };
    let (segments, snapshots) = (pinned.segments.len(), pinned.snapshots);
    let plural = if segments == 1 { "" } else { "s" };
    let path = printable(&path.display().to_string());
    writeln!(out, "{what}: {segments} segment{plural} with {snapshots} snapshots of {path}")?;
    Ok(())
}
