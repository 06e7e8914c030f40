//! Between the model and the file format's messages. The only room that knows prost.
//!
//! Strings, modules, frames and stacks are interned, and most snapshots are stored as the
//! difference from the one before. `Encoder` keeps what a reader knows while writing, `Decoder`
//! rebuilds it while reading. `tables` is what is stored once, `delta` a thread and what differs
//! from it. `convert` has the small conversions of both directions.
//!
//! Promises: whatever is decoded is hostile. A row number that points nowhere, an unknown enum
//! value or a malformed message is an error, never a panic. Does not frame, check or name files:
//! `store` does.

mod bundle;
mod convert;
mod decode;
mod delta;
mod encode;
mod fields;
mod index;
mod notice;
mod packed;
mod stacks;
mod summary;
mod tables;
mod thread;
mod wait_facts;
#[rustfmt::skip]
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, reason = "generated from proto/ and compared with it by a test")]
mod pb;
#[cfg(test)]
mod tests;

pub use bundle::bundled;
pub use decode::Decoder;
pub use encode::{Encoded, Encoder};
pub use index::{IndexHead, Row, Span, decode_rows, encode_rows};
pub use summary::{Peeked, peek};

use crate::model::{BundledFile, Recording, Snapshot};

/// One record of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Record {
    /// What the snapshots of the file have in common.
    Recording(Recording),
    /// One snapshot, put together from what came before it.
    Snapshot(Box<Snapshot>),
    /// A file that names are taken from.
    Bundled(Box<BundledFile>),
    /// Of a kind that a later version has added.
    Unknown,
}

/// Why a record cannot be understood, although it is whole.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each says what it is")]
pub enum Error {
    #[error("it is not a protobuf message of the format: {0}")]
    Protobuf(#[from] prost::DecodeError),
    #[error("it refers to {0} that an earlier record should have brought")]
    Dangling(&'static str),
    #[error("it would become too large to be true")]
    TooMuch,
    #[error("{0} is missing or has a value that this version does not know")]
    Unknown(&'static str),
}
