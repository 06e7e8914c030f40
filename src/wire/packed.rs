//! Records in fewer bytes: zlib around what repeats itself.
//!
//! Unpacking is bounded: by a share of what is packed, and by the number of messages in it: each
//! takes a hundred times its two bytes in memory.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::fields::put_head;
use super::pb::record::Kind;
use super::{Error, fields, pb};

/// What describes changes is small, and worth some effort. What is large is stored whole, which
/// must not take long.
const LARGE: usize = 64 << 10;
const LEVEL: Compression = Compression::new(6);
const LEVEL_FOR_LARGE: Compression = Compression::new(1);
/// Records smaller than this gain nothing.
const WORTH_PACKING: usize = 128;
/// What may come of a packed record at least, and of each of its bytes. Columns of zeroes pack
/// best, and real records hold no more of them than threads.
const MOST_AT_LEAST: usize = 1 << 20;
const MOST_PER_BYTE: usize = 256;
/// A hundred thousand threads with what hangs on each, and as many rows of tables. An empty thread
/// takes 400 bytes.
const MOST_MESSAGES: usize = 1 << 20;

/// A record of this kind, which has these fields, packed if that makes them fewer bytes. The
/// summary stays outside, where a list finds it.
pub(super) fn pack(kind: u32, body: &[u8], summary: Option<pb::Summary>) -> Vec<u8> {
    let mut head = Vec::new();
    put_head(kind, body.len(), &mut head);
    let length = head.len() + body.len();
    let packed = (length >= WORTH_PACKING)
        .then(|| compress(&head, body))
        .flatten()
        .filter(|packed| packed.len() < length && length <= unpacked_length(packed.len()));
    match packed {
        Some(packed) => pb::Record { kind: Some(Kind::Packed(packed)), summary }.encode_to_vec(),
        // Messages that follow one another are one message.
        None => [&head, body, &pb::Record { kind: None, summary }.encode_to_vec()].concat(),
    }
}

/// None if it cannot be done; but writing to memory does not fail.
fn compress(head: &[u8], body: &[u8]) -> Option<Vec<u8>> {
    let level = if body.len() < LARGE { LEVEL } else { LEVEL_FOR_LARGE };
    let mut encoder = ZlibEncoder::new(Vec::with_capacity(body.len() / 2), level);
    encoder.write_all(head).and_then(|()| encoder.write_all(body)).and_then(|()| encoder.finish()).ok()
}

/// How much may come of this many packed bytes.
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

/// A message in which there may be many others, and which of its fields are such messages
/// themselves.
struct Level {
    inner: &'static [(u32, Level)],
}

/// What memory a thread has is in a list, field 11 of a thread that has changed.
const RECORD: Level = Level { inner: &[(fields::SNAPSHOT, SNAPSHOT), (fields::CHANGE, CHANGE)] };
const SNAPSHOT: Level = Level { inner: &[(fields::TABLES, LEAF), (fields::THREADS, THREAD)] };
const CHANGE: Level =
    Level { inner: &[(fields::TABLES, LEAF), (fields::NEW_THREADS, THREAD), (fields::CHANGED_THREADS, THREAD)] };
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
