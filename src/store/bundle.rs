//! Files that a recording keeps because names are taken from them: in the file of a single snapshot
//! after it, and beside the segments of a recording in `files.bundle`.
//!
//! Promises: each file is there once. What is damaged of a bundle is left out: names are then
//! looked for elsewhere. Snapshots that are there are not changed.

use std::collections::HashSet;
use std::path::Path;

use super::claim::Claim;
use super::frame::Salt;
use super::records::{Format, Next, Records};
use super::segment::Segment;
use super::{Error, layout};
use crate::model::{BuildId, BundledFile, BundledRole, Recording};
use crate::wire::{Decoder, Peeked, Record, peek};

/// What distinguishes one such file from another.
pub(super) type BundleKey = (Option<BuildId>, String, BundledRole, u64);

/// The files that a recording keeps. None of a bundle that cannot be read.
pub fn bundled(recording: &Path) -> Vec<BundledFile> {
    let path = if recording.is_dir() { layout::bundle_of(recording) } else { recording.into() };
    let mut files = Vec::new();
    // There need be none.
    let _ = each(&path, |file| files.push(file));
    files
}

/// Adds files to a recording that no process is writing to; those that it has are not added again.
/// Returns how many were.
pub fn add(recording: &Path, files: &[BundledFile]) -> Result<usize, Error> {
    let _claim = Claim::new(recording)?;
    let path = if recording.is_dir() { layout::bundle_of(recording) } else { recording.into() };
    let mut known = HashSet::new();
    let mut segment = if path.exists() {
        let (salt, end) = each(&path, |file| {
            known.insert(key(&file));
        })?;
        let salt = salt.ok_or_else(|| Error::NotOurs { path: path.clone() })?;
        Segment::resume(&path, salt, end).map_err(|source| Error::Open { path: path.clone(), source })?
    } else {
        Segment::create(&path, &Recording::default())?
    };
    let mut added = 0;
    for file in files {
        if known.insert(key(file)) {
            segment.append_bundled(file)?;
            added += 1;
        }
    }
    Ok(added)
}

/// What distinguishes a file from others.
pub(super) fn key(file: &BundledFile) -> BundleKey {
    (file.build_id.clone(), file.path.clone(), file.role, file.size)
}

/// Reads the files of one bundle. Returns what its records bear, and where they end.
fn each(path: &Path, mut found: impl FnMut(BundledFile)) -> Result<(Option<Salt>, u64), Error> {
    let read = |source| Error::Read { path: path.into(), source };
    let mut records = Records::open(path)?;
    if records.format == Format::First {
        return Ok((None, 0));
    }
    let mut end = 0;
    loop {
        match records.next().map_err(read)? {
            Next::End => return Ok((records.salt(), end)),
            Next::Damaged { .. } => {}
            Next::Record(place) => {
                end = place.end();
                let payload = records.payload(place).map_err(read)?;
                if matches!(peek(payload), Ok(Peeked::Other))
                    && let Ok(Record::Bundled(file)) = Decoder::default().record(payload)
                {
                    found(*file);
                }
            }
        }
    }
}
