//! Files that killed processes leave in a recording's directory: segments that were begun or are
//! half removed.
//!
//! They are never read; they take room, and hold what `scrub` should have removed. Promises: they
//! are removed only where no process can be about to finish them. A process that begins or removes
//! a segment has marked the directory before, and one that clears it has claimed it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::bytes::open_file;
use super::claim::Claim;
use super::{index, layout};
use crate::sys::being_written;

/// Clears a recording that has been claimed, and returns what has been removed. A segment that was
/// about to go, and beside which a pin lies, gets its name back.
pub(super) fn clear(directory: &Path, _claim: &Claim) -> io::Result<Vec<PathBuf>> {
    let mut removed = Vec::new();
    for begun in layout::begun_in(directory)? {
        if remove_begun(&begun)? {
            removed.push(begun);
        }
    }
    for segment in layout::leaving_in(directory)? {
        let leaving = layout::leaving(&segment);
        let is_there = |path: &Path| path.symlink_metadata().is_ok();
        if is_there(&layout::pin_of(&segment)) && !is_there(&segment) {
            fs::rename(&leaving, &segment)?;
            continue;
        }
        if !is_there(&segment) {
            // Before the segment: an index alone would suggest a segment that is lost.
            index::remove(&segment);
        }
        fs::remove_file(&leaving)?;
        removed.push(leaving);
    }
    Ok(removed)
}

/// Removes a file that was begun and never finished, if there is one. What is no file, or has a
/// mark all the same, stays.
pub(super) fn remove_begun(begun: &Path) -> io::Result<bool> {
    let goes = open_file(begun).is_ok_and(|file| !being_written::is_marked(&file));
    if goes {
        fs::remove_file(begun)?;
    }
    Ok(goes)
}
