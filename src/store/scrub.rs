//! `scrub`: removes copied memory and words of the command line from a recording.
//!
//! Each segment is rewritten, and replaces the old one once it is on the disk, so a crash leaves
//! one or the other. Damaged parts cannot be read, and so are not kept. A file that does not begin
//! like a segment is left alone. The file system may keep the bytes of the old files until it needs
//! the room.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::chain::Chain;
use super::claim::Claim;
use super::reader::Reader;
use super::segment::Segment;
use super::{Damage, Error, bundle, index, layout, leftovers};
use crate::model::Recording;
use crate::wire::Row;

/// What was done.
#[derive(Debug, Default)]
pub struct Scrubbed {
    /// How many segments were rewritten.
    pub segments: u64,
    /// How many snapshots are in them.
    pub snapshots: u64,
    /// What could not be read, and is no longer there.
    pub dropped: Vec<Damage>,
}

/// Scrubs a recording, or a segment of one. No process may be writing to it.
pub fn scrub(path: &Path) -> Result<Scrubbed, Error> {
    // A link would be replaced, and what it leads to stay as it is.
    let path = &fs::canonicalize(path).map_err(|source| Error::Open { path: path.into(), source })?;
    let is_directory = path.is_dir();
    // The files of a recording that is being written change between any two looks, with a moment in
    // which none is open.
    let recording = if is_directory { None } else { path.parent().filter(|parent| layout::is_recording(parent)) };
    let claim = Claim::new(recording.unwrap_or(path))?;
    // Before anything is changed.
    check_all(path)?;
    if is_directory {
        leftovers::clear(path, &claim).map_err(|source| Error::Write { path: path.clone(), source })?;
        // A segment that was about to go may have got its name back.
        check_all(path)?;
    }
    let mut scrubbed = Scrubbed::default();
    for segment in layout::segments_of(path)? {
        scrub_segment(&segment, is_directory, &mut scrubbed)?;
    }
    Ok(scrubbed)
}

/// Whether each segment can be scrubbed: it is one, no process writes to it, and it has no other
/// name under which it would stay.
fn check_all(path: &Path) -> Result<(), Error> {
    for segment in layout::segments_of(path)? {
        let there = fs::symlink_metadata(&segment).map_err(|source| Error::Open { path: segment.clone(), source })?;
        if there.is_symlink() {
            return Err(Error::Link { path: segment });
        }
        if there.nlink() > 1 && there.is_file() {
            return Err(Error::OtherNames { path: segment });
        }
        match Chain::open(&segment) {
            Ok(chain) if chain.is_being_written() => return Err(Error::BeingWritten { path: segment }),
            Ok(chain) if chain.begins_as_ours() || holds_a_snapshot(&segment)? => {}
            Ok(_) => return Err(Error::NotOurs { path: segment }),
            Err(Error::NotOurs { .. }) if path.is_dir() && is_empty(&segment) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether any snapshot of a segment can be read: a later format's may have records that look like
/// ours.
fn holds_a_snapshot(segment: &Path) -> Result<bool, Error> {
    let mut reader = Reader::open(segment)?;
    while let Some(next) = reader.next_snapshot()? {
        if next.is_ok() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a file holds nothing at all, as one does to which its writer could not write.
fn is_empty(segment: &Path) -> bool {
    segment.symlink_metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() == 0)
}

fn scrub_segment(path: &Path, is_part: bool, scrubbed: &mut Scrubbed) -> Result<(), Error> {
    let write = |source| Error::Write { path: path.into(), source };
    let mut anew = None;
    let rows = match copy(path, &mut anew, scrubbed) {
        Ok(rows) => rows,
        Err(error @ Error::NotOurs { .. }) if is_part && is_empty(path) => {
            scrubbed.dropped.push(error.into_damage(0)?);
            Vec::new()
        }
        Err(error) => {
            anew.into_iter().for_each(|(segment, _): (Segment, Recording)| segment.discard());
            return Err(error);
        }
    };
    index::remove(path);
    let Some((mut segment, recording)) = anew else {
        // Of a file without anything that can be read nothing can be known, and nothing may stay.
        return fs::remove_file(path).map_err(write);
    };
    if !is_part {
        for file in bundle::bundled(path) {
            segment.append_bundled(&file)?;
        }
    }
    segment.sync().map_err(write)?;
    segment.name(path.into()).map_err(write)?;
    layout::sync_names(path).map_err(write)?;
    if is_part {
        index::write(path, segment.salt(), &recording, segment.bytes(), &rows).map_err(write)?;
    }
    scrubbed.segments += 1;
    scrubbed.snapshots += rows.len() as u64;
    Ok(())
}

/// Copies what can be read of a segment, scrubbed, into a new one.
fn copy(path: &Path, anew: &mut Option<(Segment, Recording)>, scrubbed: &mut Scrubbed) -> Result<Vec<Row>, Error> {
    let mut reader = Reader::open(path)?;
    let mut rows = Vec::new();
    while let Some(next) = reader.next_snapshot()? {
        match next {
            Ok(mut snapshot) => {
                snapshot.redact();
                let (segment, _) = match anew {
                    Some(anew) => anew,
                    None => {
                        let recording = reader.recording().cloned().unwrap_or_default();
                        let unfinished = layout::unfinished(path);
                        // One that was killed has left it, where this is no part of a recording.
                        leftovers::remove_begun(&unfinished)
                            .map_err(|source| Error::Write { path: unfinished.clone(), source })?;
                        anew.insert((Segment::create(&unfinished, &recording)?, recording))
                    }
                };
                rows.push(
                    segment.write(&snapshot, false).map_err(|source| Error::Write { path: path.into(), source })?,
                );
            }
            Err(damage) => scrubbed.dropped.push(damage),
        }
    }
    Ok(rows)
}
