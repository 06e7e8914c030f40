//! What the two processes say to each other: an assignment through a socket, records through shared
//! memory, an outcome through the socket. Both sides are the same program, so the encoding needs no
//! versions.

use std::borrow::Cow;
use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::CaptureRequest;
use crate::model::{
    Acquired, MemoryOf, Notice, Process, ProcessId, RuntimeAddress, SystemCall, ThreadStatus, Tid, Timestamp,
};
use crate::proc::{self, BlockedCall};
use crate::sys::arena::Piece;

/// Longer than any message; a length beyond it is not one.
const MAX_MESSAGE: u32 = 64 << 20;

/// What a tracer is asked to do.
#[derive(Serialize, Deserialize)]
pub(super) struct Assignment {
    pub(super) process: ProcessId,
    pub(super) request: CaptureRequest,
    /// Which request it is of those that its maker makes.
    pub(super) number: u64,
    /// Threads that have been dealt with: by a tracer that had to be killed before it was done.
    pub(super) done: Vec<Tid>,
    /// Threads over which a tracer died: they are read in place, and held only if they never sleep.
    pub(super) suspects: Vec<Tid>,
    /// Whether memory may be read, and the memory map; a tracer before this one may have found that
    /// they cannot.
    pub(super) read_memory: bool,
    pub(super) read_map: bool,
}

/// What a tracer has found out or copied.
#[derive(Serialize, Deserialize)]
pub(super) enum TracerRecord<'a> {
    Begun(Timestamp),
    Process(Process),
    /// The text of the memory map.
    Map(Piece),
    Thread(Box<ThreadRecord<'a>>),
    Unchanged(Box<UnchangedRecord>),
    /// Memory for no thread in particular.
    Memory(MemoryRecord),
    Notice(Notice),
}

#[derive(Serialize, Deserialize)]
pub(super) struct ThreadRecord<'a> {
    pub(super) tid: Tid,
    pub(super) status: Cow<'a, ThreadStatus>,
    pub(super) acquired: Acquired,
    pub(super) context: ContextRecord,
    pub(super) stack: StackRecord,
    pub(super) memory: Vec<MemoryRecord>,
    pub(super) floating_point: Option<Piece>,
    pub(super) system_call: Option<SystemCall>,
}

/// A thread that has not run since an earlier snapshot.
#[derive(Serialize, Deserialize)]
pub(super) struct UnchangedRecord {
    pub(super) tid: Tid,
    /// What /proc says of it, where that was read again.
    pub(super) status: Option<ThreadStatus>,
    pub(super) memory: Vec<MemoryRecord>,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) enum ContextRecord {
    Full([u64; 27]),
    Blocked(BlockedCall),
    Nothing,
}

#[derive(Clone, Serialize, Deserialize, Default)]
pub(super) struct StackRecord {
    pub(super) start: u64,
    pub(super) bytes: Piece,
    pub(super) left_out: u64,
    /// Other pieces, one after the other, each after its address and its length.
    pub(super) pieces: Piece,
}

#[derive(Serialize, Deserialize)]
pub(super) struct MemoryRecord {
    pub(super) address: RuntimeAddress,
    pub(super) bytes: Piece,
    pub(super) what: MemoryOf,
}

/// How a request ended: an error says that the process cannot be looked at at all.
pub(super) type Answer = Result<(), proc::Error>;

/// Sends a message: its length, then itself.
pub(super) fn send(mut to: impl Write, message: &impl Serialize) -> io::Result<()> {
    let payload = postcard::to_stdvec(message).map_err(io::Error::other)?;
    let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
    to.write_all(&[&length.to_le_bytes()[..], &payload].concat())
}

/// Receives a message. None when the other side has gone.
pub(super) fn receive<T: DeserializeOwned>(mut from: impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    }
    let length = u32::from_le_bytes(length);
    if length > MAX_MESSAGE {
        return Err(io::Error::other("a message is too long"));
    }
    let mut payload = vec![0; length as usize];
    from.read_exact(&mut payload)?;
    postcard::from_bytes(&payload).map(Some).map_err(io::Error::other)
}
