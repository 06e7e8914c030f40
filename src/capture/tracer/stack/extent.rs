//! Which part of a stack is in use.
//!
//! From the red zone below the stack pointer to the end of the stack: the end of its mapping or,
//! where it is nearer, the thread descriptor that libc puts above a thread's stack and that the
//! thread pointer (fs_base) points at. A stack pointer in another mapping (a coroutine's stack in
//! the heap, a signal stack, a stack that has grown or been made since the map was read) gets a
//! fixed number of bytes instead.
//!
//! A thread that has switched to another stack still has its own, with the frames that were
//! interrupted; nothing says how much of it is in use before the other one is unwound, so its
//! oldest part is copied as well.
//!
//! Allocates nothing: it is called while the thread is held.

use super::goroutine::Left;
use crate::model::RuntimeAddress;
use crate::proc::{Backing, Mapping, MemoryMap};

/// Bytes below the stack pointer that a function without calls of its own may use (psABI 3.2.2).
pub(super) const RED_ZONE: u64 = 128;
/// What is copied where the end of the stack is unknown.
pub(super) const UNKNOWN_EXTENT: u64 = 64 << 10;

/// The part of a stack to copy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Extent {
    pub(super) start: RuntimeAddress,
    pub(super) length: usize,
    /// How many bytes of the stack in use lie beyond, because they are more than may be copied.
    pub(super) left_out: u64,
}

impl Extent {
    /// From there on as many bytes as are in use, at most this many.
    fn of(start: u64, in_use: u64, limit: usize) -> Self {
        let length = usize::try_from(in_use).unwrap_or(usize::MAX).min(limit);
        Self { start: RuntimeAddress(start), length, left_out: in_use - length as u64 }
    }

    /// Leaves out what goes beyond this many bytes.
    pub(super) fn shorten(&mut self, length: usize) {
        if length < self.length {
            self.left_out += (self.length - length) as u64;
            self.length = length;
        }
    }
}

/// What to copy of the stack that this stack pointer points into, at most this many bytes.
pub(super) fn used(map: &MemoryMap, stack_pointer: u64, fs_base: Option<u64>, limit: usize) -> Extent {
    let below = stack_pointer.saturating_sub(RED_ZONE);
    let descriptor = fs_base.filter(|&fs_base| fs_base > stack_pointer);
    let (start, end) = match stack_mapping(map, stack_pointer) {
        Some(mapping) => {
            let (first, last) = (mapping.range.start.0, mapping.range.end.0);
            let end = match (&mapping.backing, descriptor) {
                (_, Some(descriptor)) if descriptor < last => descriptor,
                (Backing::MainStack, _) => last,
                (Backing::Anonymous, None) if map.is_guarded(mapping.range.start) => last,
                // A stack may lie across mappings: in .bss, or where a part of it was mapped again.
                _ => {
                    let most = stack_pointer.max(first).saturating_add(UNKNOWN_EXTENT);
                    let last = if last < most { map.writable_end(mapping).0 } else { last };
                    let nearest = descriptor.filter(|descriptor| *descriptor < last);
                    nearest.unwrap_or(last).min(most)
                }
            };
            (below.max(first), end)
        }
        None => {
            let end = descriptor.filter(|descriptor| descriptor - stack_pointer <= limit as u64);
            // The page that holds the stack pointer may be the first one there is.
            let page = stack_pointer & !0xfff;
            (below.max(page), end.unwrap_or(stack_pointer.saturating_add(UNKNOWN_EXTENT)))
        }
    };
    Extent::of(start, end.saturating_sub(start), limit)
}

/// What to copy of a stack whose end something else gives; None where there is no memory
/// that it could be in.
pub(super) fn until(map: &MemoryMap, stack_pointer: u64, end: u64, limit: usize) -> Option<Extent> {
    let memory = |at: u64| map.find(RuntimeAddress(at)).filter(|mapping| !mapping.forbidden);
    let first = memory(stack_pointer)?.range.start.0;
    // The kernel may show the memory as several mappings; where there is none between them, copying
    // ends.
    memory(end.checked_sub(1)?)?;
    let start = stack_pointer.saturating_sub(RED_ZONE).max(first);
    Some(Extent::of(start, end.checked_sub(start)?, limit))
}

/// The mapping of the stack that a stack pointer belongs to: the one it points into or, where it
/// has run over, the one above the guard that it ran into.
fn stack_mapping(map: &MemoryMap, stack_pointer: u64) -> Option<&Mapping> {
    /// The kernel keeps as many bytes free below the main thread's stack (`stack_guard_gap`,
    /// mm/mmap.c).
    const GUARD_GAP: u64 = 1 << 20;
    match map.find(RuntimeAddress(stack_pointer)) {
        Some(guard) if guard.forbidden => map.find(guard.range.end).filter(|above| !above.forbidden),
        Some(mapping) => Some(mapping),
        None => {
            let above = map.iter().find(|mapping| mapping.range.start.0 > stack_pointer)?;
            let near = above.range.start.0 - stack_pointer <= GUARD_GAP;
            (above.backing == Backing::MainStack && near).then_some(above)
        }
    }
}

