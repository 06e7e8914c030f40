//! What an index says of a segment.

use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, skip_field};

use super::{Error, convert, pb, summary};
use crate::model::{Recording, Summary};

/// Where a snapshot is in its segment, and what a list says of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// Where its record begins.
    pub offset: u64,
    /// The length of its payload.
    pub length: u64,
    /// Whether it can be decoded without those before it.
    pub whole: bool,
    /// What a list says of it.
    pub summary: Summary,
}

/// What a search for a snapshot needs to know of a segment that holds at least one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    /// How many there are.
    pub snapshots: u64,
    /// The least and the greatest number.
    pub numbers: (u64, u64),
    /// The earliest and the latest time, in nanoseconds since 1970.
    pub realtime_ns: (i64, i64),
}

impl Span {
    /// Of the rows of a segment; None of no rows.
    pub fn of(rows: &[Row]) -> Option<Self> {
        let numbers = rows.iter().map(|row| row.summary.number);
        let times = rows.iter().map(|row| row.summary.taken.realtime_ns);
        Some(Self {
            snapshots: rows.len() as u64,
            numbers: (numbers.clone().min()?, numbers.max()?),
            realtime_ns: (times.clone().min()?, times.max()?),
        })
    }
}

/// What stands at the beginning of an index.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IndexHead {
    /// How many bytes of the segment it covers.
    pub covered: u64,
    /// Which snapshots the segment holds.
    pub span: Span,
    /// What they have in common.
    pub recording: Recording,
}

impl IndexHead {
    /// The head as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let Self { covered, span, recording } = self;
        pb::IndexHead {
            covered: *covered,
            snapshots: span.snapshots,
            first_number: span.numbers.0,
            last_number: span.numbers.1,
            earliest_realtime_ns: span.realtime_ns.0,
            latest_realtime_ns: span.realtime_ns.1,
            recording: Some(recording.into()),
        }
        .encode_to_vec()
    }

    /// Reads a head.
    pub fn decode(payload: &[u8]) -> Result<Self, Error> {
        let message = pb::IndexHead::decode(payload)?;
        Ok(Self {
            covered: message.covered,
            span: Span {
                snapshots: message.snapshots,
                numbers: (message.first_number, message.last_number),
                realtime_ns: (message.earliest_realtime_ns, message.latest_realtime_ns),
            },
            recording: convert::recording(message.recording.ok_or(Error::Unknown("the recording"))?),
        })
    }
}

/// The rows of an index as the payload of its second record.
pub fn encode_rows(rows: &[Row]) -> Vec<u8> {
    let row = |row: &Row| pb::IndexRow {
        offset: row.offset,
        length: row.length,
        summary: Some(summary::encode(row.summary.clone(), row.whole)),
    };
    pb::IndexRows { rows: rows.iter().map(row).collect() }.encode_to_vec()
}

/// A row as it is read: one for all of them, so that none needs memory of its own.
#[derive(Clone, PartialEq, Message)]
struct ReadRow {
    #[prost(uint64, tag = "1")]
    offset: u64,
    #[prost(uint64, tag = "2")]
    length: u64,
    #[prost(message, required, tag = "3")]
    summary: pb::Summary,
}

/// The rows of an index. One without a summary is one of zeroes, which its index does not agree
/// with.
pub fn decode_rows(mut payload: &[u8]) -> Result<Vec<Row>, Error> {
    const ROWS: u32 = 1;
    let mut rows = Vec::<Row>::new();
    let mut read = ReadRow::default();
    while !payload.is_empty() {
        let (tag, wire_type) = decode_key(&mut payload)?;
        if (tag, wire_type) != (ROWS, WireType::LengthDelimited) {
            skip_field(wire_type, tag, &mut payload, DecodeContext::default())?;
            continue;
        }
        read.clear();
        read.merge_length_delimited(&mut payload)?;
        let ReadRow { offset, length, summary } = &read;
        let before = rows.last().map(|row| &row.summary.program);
        let summary = summary::decode(summary, before);
        rows.push(Row { offset: *offset, length: *length, whole: read.summary.whole, summary });
    }
    Ok(rows)
}
