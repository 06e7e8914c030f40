//! Copying the stack of a held thread.
//!
//! Allocates nothing: it is called while the thread is held.

use nix::errno::Errno;

use super::extent::{self, Extent, Owner};
use super::fault::{self, Point};
use super::protocol::StackRecord;
use crate::proc::MemoryMap;
use crate::sys::arena::Piece;
use crate::sys::memory::ProcessMemory;
use crate::sys::ptrace::RawRegisters;

/// What is copied at most of one stack: 1 MiB holds some 10,000 frames, and takes about 0.3 ms to copy.
pub(super) const STACK_LIMIT: usize = 1 << 20;

/// Where in a buffer the pieces of a stack lie.
pub(super) struct StackCopy {
    used: Extent,
    read: Result<usize, Errno>,
    /// The thread's own stack, where the stack pointer is on another one.
    own: Option<(Extent, usize)>,
}

/// Copies what is in use of the stack to the beginning of the buffer.
pub(super) fn stack(
    map: &MemoryMap,
    memory: &ProcessMemory,
    owner: Owner,
    registers: &RawRegisters,
    buffer: &mut [u8],
) -> StackCopy {
    let (stack_pointer, fs_base) = (registers.stack_pointer(), registers.fs_base());
    let used = extent::used(map, stack_pointer, Some(fs_base), buffer.len());
    let read = fault::at(Point::Memory).and_then(|()| memory.read(used.start, &mut buffer[..used.length]));
    let rest = &mut buffer[read.unwrap_or(0)..];
    let own = extent::own_stack(map, owner, stack_pointer, fs_base, rest.len()).map(|own| {
        // Without it the walk ends where the stacks were switched, and says so.
        let length = memory.read(own.start, &mut rest[..own.length]).unwrap_or(0);
        (own, length)
    });
    StackCopy { used, read, own }
}

impl StackCopy {
    /// How much of the buffer it takes.
    pub(super) fn length(&self) -> usize {
        self.read.unwrap_or(0) + self.own.map_or(0, |(_, length)| length)
    }

    /// Where the pieces are, given where the beginning of the buffer is.
    pub(super) fn record(&self, kept: Piece) -> Result<StackRecord, Errno> {
        let length = self.read? as u64;
        let own = self
            .own
            .map(|(own, own_length)| (own.start.0, Piece { offset: kept.offset + length, length: own_length as u64 }));
        let bytes = Piece { offset: kept.offset, length };
        Ok(StackRecord { start: self.used.start.0, bytes, left_out: self.used.left_out, own })
    }
}
