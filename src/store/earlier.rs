//! What earlier runs of a sampler left beside the recording that is being written.
//!
//! A service that restarts begins another recording each time. The newest writer removes their
//! segments by its own limits, so that one bound holds for all. Promises: only recordings count
//! that lie in the same directory, are of a program of the same name, still have the name that
//! hangsnap gave them, and are not being written. A recording that was renamed or moved is kept.
//! The age of an earlier segment is taken from the file system's time, the only clock that outlives
//! a boot; from then on it is counted by CLOCK_MONOTONIC.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::claim::Claim;
use super::retention::{Age, Past};
use super::{EXTENSION, layout, leftovers};
use crate::model::Process;

/// In this much time the maker of a directory has marked it.
const BEGINS: Duration = Duration::from_secs(60);

/// The recordings of a program in this directory that no process writes to.
pub fn earlier(directory: &Path, process: &Process) -> Vec<PathBuf> {
    // A directory that is not yet there, or cannot be read, holds none that could be removed.
    let mut recordings = layout::with_extension(directory, EXTENSION).unwrap_or_default();
    recordings.retain(|recording| {
        let is_directory = recording.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
        is_directory && layout::is_named_after(recording, process) && !layout::is_being_written(recording)
    });
    recordings
}

/// The segments of such recordings, oldest first. What killed writers left in them is removed.
pub(super) fn segments(recordings: &[PathBuf]) -> Vec<Past> {
    let (now, today) = (Instant::now(), SystemTime::now());
    let mut segments = Vec::new();
    for recording in recordings {
        // What cannot be removed now does no harm, and is tried again by the next run.
        if let Ok(claim) = Claim::new(recording) {
            let _ = leftovers::clear(recording, &claim);
            remove_if_empty(recording);
        }
        for path in layout::segments_in(recording).unwrap_or_default() {
            let Ok(metadata) = path.metadata() else { continue };
            let ended = metadata.modified().unwrap_or(today);
            let index = layout::index_of(&path).metadata();
            let bytes = room(&metadata) + index.map_or(0, |index| room(&index));
            let age = Age { before: today.duration_since(ended).unwrap_or_default(), since: now };
            segments.push((ended, Past { path, bytes, age, is_of_earlier_run: true }));
        }
    }
    segments.sort_by_key(|(ended, _)| *ended);
    segments.into_iter().map(|(_, past)| past).collect()
}

/// Removes a recording that a killed process has left nothing of but its directory. One that
/// somebody has just begun is empty, too.
fn remove_if_empty(recording: &Path) {
    let changed = recording.metadata().and_then(|metadata| metadata.modified());
    if changed.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > BEGINS)) {
        // Fails unless it is empty.
        let _ = fs::remove_dir(recording);
    }
}

/// What a file takes on disk: many short recordings take more than what is in them.
fn room(metadata: &fs::Metadata) -> u64 {
    metadata.len().max(metadata.blocks().saturating_mul(512))
}
