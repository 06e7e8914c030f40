//! The buffer that stacks are copied into while their threads are held.
//!
//! Page faults in the receiving buffer cost more than the copying itself, so every page is written to beforehand and the
//! buffer is kept from one snapshot to the next.

/// What is copied at most of one stack: 1 MiB holds some 10,000 frames, and takes about 0.3 ms to copy.
pub(super) const STACK_LIMIT: usize = 1 << 20;
/// What is set aside for each thread where all are held at once. Used stacks are rarely more than a few KiB; a deeper one
/// may use what shallow ones leave.
const SHARE_PER_THREAD: usize = 32 << 10;
const ARENA_LIMIT: usize = 512 << 20;

/// Memory that has been written to, ready to be copied into.
#[derive(Default)]
pub struct Arena {
    buffer: Vec<u8>,
}

impl Arena {
    /// Room for one stack.
    pub(super) fn one(&mut self) -> &mut [u8] {
        self.touch(STACK_LIMIT)
    }

    /// Room for the stacks of so many threads held together.
    pub(super) fn many(&mut self, threads: usize) -> &mut [u8] {
        self.touch(threads.saturating_mul(SHARE_PER_THREAD).saturating_add(STACK_LIMIT).min(ARENA_LIMIT))
    }

    fn touch(&mut self, size: usize) -> &mut [u8] {
        if self.buffer.len() < size {
            // A buffer of zeroes would be handed out by the kernel untouched; one of ones has been written to.
            self.buffer = vec![1; size];
        }
        &mut self.buffer[..size]
    }
}
