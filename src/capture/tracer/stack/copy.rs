//! Copying the stack of a thread: what is in use of it, and of those that were left or interrupted
//! for it.
//!
//! Allocates nothing: it is called while the thread is held.

use std::iter;

use nix::errno::Errno;

use super::extent::{self, Extent, Owner};
use super::goroutine;
use super::pieces::{self, OLDEST, Pieces, RESERVE};
use super::read::{PIECE, read};
use super::split_stack::{Headers, Older, Segment};
use crate::capture::protocol::StackRecord;
use crate::capture::tracer::fault::{self, Point};
use crate::proc::MemoryMap;
use crate::sys::arena::Piece;
use crate::sys::memory::ProcessMemory;
use crate::sys::ptrace::RawRegisters;

/// What is copied at most of one stack: 100,000 frames of a recursion, and all that a main thread
/// has by default. It takes some 2.5 ms to copy this much; nearly every stack in use is a
/// thousandth of it.
pub(in crate::capture) const STACK_LIMIT: usize = 8 << 20;
/// The room for one stack and what is copied of another, or for those of a few threads. A tracer of
/// a recording always has it. It is written to before the first thread is held, and below what the
/// arena keeps from one snapshot to the next: writing to fresh pages just before a stop leaves cold
/// caches for it.
pub(in crate::capture) const STACK_ROOM: usize = 12 << 20;
/// The room for a stack in a snapshot that stands alone: to write to all of the above takes longer
/// than to look at a process of a few threads. A stack that needs more is copied again.
pub(in crate::capture) const FIRST_ROOM: usize = 256 << 10;
/// This many stacks are followed that were left or interrupted one after the other.
const MOST_PIECES: usize = 4096;

/// Where a thread is, and what says where its stacks are. Of one that is read in place its stack
/// pointer alone is known.
#[derive(Clone, Copy)]
pub(in crate::capture) struct Position {
    stack_pointer: u64,
    fs_base: Option<u64>,
    /// The current `g`, if it is a thread of Go's.
    goroutine: Option<u64>,
}

impl Position {
    pub(in crate::capture) fn held(registers: &RawRegisters) -> Self {
        Self {
            stack_pointer: registers.stack_pointer(),
            fs_base: Some(registers.fs_base()),
            goroutine: Some(registers.goroutine()),
        }
    }

    /// Where the thread pointer is not known, it is on its own stack or on an unknown one.
    pub(in crate::capture) fn in_place(stack_pointer: u64, fs_base: Option<u64>) -> Self {
        Self { stack_pointer, fs_base, goroutine: None }
    }
}

/// What is to be copied of a thread's stacks.
#[derive(Clone, Copy)]
pub(in crate::capture) struct StackPlan {
    position: Position,
    used: Extent,
    /// Whether Go may have left another stack for this one.
    is_go: bool,
    owner: Owner,
    /// The oldest part of the thread's own stack, and how long all of it is, where the stack
    /// pointer is on another one.
    own: Option<(Extent, u64)>,
    /// The segment that the stack pointer lies in, where gcc has split the stack.
    segment: Option<Segment>,
}

/// Where in a buffer the pieces of a stack lie.
pub(in crate::capture) struct StackCopy {
    used: Extent,
    read: Result<usize, Errno>,
    /// How much the other pieces take: of the stacks that a signal interrupted or that were left,
    /// one after the other, of the thread's own one, or the oldest part of the first.
    pieces: usize,
    left_out: u64,
}

impl StackPlan {
    /// What is in use of the stack, in at most this many bytes. Without `fs_base` it is unknown
    /// which is the thread's own. Of a program of Go's, its memory says where a goroutine's ends.
    pub(in crate::capture) fn new(
        map: &MemoryMap,
        memory: Option<&ProcessMemory>,
        is_go: bool,
        owner: Owner,
        position: Position,
        limit: usize,
    ) -> Self {
        let Position { stack_pointer, fs_base, goroutine } = position;
        let own = fs_base.and_then(|fs_base| extent::own_stack(map, owner, stack_pointer, fs_base, OLDEST));
        let elsewhere = fs_base.filter(|_| own.is_some() && !is_go).zip(memory);
        let segment =
            elsewhere.and_then(|(fs_base, memory)| Headers::new(memory, || true).holding(map, fs_base, stack_pointer));
        let told = match segment {
            Some(segment) => extent::left(map, segment.in_use(stack_pointer).left(), fs_base, limit),
            None => {
                let go = memory.filter(|_| is_go);
                let end = go.and_then(|memory| goroutine::end(memory, goroutine, stack_pointer));
                end.and_then(|end| extent::until(map, stack_pointer, end, limit))
            }
        };
        let used = told.unwrap_or_else(|| extent::used(map, stack_pointer, fs_base, limit));
        Self { position, used, is_go, owner, own, segment }
    }

