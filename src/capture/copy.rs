//! Copying the stack of a held thread.
//!
//! Allocates nothing: it is called while the thread is held.

use nix::errno::Errno;

use super::StackBytes;
use super::extent::{self, Extent, Owner};
use crate::proc::MemoryMap;
use crate::sys::memory::ProcessMemory;
use crate::sys::ptrace::RawRegisters;

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
    let read = memory.read(used.start, &mut buffer[..used.length]);
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

    /// The pieces by themselves; called when nothing is held any more.
    pub(super) fn keep(&self, buffer: &[u8]) -> Result<StackBytes, Errno> {
        let length = self.read?;
        let own = self.own.map(|(own, own_length)| (own.start.0, buffer[length..length + own_length].into()));
        Ok(StackBytes { start: self.used.start.0, bytes: buffer[..length].into(), left_out: self.used.left_out, own })
    }
}
