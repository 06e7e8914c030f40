//! The records of one file, and the damage between them.
//!
//! Promises: reading ends, whatever the file holds, and every record that is returned is one that
//! was written: after damage the next one is found by its head. Does not know what records mean.

use std::io;
use std::path::Path;

use nix::errno::Errno;

use super::Error;
use super::bytes::{SegmentBytes, open_file};
use super::frame::{FIRST_MAGIC, HEAD, Head, MAGIC, MARKER, SEGMENT_MAGIC, Salt};
use crate::sys::being_written;

/// How much is looked through at once for a head.
const PIECE: usize = 1 << 16;
/// Length and checksum before each payload of a file of the first format.
const FIRST_HEAD: usize = 8;

const CUT: &str = "the file is cut short";
const DISAGREES: &str = "a record does not agree with its checksum";
const EMPTY: &str = "a record without contents";
const NO_RECORD: &str = "something that is no record";
const UNREADABLE: &str = "a part of the disk that cannot be read";

/// What a disk has that a bad sector makes unreadable, at least, and how much of one is passed over
/// at once, at most.
const PAGE: u64 = 1 << 12;
const FARTHEST: u64 = 1 << 20;

/// Whether this is one place's fault, and another may be read.
fn is_of_a_sector(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EIO as i32)
}

/// What comes next in a file.
pub(super) enum Next {
    /// A whole record; its payload is to be asked for.
    Record(RecordPlace),
    /// These bytes are of no use.
    Damaged {
        at: u64,
        until: u64,
        what: &'static str,
    },
    End,
}

/// What a look at one place shows.
enum Seen {
    Next(Next),
    /// The file ends within a record.
    BreaksOff,
}

/// Where a record is, and how long head and payload are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RecordPlace {
    pub(super) at: u64,
    head: usize,
    payload: usize,
}

impl RecordPlace {
    /// Where the next record begins.
    pub(super) fn end(self) -> u64 {
        self.at + (self.head + self.payload) as u64
    }