/// What to copy of a stack that was left for another one: from its stack pointer on.
pub(super) fn left(map: &MemoryMap, left: Left, fs_base: Option<u64>, limit: usize) -> Option<Extent> {
    let Left { stack_pointer, end } = left;
    let end = match end {
        Some(end) => end,
        None => {
            let used = used(map, stack_pointer, fs_base, limit);
            used.start.0.checked_add(used.length as u64)?
        }
    };
    let in_use = end.checked_sub(stack_pointer).filter(|in_use| *in_use > 0)?;
    Some(Extent::of(stack_pointer, in_use, limit))
}

/// The oldest part of a stack where this much was left out.
pub(super) fn oldest(used: &Extent, limit: usize) -> Option<Extent> {
    let end = used.start.0.checked_add(used.length as u64)?.checked_add(used.left_out)?;
    let length = UNKNOWN_EXTENT.min(limit as u64).min(used.left_out);
    let start = RuntimeAddress(end - length);
    (length > 0).then_some(Extent { start, length: usize::try_from(length).ok()?, left_out: 0 })
}

/// Whose stack it is: the kernel made the main thread's, libc every other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::capture) enum Owner {
    MainThread,
    OtherThread,
}

/// The thread's own stack, if its stack pointer points somewhere else: its oldest part, and how
/// long all of it is.
pub(super) fn own_stack(
    map: &MemoryMap,
    owner: Owner,
    stack_pointer: u64,
    fs_base: u64,
    limit: usize,
) -> Option<(Extent, u64)> {
    let (mapping, end) = match owner {
        Owner::MainThread => {
            let mapping = map.iter().rfind(|mapping| mapping.backing == Backing::MainStack)?;
            (mapping, mapping.range.end.0)
        }
        Owner::OtherThread => (map.find(RuntimeAddress(fs_base))?, fs_base),
    };
    // What lies right above the thread's own may be in the same mapping.
    if mapping.range.contains(&RuntimeAddress(stack_pointer)) && stack_pointer <= end {
        return None;
    }
    let whole = end.checked_sub(mapping.range.start.0)?;
    let length = UNKNOWN_EXTENT.min(limit as u64).min(whole);
    let start = RuntimeAddress(end - length);
    Some((Extent { start, length: usize::try_from(length).ok()?, left_out: 0 }, whole))
}