    /// How large a buffer it takes at most. With a smaller one less is copied.
    pub(in crate::capture) fn length(
        &self,
        map: &MemoryMap,
        memory: &ProcessMemory,
        in_time: impl Fn() -> bool,
    ) -> usize {
        let pieces = match (self.segment, self.own) {
            (Some(segment), _) => {
                let headers = Headers::new(memory, in_time);
                let older = iter::successors(headers.older(&segment), |older| headers.older(&older.segment?));
                let length = |older: Older| self.extent(map, &older).map_or(0, |extent| extent.length + pieces::HEADER);
                older.map(length).fold(0, usize::saturating_add)
            }
            // How much of its own stack is in use will be known when the other one has been copied.
            (None, Some((_, whole))) => usize::try_from(whole).unwrap_or(STACK_LIMIT),
            (None, None) if self.used.left_out > 0 || self.used.length > PIECE || self.is_go => OLDEST,
            (None, None) => return self.used.length,
        };
        self.used.length + pieces.min(STACK_LIMIT) + pieces::HEADER + RESERVE
    }

    /// Copies it to the beginning of a buffer, for as long as there is time.
    pub(in crate::capture) fn copy(
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
        let mut pieces = Pieces::new(memory, rest);
        if !self.follow(map, memory, first, &mut pieces, &in_time)
            && let Some(other) = self.other(map, memory, first, &used, pieces.room(), &in_time)
        {
            // Without it the walk ends where the stacks were switched or the piece does, and says
            // so.
            pieces.put(other, &in_time);
        }
        let (pieces, left_out) = pieces.finish();
        StackCopy { used, read: copied, pieces, left_out: used.left_out.saturating_add(left_out) }
    }

    /// Copies what is in use of the stacks that were left for the one that the thread is on, or
    /// that a signal has interrupted, one after the other. False if there is none.
    fn follow(
        &self,
        map: &MemoryMap,
        memory: &ProcessMemory,
        first: &[u8],
        pieces: &mut Pieces<'_>,
        in_time: &impl Fn() -> bool,
    ) -> bool {
        let headers = Headers::new(memory, in_time);
        let mut here = Older { from: self.position.stack_pointer, segment: self.segment };
        for number in 0..MOST_PIECES {
            let older = match here.segment {
                Some(segment) => headers.older(&segment),
                None => {
                    let copied = if number == 0 { first } else { pieces.last() };
                    self.interrupted(map, &headers, here.from, copied)
                }
            };
            let Some((older, extent)) = older.and_then(|older| Some((older, self.extent(map, &older)?))) else {
                pieces.add_oldest();
                return number > 0;
            };
            pieces.add_next(extent, in_time);
            here = older;
        }
        true
    }

    /// What is in use of a stack that was left or interrupted.
    fn extent(&self, map: &MemoryMap, older: &Older) -> Option<Extent> {
        extent::left(map, older.left(), self.position.fs_base, usize::MAX)
    }

    /// The stack that a signal has interrupted, whose handler is on another one with this stack
    /// pointer.
    fn interrupted(
        &self,
        map: &MemoryMap,
        headers: &Headers<'_, impl Fn() -> bool>,
        stack_pointer: u64,
        copied: &[u8],
    ) -> Option<Older> {
        let Position { fs_base, .. } = self.position;
        let is_elsewhere = |fs_base| extent::own_stack(map, self.owner, stack_pointer, fs_base, OLDEST).is_some();
        if !fs_base.is_none_or(is_elsewhere) {
            return None;
        }
        let interrupted = extent::interrupted_stack_pointer(map, copied, stack_pointer)?;
        let segment = fs_base.filter(|_| !self.is_go).and_then(|fs_base| headers.holding(map, fs_base, interrupted));
        Some(match segment {
            Some(segment) => segment.in_use(interrupted),
            None => Older { from: extent::used(map, interrupted, fs_base, usize::MAX).start.0, segment: None },
        })
    }

    /// What else is to be copied of a thread that has left no stack in a way that can be known
    /// without knowing what it runs.
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

impl StackCopy {
    /// Whether more would have been copied, or might have been, to a larger buffer than this many
    /// bytes.
    pub(in crate::capture) fn lacked_room(&self, size: usize) -> bool {
        self.left_out > 0 || self.length() + OLDEST + RESERVE > size
    }

    /// How much of the buffer it takes.
    pub(in crate::capture) fn length(&self) -> usize {
        self.read.unwrap_or(0) + self.pieces
    }

    /// Where the pieces are, given where the beginning of the buffer is.
    pub(in crate::capture) fn record(&self, kept: Piece) -> Result<StackRecord, Errno> {
        let length = self.read? as u64;
        let bytes = Piece { offset: kept.offset, length };
        let pieces = Piece { offset: kept.offset + length, length: self.pieces as u64 };
        Ok(StackRecord { start: self.used.start.0, bytes, left_out: self.left_out, pieces })
    }
}
