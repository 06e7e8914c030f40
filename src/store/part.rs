//! One segment as a table of its snapshots, by its index, or by reading it where there is no index
//! to be believed.

use std::path::{Path, PathBuf};

use super::Error;
use super::chain::{Chain, ChainStep, Damage};
use super::frame::Salt;
use super::index::Index;
use super::origin::Origin;
use super::records::{Next, Records};
use crate::model::{Pid, ProcessId, Recording, Snapshot};
use crate::wire::{Decoder, Record, Row, Span};

pub(super) struct Part {
    pub(super) path: PathBuf,
    /// Whose it is, as far as it has been read.
    pub(super) origin: Origin,
    pub(super) span: Option<Span>,
    rows: Rows,
    /// What was seen to be damaged so far.
    pub(super) damage: Vec<Damage>,
}

enum Rows {
    InIndex(Box<Index>),
    Known(Vec<Row>),
}

/// What a segment was found to hold by reading it.
pub(super) struct Scanned {
    pub(super) recording: Option<Recording>,
    /// Of the first snapshot that was unpacked.
    pub(super) process: Option<ProcessId>,
    pub(super) rows: Vec<Row>,
    pub(super) damage: Vec<Damage>,
    /// What its records bear, if one of them could be read.
    pub(super) salt: Option<Salt>,
    /// Where the last of them ends.
    pub(super) end: u64,
    pub(super) is_being_written: bool,
}

impl Part {
    /// Looks at the index only, if there is one.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        match Index::open(path) {
            Ok(index) => Ok(Self {
                path: path.into(),
                origin: Origin::new(Some(index.head.recording.clone()), None),
                span: Some(index.head.span),
                rows: Rows::InIndex(Box::new(index)),
                damage: Vec::new(),
            }),
            Err(_) => Self::read(path, false),
        }
    }

    fn read(path: &Path, unpack: bool) -> Result<Self, Error> {
        let Scanned { recording, process, rows, damage, .. } = scan(path, unpack)?;
        let span = Span::of(&rows);
        let mut origin = Origin::new(recording, process);
        origin.pid = pid_of(&rows);
        Ok(Self { path: path.into(), origin, span, rows: Rows::Known(rows), damage })
    }

    /// The rows, which are gone.
    pub(super) fn take_rows(&mut self) -> Vec<Row> {
        match &mut self.rows {
            Rows::Known(rows) => std::mem::take(rows),
            Rows::InIndex(_) => Vec::new(),
        }
    }

    pub(super) fn rows(&mut self) -> Result<&[Row], Error> {
        if let Rows::InIndex(index) = &self.rows {
            match index.rows() {
                Ok(rows) => {
                    self.origin.pid = pid_of(&rows);
                    self.rows = Rows::Known(rows);
                }
                Err(_) => *self = Self::read(&self.path, false)?,
            }
        }
        match &self.rows {
            Rows::Known(rows) => Ok(rows),
            Rows::InIndex(_) => Ok(&[]),
        }
    }

    /// The snapshot of this row. None when it is not there after all: then the rows are others now,
    /// of what can be unpacked.
    pub(super) fn snapshot(&mut self, row: usize) -> Result<Option<Snapshot>, Error> {
        let path = self.path.clone();
        let rows = self.rows()?;
        if row >= rows.len() {
            return Ok(None);
        }
        let decoded = decode(&path, rows, row)?;
        if decoded.is_none() {
            *self = Self::read(&path, true)?;
        }
        Ok(decoded)
    }
}

fn pid_of(rows: &[Row]) -> Option<Pid> {
    rows.first().map(|row| row.summary.pid)
}

/// Decodes the snapshot of a row with what it needs of those before it, if all of that is as the
/// rows say.
fn decode(path: &Path, rows: &[Row], wanted: usize) -> Result<Option<Snapshot>, Error> {
    let read = |source| Error::Read { path: path.into(), source };
    let first = rows[..=wanted].iter().rposition(|row| row.whole).unwrap_or(0);
    let mut records = Records::open(path)?;
    let mut decoder = Decoder::default();
    for (number, row) in rows.iter().enumerate().take(wanted + 1).skip(first) {
        records.seek(row.offset);
        let Next::Record(place) = records.next().map_err(read)? else { return Ok(None) };
        if place.payload() != row.length {
            return Ok(None);
        }
        let payload = records.payload(place).map_err(read)?;
        if number < wanted {
            if decoder.pass(payload).is_err() {
                return Ok(None);
            }
            continue;
        }
        if let Ok(Record::Snapshot(snapshot)) = decoder.record(payload) {
            return Ok((snapshot.number == row.summary.number).then_some(*snapshot));
        }
    }
    Ok(None)
}

/// Reads a segment, and unpacks its snapshots where a record that is undamaged is not to be
/// believed either.
pub(super) fn scan(path: &Path, unpack: bool) -> Result<Scanned, Error> {
    let mut chain = Chain::open(path)?;
    let mut decoder = Decoder::default();
    let (mut recording, mut process, mut rows, mut damage, mut end) = (None, None, Vec::<Row>::new(), Vec::new(), 0);
    loop {
        let (place, row) = match chain.step()? {
            ChainStep::Snapshot(place, row) if !unpack => {
                end = place.end();
                rows.push(row);
                continue;
            }
            ChainStep::Snapshot(place, row) => (place, Some(row)),
            ChainStep::Other(place) => (place, None),
            ChainStep::Damage(found) => {
                damage.push(found);
                continue;
            }
            ChainStep::End => break,
        };
        match decoder.record(chain.payload(place)?) {
            Ok(Record::Recording(described)) => recording = Some(described),
            // One without a summary was written by a version that knew none.
            Ok(Record::Snapshot(snapshot)) => {
                process.get_or_insert(snapshot.process.id);
                rows.push(row.unwrap_or_else(|| Row {
                    offset: place.at,
                    length: place.payload(),
                    whole: rows.is_empty(),
                    summary: snapshot.as_ref().into(),
                }));
            }
            Ok(Record::Bundled(_) | Record::Unknown) => {}
            Err(error) => {
                chain.reject(place, rows.last().map_or(0, |row| row.summary.number), &error);
                continue;
            }
        }
        end = place.end();
    }
    let is_being_written = chain.is_being_written();
    Ok(Scanned { recording, process, rows, damage, salt: chain.salt(), end, is_being_written })
}
