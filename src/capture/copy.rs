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

/// What is to be copied of a stack.
#[derive(Clone, Copy)]
pub(super) struct StackPlan {
    used: Extent,
    /// The thread's own stack, where the stack pointer is on another one.
    own: Option<Extent>,
}

/// Where in a buffer the pieces of a stack lie.
pub(super) struct StackCopy {
    plan: StackPlan,
    read: Result<usize, Errno>,
    own_read: usize,
}

impl StackPlan {
    /// What is in use of the stack, in at most so many bytes.
    pub(super) fn new(map: &MemoryMap, owner: Owner, registers: &RawRegisters, limit: usize) -> Self {
        let (stack_pointer, fs_base) = (registers.stack_pointer(), registers.fs_base());
        let used = extent::used(map, stack_pointer, Some(fs_base), limit);
        let own = extent::own_stack(map, owner, stack_pointer, fs_base, limit - used.length);
        Self { used, own }
    }

    /// How large a buffer it takes.
    pub(super) fn length(&self) -> usize {
        self.used.length + self.own.map_or(0, |own| own.length)
    }

    /// Copies it to the beginning of a buffer that is large enough.
    pub(super) fn copy(self, memory: &ProcessMemory, buffer: &mut [u8]) -> StackCopy {
        let read =
            fault::at(Point::Memory).and_then(|()| memory.read(self.used.start, &mut buffer[..self.used.length]));
        let rest = &mut buffer[read.unwrap_or(0)..];
        // Without it the walk ends where the stacks were switched, and says so.
        let own_read = self.own.map_or(0, |own| memory.read(own.start, &mut rest[..own.length]).unwrap_or(0));
        StackCopy { plan: self, read, own_read }
    }
}

impl StackCopy {
    /// How much of the buffer it takes.
    pub(super) fn length(&self) -> usize {
        self.read.unwrap_or(0) + self.own_read
    }

    /// Where the pieces are, given where the beginning of the buffer is.
    pub(super) fn record(&self, kept: Piece) -> Result<StackRecord, Errno> {
        let length = self.read? as u64;
        let own = self
            .plan
            .own
            .map(|own| (own.start.0, Piece { offset: kept.offset + length, length: self.own_read as u64 }));
        let bytes = Piece { offset: kept.offset, length };
        Ok(StackRecord { start: self.plan.used.start.0, bytes, left_out: self.plan.used.left_out, own })
    }
}
