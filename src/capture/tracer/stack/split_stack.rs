//! A stack in segments, as gcc's -fsplit-stack makes it: where it goes on after the segment that a
//! thread is on.
//!
//! A function that finds too little room calls libgcc's __morestack, which goes on in a piece of
//! memory of its own and keeps at its beginning which segment came before and where its stack was
//! left (libgcc/generic-morestack.c). A word of the thread's descriptor, which every such function
//! compares the stack pointer with, lies in the first page of the segment in use; it is zero in
//! other programs, and nothing more is read of them. A header is believed where it cannot be
//! mistaken: the segment before, if there is one, points back at it, it ends with a page, and the
//! stack pointer lies within.
//!
//! Before the oldest segment comes the thread's own stack, which has no header, or a signal's;
//! before a coroutine's comes none.
//!
//! Allocates nothing, and looks at a bounded number of headers: few to find the segment in use, and
//! those after it for as long as there is time. It is called while the thread is held.

use std::cell::Cell;
use std::iter;

use super::extent::{Owner, RED_ZONE};
use super::goroutine::Left;
use crate::model::{RuntimeAddress, Tid};
use crate::proc::{Backing, MemoryMap};
use crate::sys::memory::ProcessMemory;
use crate::sys::robust;

const PAGE: u64 = 4096;
/// Where the word lies that functions compare with, from the thread pointer
/// (gcc/config/i386/gnu-user64.h, glibc's tcbhead_t).
const GUARD: u64 = 0x70;
/// Bytes before those of the stack itself.
const HEADER: u64 = 7 * 8;
/// A segment that is larger is hardly one.
const LARGEST: u64 = 1 << 40;
/// What __morestack and arguments may take of a segment while the word is another's.
const NEW: u64 = 256;
/// Pages below the stack pointer that are looked at for a header. What calls code that does not
/// split its stack gets a mebibyte.
const MOST_PAGES: u64 = 320;
/// How many headers are looked at for one thread. It takes a microsecond each time.
const MOST_LOOKS: usize = 8192;
/// How many segments further back the one in use is sought: who has jumped out of more has a stack
/// that goes on nowhere.
const MOST_BACK: usize = 64;

/// One segment, and how it came to be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Segment {
    at: u64,
    end: u64,
    previous: u64,
    next: u64,
    /// Where the arguments lie of the function that did not find enough room: the CFA of
    /// __morestack's frame.
    left_at: u64,
}

/// A stack that was left or interrupted: what is in use of it begins there. Where it is a segment,
/// its end is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Older {
    pub(super) from: u64,
    pub(super) segment: Option<Segment>,
}

impl Older {
    pub(super) fn left(&self) -> Left {
        Left { stack_pointer: self.from, end: self.segment.map(|segment| segment.end) }
    }
}

/// Looks at the headers of a thread, for as long as there is time.
pub(super) struct Headers<'a, InTime> {
    memory: &'a ProcessMemory,
    in_time: InTime,
    looks: Cell<usize>,
}

impl Segment {
    /// What is in use of it with this stack pointer and the red zone below.
    pub(super) fn in_use(self, stack_pointer: u64) -> Older {
        let from = stack_pointer.saturating_sub(RED_ZONE).max(self.at + HEADER);
        Older { from, segment: Some(self) }
    }

    fn holds(&self, stack_pointer: u64) -> bool {
        // Where the function that was called has no arguments on the stack, it is left empty.
        self.at + HEADER <= stack_pointer && stack_pointer <= self.end
    }
}

impl<'a, InTime: Fn() -> bool> Headers<'a, InTime> {
    pub(super) fn new(memory: &'a ProcessMemory, in_time: InTime) -> Self {
        Self { memory, in_time, looks: Cell::new(0) }
    }

    fn words<const N: usize>(&self, at: u64) -> Option<[u64; N]> {
        let may_go_on = self.looks.get() < MOST_LOOKS && (self.in_time)();
        may_go_on.then_some(())?;
        self.looks.set(self.looks.get() + 1);
        words(self.memory, at)
    }