    /// How long the payload is.
    pub(super) fn payload(self) -> u64 {
        self.payload as u64
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Format {
    /// No head that could be found again.
    First,
    Segment,
}

/// A file that is being read, record by record.
pub(super) struct Records {
    bytes: SegmentBytes,
    pub(super) format: Format,
    /// Whether the file begins as one of ours does, as far as it goes.
    pub(super) begins_as_ours: bool,
    salt: Option<Salt>,
    position: u64,
}

impl Records {
    /// Opens a file that looks like one of ours, damaged or not.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let read = |source| Error::Read { path: path.into(), source };
        let file = open_file(path).map_err(|source| match source.kind() {
            io::ErrorKind::InvalidInput => Error::NotOurs { path: path.into() },
            _ => Error::Open { path: path.into(), source },
        })?;
        let mut bytes = SegmentBytes::new(file);
        let magic = match bytes.at(0, MAGIC) {
            Err(error) if is_of_a_sector(&error) => Vec::new(),
            magic => magic.map_err(read)?.to_vec(),
        };
        let begins = |with: &[u8; MAGIC]| !magic.is_empty() && with.starts_with(&magic);
        let (is_first, is_segment) = (begins(FIRST_MAGIC), begins(SEGMENT_MAGIC));
        let format = if is_first && !is_segment { Format::First } else { Format::Segment };
        let begins_as_ours = is_first || is_segment;
        let position = if begins_as_ours && magic.len() == MAGIC { MAGIC as u64 } else { 0 };
        let mut records = Self { bytes, format, begins_as_ours, salt: None, position };
        // The beginning may be what is damaged.
        if !begins_as_ours && records.find_head(0).map_err(read)?.is_none() {
            return Err(Error::NotOurs { path: path.into() });
        }
        Ok(records)
    }

    /// How long the file is now.
    pub(super) fn length(&self) -> u64 {
        self.bytes.file().metadata().map_or(self.position, |metadata| metadata.len())
    }

    /// The payload of a record.
    pub(super) fn payload(&mut self, place: RecordPlace) -> io::Result<&[u8]> {
        self.bytes.at(place.at + place.head as u64, place.payload)
    }

    /// The number that the segment's records bear, once one has been read.
    pub(super) fn salt(&self) -> Option<Salt> {
        self.salt
    }

    /// Whether its writer has it open.
    pub(super) fn is_being_written(&self) -> bool {
        being_written::is_marked(self.bytes.file())
    }

    /// Goes to a place that is known from an index, or back to one that was read.
    pub(super) fn seek(&mut self, at: u64) {
        self.position = at;
    }

    pub(super) fn next(&mut self) -> io::Result<Next> {
        let next = match self.format {
            Format::First => self.next_of_first()?,
            Format::Segment => self.next_of_segment()?,
        };
        match &next {
            Next::Record(place) => self.position = place.end(),
            Next::Damaged { until, .. } => self.position = *until,
            Next::End => {}
        }
        Ok(next)
    }

    fn next_of_segment(&mut self) -> io::Result<Next> {
        match self.look()? {
            // A record that breaks off: its writer is at it, or will never be again.
            Seen::BreaksOff if self.is_being_written() => Ok(Next::End),
            // The writer may have completed it, and gone, between the two looks.
            Seen::BreaksOff => {
                self.bytes.forget();
                let at = self.position;
                match self.look()? {
                    Seen::BreaksOff => Ok(Next::Damaged { at, until: self.length().max(at + 1), what: CUT }),
                    Seen::Next(next) => Ok(next),
                }
            }
            Seen::Next(next) => Ok(next),
        }
    }

    fn look(&mut self) -> io::Result<Seen> {
        match self.look_at_head_and_payload() {
            Err(error) if is_of_a_sector(&error) => {
                let (at, length) = (self.position, self.length());
                if at >= length {
                    return Ok(Seen::Next(Next::End));
                }
                let until = self.find_head(at + 1)?.unwrap_or(length);
                Ok(Seen::Next(Next::Damaged { at, until, what: UNREADABLE }))
            }
            seen => seen,
        }
    }

    fn look_at_head_and_payload(&mut self) -> io::Result<Seen> {
        let at = self.position;
        let head = self.bytes.at(at, HEAD)?;
        let here = head.len();
        Ok(match Head::parse(head).filter(|head| self.salt.is_none_or(|salt| salt == head.salt)) {
            Some(head) => {
                let payload = self.bytes.at(at + HEAD as u64, head.length as usize)?;
                if payload.len() < head.length as usize {
                    return Ok(Seen::BreaksOff);
                }
                let agrees = head.agrees_with(payload);
                self.salt = Some(head.salt);
                Seen::Next(match agrees {
                    true => Next::Record(RecordPlace { at, head: HEAD, payload: head.length as usize }),
                    false => Next::Damaged { at, until: at + head.record(), what: DISAGREES },
                })
            }
            // A segment has got its description together with its first bytes.
            None if here == 0 && at > MAGIC as u64 => Seen::Next(Next::End),
            None if here < HEAD => Seen::BreaksOff,
            None => {
                let until = self.find_head(at + 1)?;
                Seen::Next(Next::Damaged { at, until: until.unwrap_or(self.length().max(at + 1)), what: NO_RECORD })
            }
        })
    }

    fn next_of_first(&mut self) -> io::Result<Next> {
        let at = self.position;
        let rest = self.length();
        let damaged = |what| Ok(Next::Damaged { at, until: rest.max(at + 1), what });
        let head = self.bytes.at(at, FIRST_HEAD)?;
        let (Some(length), Some(checksum)) = (head.first_chunk::<4>(), head.last_chunk::<4>()) else {
            return if head.is_empty() && at > MAGIC as u64 { Ok(Next::End) } else { damaged(CUT) };
        };
        if head.len() < FIRST_HEAD {
            return damaged(CUT);
        }
        let (length, checksum) = (u32::from_le_bytes(*length) as usize, u32::from_le_bytes(*checksum));
        if length == 0 {
            // A file system may leave zeroes where a write was under way; they even have the right
            // checksum.
            return damaged(EMPTY);
        }
        let payload = self.bytes.at(at + FIRST_HEAD as u64, length)?;
        if payload.len() < length {
            return damaged(CUT);
        }
        if crc32fast::hash(payload) != checksum {
            return damaged(DISAGREES);
        }
        Ok(Next::Record(RecordPlace { at, head: FIRST_HEAD, payload: length }))
    }

    /// Where the next head of this segment is, from here on. Over what cannot be read it goes in
    /// ever larger steps, for each attempt can take seconds.
    fn find_head(&mut self, from: u64) -> io::Result<Option<u64>> {
        let (mut at, mut step) = (from, PAGE);
        loop {
            let piece = match self.bytes.some_at(at, PIECE) {
                Err(error) if is_of_a_sector(&error) => {
                    if at >= self.length() {
                        return Ok(None);
                    }
                    at = (at / PAGE).saturating_mul(PAGE).saturating_add(step);
                    step = FARTHEST.min(2 * step);
                    continue;
                }
                piece => piece?,
            };
            let length = piece.len();
            let starts = 0..(length + 1).saturating_sub(HEAD);
            let is_ours = |start: &usize| {
                Head::parse(&piece[*start..]).is_some_and(|head| self.salt.is_none_or(|salt| salt == head.salt))
            };
            if let Some(start) = starts.clone().filter(|start| piece[*start] == MARKER[0]).find(is_ours) {
                return Ok(Some(at + start as u64));
            }
            step = PAGE;
            at += match (starts.len(), self.bytes.has_failed()) {
                (_, true) => length as u64,
                (0, false) => return Ok(None),
                (looked_at, false) => looked_at as u64,
            };
        }
    }
}
