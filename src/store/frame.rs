//! The head of each record of a segment, by which the next record is found after any damage.
//!
//! A head is right only if its own checksum agrees and its salt is the segment's: bytes that look
//! like a record inside another record (a process may hold recordings in its memory), or in what a
//! file system left of an older file, are not taken for one of this segment's.

use std::hash::{BuildHasher, RandomState};

/// The first bytes of a segment, of an index, and of files as they were written at first.
pub(super) const SEGMENT_MAGIC: &[u8; 8] = b"HANGSEG1";
pub(super) const INDEX_MAGIC: &[u8; 8] = b"HANGIDX1";
pub(super) const FIRST_MAGIC: &[u8; 8] = b"HANGSNAP";
pub(super) const MAGIC: usize = 8;

/// Marker, salt, length, checksum of the payload, checksum of the head.
pub(super) const HEAD: usize = 20;
/// Its first byte occurs in no UTF-8 text.
pub(super) const MARKER: [u8; 4] = [0xf5, b'r', b'e', b'c'];

/// No payload is longer: a snapshot of this many bytes would be a million threads, and a reader
/// holds one at a time.
const LONGEST: u32 = 1 << 30;

/// A number that all records of a segment bear, and no record of another but by chance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Salt(u32);

impl Salt {
    /// One that cannot be foretold.
    pub(super) fn new() -> Self {
        // Of the random keys that hash tables are protected with, truncated on purpose.
        Self(RandomState::new().hash_one(std::process::id()) as u32)
    }
}

/// A record's head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Head {
    pub(super) salt: Salt,
    /// How long the payload is.
    pub(super) length: u32,
    checksum: u32,
}

impl Head {
    /// The head at the beginning of these bytes, if it is one and undamaged.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let head = bytes.first_chunk::<HEAD>()?;
        let (words, _) = head.as_chunks::<4>();
        let [marker, salt, length, checksum, own] = words else { return None };
        let length = u32::from_le_bytes(*length);
        let is_right = *marker == MARKER && crc32fast::hash(&head[..HEAD - 4]) == u32::from_le_bytes(*own);
        (is_right && length <= LONGEST).then_some(Self {
            salt: Salt(u32::from_le_bytes(*salt)),
            length,
            checksum: u32::from_le_bytes(*checksum),
        })
    }

    /// Whether this is the payload that the head was made for.
    pub(super) fn agrees_with(&self, payload: &[u8]) -> bool {
        payload.len() == self.length as usize && crc32fast::hash(payload) == self.checksum
    }

    /// The length of head and payload together.
    pub(super) fn record(&self) -> u64 {
        HEAD as u64 + u64::from(self.length)
    }
}

/// Puts a record after what is there already.
pub(super) fn put(salt: Salt, payload: &[u8], into: &mut Vec<u8>) -> std::io::Result<()> {
    let length = u32::try_from(payload.len()).ok().filter(|length| *length <= LONGEST);
    let length = length.ok_or_else(|| std::io::Error::other("a snapshot too large for a record"))?;
    into.reserve(HEAD + payload.len());
    let start = into.len();
    into.extend_from_slice(&MARKER);
    for word in [salt.0, length, crc32fast::hash(payload)] {
        into.extend_from_slice(&word.to_le_bytes());
    }
    let own = crc32fast::hash(&into[start..]);
    into.extend_from_slice(&own.to_le_bytes());
    into.extend_from_slice(payload);
    Ok(())
}
