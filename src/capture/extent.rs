//! Which part of a stack is in use.
//!
//! From the red zone below the stack pointer to the end of the stack: the end of its mapping or, where it is nearer, the
//! thread descriptor that libc puts above a thread's stack and that the thread pointer (fs_base) points at. A stack
//! pointer in another mapping (a coroutine's stack in the heap, a signal stack, a stack that has grown or been made since
//! the map was read) gets a fixed number of bytes instead.
//!
//! A thread that has switched to another stack still has its own, with the frames that were interrupted; nothing tells how
//! much of it is in use before the other one is unwound, so its oldest part is copied as well.
//!
//! Allocates nothing: it is called while the thread is held.

use crate::model::RuntimeAddress;
use crate::proc::{Backing, MemoryMap};

/// Bytes below the stack pointer that a function without calls of its own may use (psABI 3.2.2).
const RED_ZONE: u64 = 128;
/// What is copied where nothing tells the end of the stack.
const UNKNOWN_EXTENT: u64 = 64 << 10;

/// The part of a stack to copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Extent {
    pub(super) start: RuntimeAddress,
    pub(super) length: usize,
    /// How many bytes of the stack in use lie beyond, because they are more than may be copied.
    pub(super) left_out: u64,
}

/// What to copy of the stack that this stack pointer points into, at most so many bytes.
pub(super) fn used(map: &MemoryMap, stack_pointer: u64, fs_base: Option<u64>, limit: usize) -> Extent {
    let limit = limit as u64;
    let below = stack_pointer.saturating_sub(RED_ZONE);
    let descriptor = fs_base.filter(|&fs_base| fs_base > stack_pointer);
    let (start, end) = match map.find(RuntimeAddress(stack_pointer)) {
        Some(mapping) => {
            let (first, last) = (mapping.range.start.0, mapping.range.end.0);
            let end = match (&mapping.backing, descriptor) {
                (_, Some(descriptor)) if descriptor < last => descriptor,
                (Backing::MainStack, _) => last,
                _ => last.min(stack_pointer.saturating_add(UNKNOWN_EXTENT)),
            };
            (below.max(first), end)
        }
        None => {
            let end = descriptor.filter(|descriptor| descriptor - stack_pointer <= limit);
            // The page that holds the stack pointer may be the first one there is.
            let page = stack_pointer & !0xfff;
            (below.max(page), end.unwrap_or(stack_pointer.saturating_add(UNKNOWN_EXTENT)))
        }
    };
    let in_use = end.saturating_sub(start);
    let length = in_use.min(limit);
    Extent {
        start: RuntimeAddress(start),
        // It is no more than the limit, which was a usize.
        length: usize::try_from(length).unwrap_or(usize::MAX),
        left_out: in_use - length,
    }
}

/// Whose stack it is: the kernel made the main thread's, libc every other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Owner {
    MainThread,
    OtherThread,
}

/// The oldest part of the thread's own stack, if its stack pointer points somewhere else.
pub(super) fn own_stack(
    map: &MemoryMap,
    owner: Owner,
    stack_pointer: u64,
    fs_base: u64,
    limit: usize,
) -> Option<Extent> {
    let (mapping, end) = match owner {
        Owner::MainThread => {
            let mapping = map.iter().rfind(|mapping| mapping.backing == Backing::MainStack)?;
            (mapping, mapping.range.end.0)
        }
        Owner::OtherThread => (map.find(RuntimeAddress(fs_base))?, fs_base),
    };
    if mapping.range.contains(&RuntimeAddress(stack_pointer)) {
        return None;
    }
    let length = UNKNOWN_EXTENT.min(limit as u64).min(end.checked_sub(mapping.range.start.0)?);
    let start = RuntimeAddress(end - length);
    Some(Extent { start, length: usize::try_from(length).ok()?, left_out: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extent(start: u64, length: usize, left_out: u64) -> Extent {
        Extent { start: RuntimeAddress(start), length, left_out }
    }

    fn map() -> MemoryMap {
        MemoryMap::parse(
            b"10000-90000 rw-p 00000000 00:00 0 \n\
              7ff000000000-7ff000021000 rw-p 00000000 00:00 0                          [stack]\n",
        )
        .expect("well-formed")
    }

    #[test]
    fn a_thread_stack_ends_at_the_thread_pointer() {
        assert_eq!(used(&map(), 0x20000, Some(0x21000), 1 << 20), extent(0x1ff80, 0x1080, 0));
    }

    #[test]
    fn the_main_stack_ends_with_its_mapping() {
        let sp = 0x7ff0_0002_0000;
        assert_eq!(used(&map(), sp, Some(0x10100), 1 << 20), extent(sp - 128, 0x1080, 0));
    }

    #[test]
    fn a_stack_without_known_end_gets_a_fixed_part() {
        assert_eq!(used(&map(), 0x20000, None, 1 << 20), extent(0x1ff80, 0x10080, 0));
    }

    #[test]
    fn the_red_zone_does_not_reach_below_the_mapping() {
        assert_eq!(used(&map(), 0x10008, Some(0x10100), 1 << 20), extent(0x10000, 0x100, 0));
    }

    #[test]
    fn no_more_than_the_limit() {
        assert_eq!(used(&map(), 0x20000, Some(0x80000), 4096), extent(0x1ff80, 4096, 0x5f080));
    }

    #[test]
    fn a_thread_on_its_own_stack_has_no_other() {
        assert_eq!(own_stack(&map(), Owner::OtherThread, 0x20000, 0x80000, 1 << 20), None);
        assert_eq!(own_stack(&map(), Owner::MainThread, 0x7ff0_0002_0000, 0x80000, 1 << 20), None);
    }

    #[test]
    fn a_thread_on_a_signal_stack_has_its_own_too() {
        let signal_stack = 0x7ff0_0000_1000;
        let own = own_stack(&map(), Owner::OtherThread, signal_stack, 0x80000, 1 << 20);
        assert_eq!(own, Some(extent(0x70000, 0x10000, 0)));
        let own = own_stack(&map(), Owner::MainThread, 0x20000, 0x80000, 4096);
        assert_eq!(own, Some(extent(0x7ff0_0002_0000, 4096, 0)));
    }
}
