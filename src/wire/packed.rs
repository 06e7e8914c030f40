//! Records in fewer bytes: zlib around what repeats itself.
//!
//! Unpacking is bounded: by a share of what is packed, and by the number of messages in it, each of which takes a hundred
//! times its two bytes in memory.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::pb::record::Kind;
use super::{Error, pb};

/// What tells changes is small, and worth some effort. What is large is told whole, which must not take long.
const LARGE: usize = 64 << 10;
const LEVEL: Compression = Compression::new(6);
const LEVEL_FOR_LARGE: Compression = Compression::new(1);
/// Records smaller than this gain nothing.
const WORTH_PACKING: usize = 128;
/// What may come of a packed record at least, and of each of its bytes. Columns of zeroes pack best, and real records hold
/// no more of them than threads.
const MOST_AT_LEAST: usize = 1 << 20;
const MOST_PER_BYTE: usize = 256;
/// A hundred thousand threads with what hangs on each, and as many rows of tables. An empty thread takes 400 bytes.
const MOST_MESSAGES: usize = 1 << 20;

impl From<Kind> for pb::Record {
    fn from(kind: Kind) -> Self {
        Self { kind: Some(kind), summary: None }
    }
}

/// The bytes of a record, packed if that makes them fewer. The summary stays outside, where a list finds it.
pub(super) fn pack(record: &pb::Record, summary: Option<pb::Summary>) -> Vec<u8> {
    let inner = record.encode_to_vec();
    let packed = (inner.len() >= WORTH_PACKING)
        .then(|| compress(&inner))
        .filter(|packed| packed.len() < inner.len() && inner.len() <= unpacked_length(packed.len()));
    match packed {
        Some(packed) => pb::Record { kind: Some(Kind::Packed(packed)), summary }.encode_to_vec(),
        None => {
            // Messages that follow one another are one message.
            let mut record = inner;
            record.extend(pb::Record { kind: None, summary }.encode_to_vec());
            record
        }
    }
}

fn compress(bytes: &[u8]) -> Vec<u8> {
    let level = if bytes.len() < LARGE { LEVEL } else { LEVEL_FOR_LARGE };
    let mut encoder = ZlibEncoder::new(Vec::with_capacity(bytes.len() / 2), level);
    // Writing to memory does not fail; were it to, nothing would be taken for what was packed.
    encoder.write_all(bytes).and_then(|()| encoder.finish()).unwrap_or_else(|_| bytes.to_vec())
}

/// How much may come of so many packed bytes.
fn unpacked_length(packed: usize) -> usize {
    packed.saturating_mul(MOST_PER_BYTE).max(MOST_AT_LEAST)
}

/// A record's kind, unpacked.
pub(super) fn unpack(payload: &[u8]) -> Result<Option<Kind>, Error> {
    match decode(payload)? {
        Some(Kind::Packed(packed)) => {
            let most = unpacked_length(packed.len());
            let mut plain = Vec::new();
            let mut stream = ZlibDecoder::new(packed.as_slice()).take(most as u64 + 1);
            stream.read_to_end(&mut plain).map_err(|_| Error::Unknown("what it packs"))?;
            if plain.len() > most {
                return Err(Error::TooMuch);
            }
            match decode(&plain)? {
                Some(Kind::Packed(_)) => Err(Error::Unknown("what is packed twice")),
                kind => Ok(kind),
            }
        }
        kind => Ok(kind),
    }
}

fn decode(record: &[u8]) -> Result<Option<Kind>, Error> {
    match messages(record, &RECORD)? {
        0..=MOST_MESSAGES => Ok(pb::Record::decode(record)?.kind),
        _ => Err(Error::TooMuch),
    }
}

/// A message in which there may be many others, and which of its fields are such messages themselves.
struct Level {
    inner: &'static [(u32, Level)],
}

/// Snapshots and changes are fields 2 and 4 of a record. Of both, tables are field 7; threads are field 9 of the one, and 14
/// and 15 of the other. What memory a thread has is in a list, field 11 of a thread that has changed.
const RECORD: Level = Level { inner: &[(2, SNAPSHOT), (4, CHANGE)] };
const SNAPSHOT: Level = Level { inner: &[(7, LEAF), (9, THREAD)] };
const CHANGE: Level = Level { inner: &[(7, LEAF), (14, THREAD), (15, THREAD)] };
const THREAD: Level = Level { inner: &[(11, LEAF)] };
const LEAF: Level = Level { inner: &[] };

/// How many messages, strings and lists there are on these levels.
fn messages(mut bytes: &[u8], level: &Level) -> Result<usize, Error> {
    let mut count = 0;
    while !bytes.is_empty() {
        let (tag, wire_type) = decode_key(&mut bytes)?;
        count += usize::from(wire_type == WireType::LengthDelimited);
        match level.inner.iter().find(|(inner, _)| *inner == tag) {
            Some((_, inner)) if wire_type == WireType::LengthDelimited => {
                let length = usize::try_from(decode_varint(&mut bytes)?).ok();
                let (message, rest) =
                    length.and_then(|length| bytes.split_at_checked(length)).ok_or(Error::Unknown("a length"))?;
                count += messages(message, inner)?;
                bytes = rest;
            }
            _ => skip_field(wire_type, tag, &mut bytes, DecodeContext::default())?,
        }
    }
    Ok(count)
}
