//! A message that is put together field by field: what it has many of is encoded as soon as it is
//! known, while it is in the CPU's caches, and nothing is kept of it but its bytes.
//!
//! Fields may come in any order, and one that is repeated may come in between others (protobuf.dev,
//! "Encoding"). A message that prost encodes has to be there as a whole, which is why the numbers
//! of some fields are here. What is written with wrong ones is not what is read: tests of this room
//! read all that is written.

use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint, message};

/// The kinds of `Record`.
pub(super) const RECORDING: u32 = 1;
pub(super) const SNAPSHOT: u32 = 2;
pub(super) const CHANGE: u32 = 4;
/// Of `Snapshot` and of `Change`.
pub(super) const TABLES: u32 = 7;
/// Of `Snapshot`.
pub(super) const THREADS: u32 = 9;
/// Of `Change`.
pub(super) const NEW_THREADS: u32 = 14;
pub(super) const CHANGED_THREADS: u32 = 15;
/// Of `Tables`.
pub(super) const STRINGS: u32 = 2;
pub(super) const MODULES: u32 = 4;
pub(super) const FRAMES: u32 = 6;
pub(super) const STACKS: u32 = 8;
pub(super) const CHUNKS: u32 = 10;
pub(super) const NAMES: u32 = 11;

/// The fields of a message so far.
#[derive(Default)]
pub(super) struct Fields(Vec<u8>);

impl Fields {
    /// Adds a field that is a message.
    pub(super) fn message(&mut self, field: u32, message: &impl Message) {
        message::encode(field, message, &mut self.0);
    }

    /// Adds a field that is a string, bytes, or a message with these fields.
    pub(super) fn bytes(&mut self, field: u32, bytes: &[u8]) {
        put_head(field, bytes.len(), &mut self.0);
        self.0.extend_from_slice(bytes);
    }

    /// Adds the fields that this message has.
    pub(super) fn all_of(&mut self, message: &impl Message) {
        self.0.extend(message.encode_to_vec());
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Puts what comes before this many bytes of a field after what is there.
pub(super) fn put_head(field: u32, length: usize, to: &mut Vec<u8>) {
    encode_key(field, WireType::LengthDelimited, to);
    encode_varint(length as u64, to);
}
