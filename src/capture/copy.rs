//! Copying the stack of a thread: what is in use of it, and of a second one where there is one.
//!
//! Allocates nothing: it is called while the thread is held.

use nix::errno::Errno;

use super::extent::{self, Extent, Owner, UNKNOWN_EXTENT};
use super::fault::{self, Point};
use super::goroutine;
use super::protocol::StackRecord;
use crate::proc::MemoryMap;
use crate::sys::arena::Piece;
use crate::sys::memory::ProcessMemory;
use crate::sys::ptrace::RawRegisters;

/// What is copied at most of one stack: 100,000 frames of a recursion, and all that a main thread has by default. It takes
/// some 2.5 ms to copy so much; nearly every stack in use is a thousandth of it.
pub(super) const STACK_LIMIT: usize = 8 << 20;
/// The room that a tracer always has, for one stack and what is copied of another, or for those of a few threads. It is
/// written to when the tracer begins, and below what the arena keeps from one snapshot to the next: writing to fresh pages
/// just before a stop leaves cold caches for it.
pub(super) const STACK_ROOM: usize = 12 << 20;
/// What is copied of another stack than the one in use, where nobody knows how much of it is.
const OTHER_STACK: usize = UNKNOWN_EXTENT as usize;
/// A longer stack is copied piece by piece, for as long as there is time.
const PIECE: usize = 1 << 20;

/// Where a thread is, and what tells where its stacks are. Of one that is read in place its stack pointer alone is known.
#[derive(Clone, Copy)]
pub(super) struct Position {
    stack_pointer: u64,
    fs_base: Option<u64>,
    /// The current `g`, if it is a thread of Go's.
    goroutine: Option<u64>,
}

impl Position {
    pub(super) fn held(registers: &RawRegisters) -> Self {
        Self {
            stack_pointer: registers.stack_pointer(),
            fs_base: Some(registers.fs_base()),
            goroutine: Some(registers.goroutine()),
        }
    }

    pub(super) fn in_place(stack_pointer: u64) -> Self {
        Self { stack_pointer, fs_base: None, goroutine: None }
    }
}

/// What is to be copied of a thread's stacks.
#[derive(Clone, Copy)]
pub(super) struct StackPlan {
    position: Position,
    used: Extent,
    /// Whether Go may have left another stack for this one.
    is_go: bool,
    /// The oldest part of the thread's own stack, and how long all of it is, where the stack pointer is on another one.
    own: Option<(Extent, u64)>,
}

/// Where in a buffer the pieces of a stack lie.
pub(super) struct StackCopy {
    used: Extent,
    read: Result<usize, Errno>,
    /// The stack that a signal interrupted, that Go has left, the thread's own one, or the oldest part of the first.
    other: Option<(Extent, usize)>,
}

impl StackPlan {
    /// What is in use of the stack, in at most so many bytes. Without `fs_base` nobody knows which is the thread's own. Of a
    /// program of Go's, its memory tells where a goroutine's ends.
    pub(super) fn new(
        map: &MemoryMap,
        go: Option<&ProcessMemory>,
        owner: Owner,
        position: Position,
        limit: usize,
    ) -> Self {
        let Position { stack_pointer, fs_base, goroutine } = position;
        let end = go.and_then(|memory| goroutine::end(memory, goroutine, stack_pointer));
        let told = end.and_then(|end| extent::until(map, stack_pointer, end, limit));
        let used = told.unwrap_or_else(|| extent::used(map, stack_pointer, fs_base, limit));
        let is_go = go.is_some();
        let own = fs_base.and_then(|fs_base| extent::own_stack(map, owner, stack_pointer, fs_base, OTHER_STACK));
        Self { position, used, is_go, own }
    }

    /// How large a buffer it takes at most. With a smaller one less is copied.
    pub(super) fn length(&self) -> usize {
        let is_long = self.used.left_out > 0 || self.used.length > PIECE;
        let oldest = if is_long || self.is_go { OTHER_STACK } else { 0 };
        // How much of its own stack is in use will be known when the other one has been copied.
        self.used.length
            + self.own.map_or(oldest, |(_, whole)| STACK_LIMIT.min(usize::try_from(whole).unwrap_or(STACK_LIMIT)))
    }