/// The stack pointer that a signal interrupted, of a thread whose handler runs on a stack of its
/// own.
///
/// The kernel has put a `struct ucontext` on that stack (asm-generic/ucontext.h, asm/sigcontext.h),
/// with the bounds of the signal stack, which the thread's own stack pointer lies in, eighteen
/// words before the interrupted one. That is sought here instead of unwinding to it. No contexts
/// are linked (`uc_link`).
pub(super) fn interrupted_stack_pointer(map: &MemoryMap, stack: &[u8], stack_pointer: u64) -> Option<u64> {
    /// Words from `uc_link` to `uc_stack.ss_sp`, to `uc_stack.ss_flags`, to `uc_stack.ss_size`, to
    /// `uc_mcontext.sp` and to `uc_mcontext.cs`.
    const START: usize = 1;
    const FLAGS: usize = 2;
    const SIZE: usize = 3;
    const SP: usize = 19;
    const CS: usize = 22;
    /// The selector of 64-bit code (asm/segment.h, __USER_CS).
    const USER_CODE: u16 = 0x33;
    /// SS_ONSTACK and SS_DISABLE; the bit above them all is SS_AUTODISARM.
    const KNOWN_FLAGS: u32 = 3 | 1 << 31;
    /// A signal stack that is larger is hardly one.
    const LARGEST: u64 = 1 << 30;
    let (words, _) = stack.as_chunks::<8>();
    let word = |at: usize| words.get(at).map(|bytes| u64::from_le_bytes(*bytes));
    (0..words.len()).find_map(|at| {
        let (start, flags, size) = (word(at + START)?, word(at + FLAGS)?, word(at + SIZE)?);
        let (interrupted, segment) = (word(at + SP)?, word(at + CS)? as u16);
        // The flags are half a word; the other half may not be clear.
        let plausible = word(at)? == 0
            && segment == USER_CODE
            && size <= LARGEST
            && flags as u32 & !KNOWN_FLAGS == 0
            && interrupted % 8 == 0;
        let bounds = start..start.checked_add(size)?;
        let is_frame = plausible && bounds.contains(&stack_pointer) && !bounds.contains(&interrupted);
        (is_frame && stack_mapping(map, interrupted).is_some()).then_some(interrupted)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_frame_tells_the_stack_that_it_interrupted() {
        let mut words = [7_u64; 40];
        (words[11], words[12], words[13], words[14]) = (0, 0x50000, 0, 0x2000);
        (words[30], words[33]) = (0x7ff0_0002_0000, 0x2b_0000_0000_0033);
        let stack: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        assert_eq!(interrupted_stack_pointer(&map(), &stack, 0x51000), Some(0x7ff0_0002_0000));
        assert_eq!(interrupted_stack_pointer(&map(), &stack, 0x61000), None);
        assert_eq!(interrupted_stack_pointer(&map(), &stack[..200], 0x51000), None);
        // Go's stacks, full of small numbers and addresses, have the bounds of stacks on them, too.
        words[33] = 0x2b;
        let stack: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        assert_eq!(interrupted_stack_pointer(&map(), &stack, 0x51000), None);
    }

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
    fn an_end_that_is_told_must_lie_in_memory() {
        assert_eq!(until(&map(), 0x20000, 0x60000, 1 << 20), Some(extent(0x1ff80, 0x40080, 0)));
        assert_eq!(until(&map(), 0x20000, 0x60000, 4096), Some(extent(0x1ff80, 4096, 0x3f080)));
        assert_eq!(until(&map(), 0x20000, 0x90001, 1 << 20), None);
        assert_eq!(until(&map(), 0x20000, 0x10000, 1 << 20), None);
        assert_eq!(until(&map(), 0x20000, 0, 1 << 20), None);
    }

    #[test]
    fn a_stack_goes_on_in_the_next_mapping() {
        let map = MemoryMap::parse(
            b"10000-20000 rw-p 00003000 fe:01 42                         /program\n\
              20000-24000 rw-p 00000000 00:00 0 \n\
              24000-25000 r--p 00000000 00:00 0 \n\
              30000-38000 rw-p 00000000 00:00 0 \n\
              38000-40000 rw-s 00000000 00:01 7                          /dev/zero (deleted)\n",
        )
        .expect("well-formed");
        assert_eq!(used(&map, 0x1f000, None, 1 << 20), extent(0x1ef80, 0x5080, 0));
        assert_eq!(used(&map, 0x1f000, Some(0x22000), 1 << 20), extent(0x1ef80, 0x3080, 0));
        assert_eq!(used(&map, 0x1f000, Some(0x7000_0000), 1 << 20), extent(0x1ef80, 0x5080, 0));
        assert_eq!(used(&map, 0x34000, None, 1 << 20), extent(0x33f80, 0xc080, 0));
        // No further than where nothing says where it ends.
        assert_eq!(used(&map, 0x10080, None, 1 << 20), extent(0x10000, 0x10080, 0));
    }

    #[test]
    fn a_stack_above_a_guard_ends_with_its_mapping() {
        let map = MemoryMap::parse(
            b"10000-11000 ---p 00000000 00:00 0 \n\
              11000-90000 rw-p 00000000 00:00 0 \n",
        )
        .expect("well-formed");
        assert_eq!(used(&map, 0x20000, None, 1 << 20), extent(0x1ff80, 0x70080, 0));
    }

    #[test]
    fn the_red_zone_does_not_reach_below_the_mapping() {
        assert_eq!(used(&map(), 0x10008, Some(0x10100), 1 << 20), extent(0x10000, 0x100, 0));
    }

    #[test]
    fn no_more_than_the_limit_and_the_oldest_part() {
        let cut = used(&map(), 0x20000, Some(0x80000), 4096);
        assert_eq!(cut, extent(0x1ff80, 4096, 0x5f080));
        assert_eq!(oldest(&cut, 1 << 20), Some(extent(0x70000, 0x10000, 0)));
        assert_eq!(oldest(&used(&map(), 0x20000, Some(0x21000), 1 << 20), 1 << 20), None);
    }

    #[test]
    fn a_stack_that_ran_over_begins_above_its_guard() {
        let map = MemoryMap::parse(
            b"10000-11000 ---p 00000000 00:00 0 \n\
              11000-90000 rw-p 00000000 00:00 0 \n\
              7ff000000000-7ff000021000 rw-p 00000000 00:00 0                          [stack]\n",
        )
        .expect("well-formed");
        assert_eq!(used(&map, 0x10ff8, Some(0x80000), 1 << 20), extent(0x11000, 0x6f000, 0));
        assert_eq!(used(&map, 0x7fef_ffff_fff0, Some(0x80000), 1 << 20), extent(0x7ff0_0000_0000, 0x21000, 0));
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
        assert_eq!(own, Some((extent(0x70000, 0x10000, 0), 0x70000)));
        let own = own_stack(&map(), Owner::MainThread, 0x20000, 0x80000, 4096);
        assert_eq!(own, Some((extent(0x7ff0_0002_0000, 4096, 0), 0x21000)));
    }
}
