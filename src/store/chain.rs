//! The snapshots of one segment that can be decoded, in order, and what is lost between them.
//!
//! A snapshot may need the records since the last whole one. So damage loses everything up to the
//! next whole snapshot, and is reported as one loss.

use std::fmt;
use std::path::{Path, PathBuf};

use super::Error;
use super::frame::Salt;
use super::records::{Format, Next, RecordPlace, Records};
use crate::wire::{self, Peeked, Row};

/// A part of a file that is of no use.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// The first byte that could not be used.
    pub at: u64,
    /// How many bytes from there on are lost.
    pub lost: u64,
    /// How many snapshots among them are undamaged, but need one that is not.
    pub dependent: u64,
    /// The number of the last snapshot before them that could be read; 0 for none.
    pub after: u64,
    /// The number of the first one after them.
    pub before: Option<u64>,
    /// What is wrong, in words.
    pub what: String,
}

impl Damage {
    /// A file that should be a segment and is of no use.
    pub(super) fn whole_file(path: PathBuf, after: u64, what: String) -> Self {
        let lost = std::fs::metadata(&path).map_or(0, |metadata| metadata.len());
        Self { path, at: 0, lost, dependent: 0, after, before: None, what }
    }

    /// A segment that does not belong to the one before it; all of it can be read.
    pub(super) fn stranger(path: PathBuf, after: u64, how: &str) -> Self {
        let what = format!("a segment of another recording, {how}; move it to a directory of its own");
        Self { path, at: 0, lost: 0, dependent: 0, after, before: None, what }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, at, lost, dependent, after, before, what } = self;
        if *lost == 0 {
            return write!(f, "{}: {what}", path.display());
        }
        write!(f, "{}: {what} at byte {at}; ", path.display())?;
        match before {
            Some(_) => write!(f, "{lost} bytes are lost")?,
            None => write!(f, "its last {lost} bytes are lost")?,
        }
        if *dependent > 0 {
            write!(f, ", with {dependent} snapshots that need what was there")?;
        }
        match (after, before) {
            (0, None) => {
                f.write_str(", and no snapshot comes before them; record again, or look for another copy of the file")
            }
            (0, Some(before)) => write!(f, "; everything from snapshot {before} on can be shown with --at N"),
            (last, None) => write!(f, "; everything up to snapshot {last} is whole and can be shown with --at N"),
            (last, Some(before)) => {
                write!(f, "; everything up to snapshot {last} and from {before} on can be shown with --at N")
            }
        }
    }
}

/// What comes next in a segment.
pub(super) enum ChainStep {
    /// A snapshot that can be decoded by who was given all since the last whole one.
    Snapshot(RecordPlace, Row),
    /// Something else: a description of the recording, a snapshot without a summary, or a kind that
    /// this version does not know.
    Other(RecordPlace),
    Damage(Damage),
    End,
}

/// A segment that is being read.
pub(super) struct Chain {
    records: Records,
    path: PathBuf,
    /// The damage after which no whole snapshot has been found yet.
    broken: Option<Damage>,
    /// The number of the last snapshot.
    last: u64,
    /// Whether a whole snapshot has come.
    begun: bool,
}

impl Chain {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self { records: Records::open(path)?, path: path.into(), broken: None, last: 0, begun: false })
    }

    pub(super) fn salt(&self) -> Option<Salt> {
        self.records.salt()
    }

    pub(super) fn is_being_written(&self) -> bool {
        self.records.is_being_written()
    }

    pub(super) fn begins_as_ours(&self) -> bool {
        self.records.begins_as_ours
    }

    pub(super) fn is_of_first_format(&self) -> bool {
        self.records.format == Format::First
    }

    pub(super) fn payload(&mut self, place: RecordPlace) -> Result<&[u8], Error> {
        self.records.payload(place).map_err(|source| Error::Read { path: self.path.clone(), source })
    }

    pub(super) fn step(&mut self) -> Result<ChainStep, Error> {
        loop {
            let read = |source| Error::Read { path: self.path.clone(), source };
            match self.records.next().map_err(read)? {
                Next::End => return Ok(self.broken.take().map_or(ChainStep::End, ChainStep::Damage)),
                Next::Damaged { at, until, what } => self.lose(at, until, what),
                Next::Record(place) => {
                    let peeked = wire::peek(self.records.payload(place).map_err(read)?);
                    match peeked {
                        Err(error) => self.lose(place.at, place.end(), &misunderstood(&error)),
                        Ok(Peeked::Other) if self.broken.is_none() || !self.is_of_first_format() => {
                            return Ok(ChainStep::Other(place));
                        }
                        Ok(Peeked::Other) => self.lose(place.at, place.end(), ""),
                        Ok(Peeked::Snapshot { summary, whole }) => match self.broken.take() {
                            Some(mut damage) if whole => {
                                // It is read again when the damage has been reported.
                                self.records.seek(place.at);
                                damage.before = Some(summary.number);
                                return Ok(ChainStep::Damage(damage));
                            }
                            Some(mut damage) => {
                                damage.lost = place.end() - damage.at;
                                damage.dependent += 1;
                                self.broken = Some(damage);
                            }
                            None if !whole && !self.begun => self.lose(place.at, place.end(), NOT_WHOLE),
                            None => {
                                self.begun = true;
                                self.last = summary.number;
                                let (offset, length) = (place.at, place.payload());
                                return Ok(ChainStep::Snapshot(place, Row { offset, length, whole, summary }));
                            }
                        },
                    }
                }
            }
        }
    }

    /// A record that is whole turned out to make no sense: nothing that needs it can be decoded.
    pub(super) fn reject(&mut self, place: RecordPlace, before: u64, error: &wire::Error) {
        self.last = before;
        self.lose(place.at, place.end(), &misunderstood(error));
    }

    fn lose(&mut self, at: u64, until: u64, what: &str) {
        let (path, after) = (self.path.clone(), self.last);
        let damage = self.broken.get_or_insert_with(|| Damage {
            path,
            at,
            lost: 0,
            dependent: 0,
            after,
            before: None,
            what: what.to_owned(),
        });
        damage.lost = until - damage.at;
    }
}

const NOT_WHOLE: &str = "a snapshot that needs others stands where the first one should";

fn misunderstood(error: &wire::Error) -> String {
    format!("a record cannot be understood ({error})")
}