    /// Copies it to the beginning of a buffer, for as long as there is time.
    pub(super) fn copy(
        self,
        map: &MemoryMap,
        memory: &ProcessMemory,
        buffer: &mut [u8],
        in_time: impl Fn() -> bool,
    ) -> StackCopy {
        let mut used = self.used;
        used.shorten(buffer.len());
        let copied = fault::at(Point::Memory).and_then(|()| read(memory, &mut used, buffer, &in_time));
        let (first, rest) = buffer.split_at_mut(copied.unwrap_or(0));
        let other = self.other(map, memory, first, &used, rest.len(), &in_time).map(|mut other| {
            // Without it the walk ends where the stacks were switched or the piece does, and says so.
            let length = read(memory, &mut other, rest, &in_time).unwrap_or(0);
            (other, length)
        });
        StackCopy { used, read: copied, other }
    }

    fn other(
        &self,
        map: &MemoryMap,
        memory: &ProcessMemory,
        copied: &[u8],
        used: &Extent,
        limit: usize,
        in_time: &impl Fn() -> bool,
    ) -> Option<Extent> {
        let Position { stack_pointer, fs_base, goroutine } = self.position;
        let elsewhere = fs_base.is_none() || self.own.is_some();
        let interrupted = match elsewhere {
            true => extent::interrupted_stack_pointer(map, copied, stack_pointer),
            false => None,
        };
        if let Some(stack_pointer) = interrupted {
            return Some(extent::used(map, stack_pointer, fs_base, limit));
        }
        let left = match self.is_go {
            true => {
                let red_zone = usize::try_from(stack_pointer.saturating_sub(used.start.0)).unwrap_or(usize::MAX);
                goroutine::left(
                    map,
                    memory,
                    goroutine,
                    stack_pointer,
                    copied.get(red_zone..).unwrap_or_default(),
                    in_time,
                )
            }
            false => None,
        };
        let own = self.own.map(|(oldest, _)| oldest).filter(|oldest| oldest.length <= limit);
        left.and_then(|left| extent::left(map, left, fs_base, limit)).or(own).or_else(|| extent::oldest(used, limit))
    }
}

/// Reads what is in use, as much of it as there is time for; `used` is shortened to that.
fn read(
    memory: &ProcessMemory,
    used: &mut Extent,
    buffer: &mut [u8],
    in_time: &impl Fn() -> bool,
) -> Result<usize, Errno> {
    let mut copied = 0;
    while copied < used.length {
        if copied > 0 && !in_time() {
            used.shorten(copied);
            break;
        }
        let piece = PIECE.min(used.length - copied);
        let here = used.start.offset(copied.cast_signed() as i64);
        match memory.read(here, &mut buffer[copied..copied + piece]) {
            Ok(length) => {
                copied += length;
                // There is no more, or none at all: the process has executed another program.
                if length < piece {
                    break;
                }
            }
            Err(errno) if copied == 0 => return Err(errno),
            Err(_) => break,
        }
    }
    Ok(copied)
}

impl StackCopy {
    /// How much of the buffer it takes.
    pub(super) fn length(&self) -> usize {
        self.read.unwrap_or(0) + self.other.map_or(0, |(_, read)| read)
    }

    /// Where the pieces are, given where the beginning of the buffer is.
    pub(super) fn record(&self, kept: Piece) -> Result<StackRecord, Errno> {
        let length = self.read? as u64;
        let other = self
            .other
            .map(|(other, read)| (other.start.0, Piece { offset: kept.offset + length, length: read as u64 }));
        let bytes = Piece { offset: kept.offset, length };
        let left_out = self.used.left_out + self.other.map_or(0, |(other, _)| other.left_out);
        Ok(StackRecord { start: self.used.start.0, bytes, left_out, other })
    }
}
