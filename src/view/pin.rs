//! `hangsnap pin`: keeps the segments of a time from being removed, or no longer.

use std::io::Write;
use std::path::Path;

use super::select::{Range, held};
use super::{At, Error, once_each};
use crate::render::printable;
use crate::store::{self, Contents, Damage, Pinned};

/// Pins the segments of a recording that hold something from one time to another; all, without
/// times. What is returned is what of it could not be read, and so is not pinned.
pub fn pin(
    out: &mut dyn Write,
    path: &Path,
    from: Option<&At>,
    to: Option<&At>,
    undo: bool,
) -> Result<Vec<Damage>, Error> {
    let path = store::recording_at(path)?;
    let mut contents = Contents::open(&path)?;
    let range = Range::of(&mut contents, &path, from, to)?;
    let pinned = match range.as_times(&mut contents)? {
        Some(times) if undo => store::unpin(&path, &times)?,
        Some(times) => store::pin(&path, &times)?,
        None => Pinned::default(),
    };
    let damage = once_each(pinned.damage, contents.damage());
    if pinned.segments.is_empty() && damage.is_empty() && !undo {
        let held = held(contents.numbers()?);
        return Err(Error::NothingThen { path: path.display().to_string(), held });
    }
    let what = if undo { "no longer pinned" } else { "pinned" };
    let (segments, snapshots) = (pinned.segments.len(), pinned.snapshots);
    let plural = if segments == 1 { "" } else { "s" };
    let path = printable(&path.display().to_string());
    writeln!(out, "{what}: {segments} segment{plural} with {snapshots} snapshots of {path}")?;
    Ok(damage)
}