    /// The segment whose header lies there, if one does.
    fn read(&self, at: u64) -> Option<Segment> {
        if at == 0 || !at.is_multiple_of(PAGE) {
            return None;
        }
        let [previous, next, size, left_at] = self.words(at)?;
        let end = at.checked_add(HEADER)?.checked_add(size).filter(|end| end.is_multiple_of(PAGE))?;
        let is_one = (1..=LARGEST).contains(&size)
            && left_at.is_multiple_of(8)
            && !(at..end).contains(&left_at)
            && previous != at
            && (previous == 0 || self.words(previous.checked_add(8)?) == Some([at]));
        is_one.then_some(Segment { at, end, previous, next, left_at })
    }

    /// The segment that a stack pointer lies in, of the thread with this thread pointer.
    pub(super) fn holding(&self, map: &MemoryMap, fs_base: u64, stack_pointer: u64) -> Option<Segment> {
        let [guard] = self.words(fs_base.checked_add(GUARD)?).filter(|words| words != &[0])?;
        let known = self.read(guard & !(PAGE - 1));
        if let Some(known) = known.filter(|known| known.holds(stack_pointer)) {
            return Some(known);
        }
        // After a jump out of it, or an exception, an older one is in use. And __morestack sets the
        // word just after it has changed to a segment, or just before it leaves one.
        let next = known.and_then(|known| self.read(known.next)).filter(|next| next.holds(stack_pointer));
        next.or_else(|| known.and_then(|known| self.before(&known, stack_pointer)))
            .or_else(|| self.below(map, stack_pointer))
    }

    /// The one that a stack pointer lies in, of those before this one.
    fn before(&self, segment: &Segment, stack_pointer: u64) -> Option<Segment> {
        let back = iter::successors(Some(*segment), |here| self.read(here.previous));
        back.skip(1).take(MOST_BACK).find(|here| here.holds(stack_pointer))
    }

    /// The one that begins with a page below a stack pointer and holds it, with next to nothing in
    /// it.
    fn below(&self, map: &MemoryMap, stack_pointer: u64) -> Option<Segment> {
        let last = stack_pointer.checked_sub(1).filter(|last| PAGE - last % PAGE <= NEW)?;
        let mapping = map.find(RuntimeAddress(last))?;
        let page = last & !(PAGE - 1);
        (0..MOST_PAGES)
            .map_while(|pages| page.checked_sub(pages * PAGE).filter(|at| mapping.range.start.0 <= *at))
            .find_map(|at| self.read(at).filter(|segment| segment.holds(stack_pointer)))
    }

    /// The stack that was left for this segment. __morestack's frame lies at its newest end: a
    /// frame pointer, and two return addresses above. None where nothing was left.
    pub(super) fn older(&self, segment: &Segment) -> Option<Older> {
        const SAVED: u64 = 3 * 8;
        let from = segment.left_at.checked_sub(SAVED)?;
        Some(Older { from, segment: self.before(segment, from) })
    }
}

fn words<const N: usize>(memory: &ProcessMemory, at: u64) -> Option<[u64; N]> {
    let mut bytes = [[0; 8]; N];
    let room = bytes.as_flattened_mut();
    (memory.read(RuntimeAddress(at), room) == Ok(room.len())).then(|| bytes.map(u64::from_le_bytes))
}

/// The thread pointer of a thread that is not held and whose stack pointer is not where its own
/// stack is: that of glibc's descriptor, in which the list of robust locks lies. It begins with its
/// own address, and has it again as its third word.
pub(in crate::capture) fn thread_pointer(
    map: &MemoryMap,
    memory: &ProcessMemory,
    tid: Tid,
    owner: Owner,
    stack_pointer: u64,
) -> Option<u64> {
    /// `offsetof (struct pthread, robust_head)` (glibc, nptl/descr.h).
    const ROBUST_LIST: u64 = 0x2e0;
    let here = map.find(RuntimeAddress(stack_pointer))?;
    if owner == Owner::MainThread && here.backing == Backing::MainStack {
        return None;
    }
    let pointer = robust::robust_list_head(tid)?.checked_sub(ROBUST_LIST)?;
    // A segment of the main thread's may lie right below its descriptor.
    let is_own =
        owner == Owner::OtherThread && stack_pointer < pointer && here.range.contains(&RuntimeAddress(pointer));
    let is_descriptor = || words(memory, pointer).is_some_and(|[own, _, again]| own == pointer && again == pointer);
    (!is_own && is_descriptor()).then_some(pointer)
}

#[cfg(test)]
mod tests;
