//! The index beside a segment: written when the segment has been ended, and believed only where it
//! fits it.
//!
//! A segment without an index that can be believed is read instead, so an index is never what a
//! result depends on. That it fits is seen by its checksums, by the salt that it shares with the
//! segment, by the segment's length, by its rows following on each other without a gap from the
//! first snapshot to the end of what it covers, and by the segment's last record being whole, which
//! is where a file suffers that the disk did not get all of. What lies between is not looked at:
//! what is found by a row is checked once more when it is read, and `check` reads everything. No
//! file stays open.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::bytes::{SegmentBytes, open_file};
use super::frame::{self, HEAD, Head, INDEX_MAGIC, MAGIC, Salt};
use super::layout;
use crate::model::Recording;
use crate::wire::{IndexHead, Row, Span, decode_rows, encode_rows};

/// Why there is no index to be believed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each says what it is")]
pub enum Fault {
    #[error("there is none")]
    Missing,
    #[error("it cannot be read")]
    Unreadable,
    #[error("it is damaged")]
    Damaged,
    #[error("it is another segment's")]
    Foreign,
    #[error("the segment is longer or shorter than it was")]
    Stale,
    #[error("the segment does not end with a whole record, as it did")]
    Torn,
    #[error("it does not say what the segment holds")]
    Wrong,
}

/// Writes the index of this many bytes of a segment, and returns how long it is.
/// Nothing is left of one that could not be written.
pub(super) fn write(segment: &Path, salt: Salt, recording: &Recording, covered: u64, rows: &[Row]) -> io::Result<u64> {
    let Some(span) = Span::of(rows) else { return Ok(0) };
    let path = layout::index_of(segment);
    let mut bytes = INDEX_MAGIC.to_vec();
    frame::put(salt, &IndexHead { covered, span, recording: recording.clone() }.encode(), &mut bytes)?;
    frame::put(salt, &encode_rows(rows), &mut bytes)?;
    // A new file: to write into what is there would follow a link, and empty what that leads to.
    remove(segment);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    if let Err(error) = file.write_all(&bytes) {
        remove(segment);
        return Err(error);
    }
    Ok(bytes.len() as u64)
}

/// Removes the index of a segment.
pub(super) fn remove(segment: &Path) {
    // What stays, and fits nothing, is not believed.
    let _ = std::fs::remove_file(layout::index_of(segment));
}

/// The index of a segment whose head has been believed.
pub(super) struct Index {
    segment: PathBuf,
    pub(super) head: IndexHead,
    /// Where the rows' record begins in the index, and the first snapshot's in the segment.
    rows_at: u64,
    first_at: u64,
    salt: Salt,
}

impl Index {
    pub(super) fn open(segment: &Path) -> Result<Self, Fault> {
        let mut bytes = open(&layout::index_of(segment))?;
        if bytes.at(0, MAGIC).map_err(|_| Fault::Unreadable)? != INDEX_MAGIC {
            return Err(Fault::Damaged);
        }
        let (found, payload) = record(&mut bytes, MAGIC as u64)?;
        let head = IndexHead::decode(payload).map_err(|_| Fault::Damaged)?;
        let (its, length) = beginning(segment).ok_or(Fault::Unreadable)?;
        let its = its.ok_or(Fault::Foreign)?;
        if its.salt != found.salt {
            return Err(Fault::Foreign);
        }
        if length != head.covered {
            return Err(Fault::Stale);
        }
        let (rows_at, first_at) = (MAGIC as u64 + found.record(), MAGIC as u64 + its.record());
        Ok(Self { segment: segment.into(), head, rows_at, first_at, salt: its.salt })
    }

    pub(super) fn rows(&self) -> Result<Vec<Row>, Fault> {
        let mut bytes = open(&layout::index_of(&self.segment))?;
        let (head, payload) = record(&mut bytes, self.rows_at)?;
        if head.salt != self.salt {
            return Err(Fault::Foreign);
        }
        let rows = decode_rows(payload).map_err(|_| Fault::Damaged)?;
        let mut at = self.first_at;
        for row in &rows {
            if row.offset != at {
                return Err(Fault::Wrong);
            }
            at = at.saturating_add(HEAD as u64).saturating_add(row.length);
        }
        if at != self.head.covered || Span::of(&rows) != Some(self.head.span) || !rows[0].whole {
            return Err(Fault::Wrong);
        }
        let last = rows.last().map_or(self.first_at, |row| row.offset);
        let mut segment = SegmentBytes::new(open_file(&self.segment).map_err(|_| Fault::Unreadable)?);
        match record(&mut segment, last) {
            Ok((head, _)) if head.salt == self.salt && last.saturating_add(head.record()) == self.head.covered => {
                Ok(rows)
            }
            _ => Err(Fault::Torn),
        }
    }
}

fn open(index: &Path) -> Result<SegmentBytes, Fault> {
    open_file(index).map(SegmentBytes::new).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Fault::Missing,
        _ => Fault::Unreadable,
    })
}

fn record(bytes: &mut SegmentBytes, at: u64) -> Result<(Head, &[u8]), Fault> {
    let head = bytes.at(at, HEAD).map_err(|_| Fault::Unreadable)?;
    let head = Head::parse(head).ok_or(Fault::Damaged)?;
    let payload = bytes.at(at + HEAD as u64, head.length as usize).map_err(|_| Fault::Unreadable)?;
    if !head.agrees_with(payload) {
        return Err(Fault::Damaged);
    }
    Ok((head, payload))
}

/// The head of a segment's first record, if it is undamaged, and the segment's length.
fn beginning(segment: &Path) -> Option<(Option<Head>, u64)> {
    use std::os::unix::fs::FileExt;
    let file = open_file(segment).ok()?;
    let mut bytes = [0; MAGIC + HEAD];
    let head = file.read_exact_at(&mut bytes, 0).ok().and_then(|()| Head::parse(&bytes[MAGIC..]));
    Some((head, file.metadata().ok()?.len()))
}
