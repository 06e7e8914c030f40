//! Taking memory and words of the command line out of a recording that has them.
//!
//! Each segment is written anew and put in the old one's place when the disk has it, so that a crash leaves one or the other.
//! What is damaged cannot be read, and so cannot be kept. The bytes of the old files are given back to the file system, which
//! may keep them until something else needs the room.

use std::fs;
use std::path::Path;

use super::chain::Chain;
use super::reader::Reader;
use super::segment::Segment;
use super::{Damage, Error, index, layout};

/// What was done.
#[derive(Debug, Default)]
pub struct Scrubbed {
    pub segments: u64,
    pub snapshots: u64,
    /// What could not be read, and is no longer there.
    pub dropped: Vec<Damage>,
}

/// Scrubs a recording, or a segment of one.
pub fn scrub(path: &Path) -> Result<Scrubbed, Error> {
    let mut scrubbed = Scrubbed::default();
    let segments = layout::segments_of(path)?;
    // Before anything is changed.
    for segment in &segments {
        if Chain::open(segment)?.is_being_written() {
            return Err(Error::BeingWritten { path: segment.clone() });
        }
    }
    for segment in segments {
        scrub_segment(&segment, path.is_dir(), &mut scrubbed)?;
    }
    Ok(scrubbed)
}

/// Begins the segment that is to take the place of this one.
fn begin(path: &Path, reader: &Reader) -> Result<Segment, Error> {
    let recording = reader.recording().cloned().unwrap_or_default();
    Segment::create(&path.with_extension("new"), &recording)
}

fn scrub_segment(path: &Path, has_index: bool, scrubbed: &mut Scrubbed) -> Result<(), Error> {
    let mut reader = Reader::open(path)?;
    let write = |source| Error::Write { path: path.into(), source };
    let mut rows = Vec::new();
    let mut anew: Option<Segment> = None;
    while let Some(next) = reader.next_snapshot()? {
        match next {
            Ok(mut snapshot) => {
                snapshot.redact();
                let segment = match &mut anew {
                    Some(segment) => segment,
                    None => anew.insert(begin(path, &reader)?),
                };
                rows.push(segment.write(&snapshot, false).map_err(write)?);
            }
            Err(damage) => scrubbed.dropped.push(damage),
        }
    }
    // Of a segment without anything that can be read nothing can be told, and nothing may stay.
    let Some(mut segment) = anew else { return fs::remove_file(path).map_err(write) };
    segment.sync().map_err(write)?;
    index::remove(path);
    segment.name(path.into()).map_err(write)?;
    layout::sync_names(path).map_err(write)?;
    if has_index && let Some(recording) = reader.recording() {
        index::write(path, segment.salt(), recording, segment.bytes(), &rows).map_err(write)?;
    }
    scrubbed.segments += 1;
    scrubbed.snapshots += rows.len() as u64;
    Ok(())
}
