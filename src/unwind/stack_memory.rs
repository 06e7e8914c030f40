//! What was copied of a thread's stacks, as a walk reads it.
//!
//! A thread may have more than one: the one it is on, those that were left or interrupted for it,
//! its own. Promises: an address that was not copied has no word. It does not know how the pieces
//! came to be (`capture`).

use std::iter;
use std::ops::Range;

use crate::model::{MemoryPiece, RuntimeAddress};

/// The pieces of a thread's stacks that were copied, the newest first: of the one it is on, of
/// those that were left or interrupted for it, of its own, or the oldest part of what is too long
/// to be copied whole.
#[derive(Clone, Copy)]
pub struct StackMemory<'a> {
    newest: (u64, &'a [u8]),
    others: &'a [MemoryPiece],
    /// How many bytes were left out before the last piece: after the newest or, where there is an
    /// empty one before it, from there on.
    left_out: u64,
}

impl<'a> StackMemory<'a> {
    /// A stack in one piece, which begins at this address.
    pub fn new(start: RuntimeAddress, bytes: &'a [u8]) -> Self {
        Self { newest: (start.0, bytes), others: &[], left_out: 0 }
    }

    /// The same with other pieces.
    pub fn with_pieces(self, others: &'a [MemoryPiece]) -> Self {
        Self { others, ..self }
    }

    /// The same, where this many bytes before the last piece were left out.
    pub fn without(self, left_out: u64) -> Self {
        Self { left_out, ..self }
    }

    #[inline]
    pub(super) fn pieces(&self) -> impl Iterator<Item = (u64, &'a [u8])> {
        iter::once(self.newest).chain(self.others.iter().map(|piece| (piece.address.0, &*piece.bytes)))
    }

    /// The words of the oldest part, if this address lies in what was left out before it, and how
    /// many bytes are missing from there on.
    pub(super) fn oldest_behind(&self, missing: u64) -> Option<(Range<u64>, u64)> {
        let (oldest, before) = self.others.split_last().filter(|(oldest, _)| !oldest.bytes.is_empty())?;
        let start = oldest.address.0;
        let from = match before.last() {
            Some(hole) if hole.bytes.is_empty() => hole.address.0,
            _ => start.wrapping_sub(self.left_out),
        };
        let bytes = self.left_out.checked_sub(missing.wrapping_sub(from))?;
        let aligned = start.checked_next_multiple_of(8)?;
        Some((aligned..start.saturating_add(oldest.bytes.len() as u64), bytes))
    }

    /// Where the second piece begins.
    pub(super) fn other(&self) -> Option<u64> {
        self.others.first().filter(|piece| !piece.bytes.is_empty()).map(|piece| piece.address.0)
    }

    /// Where the stack begins that was left for the one that a stack pointer is in.
    pub(super) fn left_for(&self, stack_pointer: u64) -> Option<u64> {
        Some(self.others.get(self.piece(stack_pointer)?)?.address.0)
    }

    /// The number of the piece that a stack pointer is in, or at the end of.
    pub(super) fn piece(&self, stack_pointer: u64) -> Option<usize> {
        self.pieces().position(|(start, bytes)| {
            stack_pointer.checked_sub(start).is_some_and(|offset| offset <= bytes.len() as u64)
        })
    }

    /// Whether one stack pointer is further out than another: higher up or, where stacks were
    /// changed, in a piece further back.
    pub(super) fn is_outward(&self, inner: u64, outer: u64) -> bool {
        match (self.piece(inner), self.piece(outer)) {
            (Some(from), Some(to)) if from != to => from < to,
            _ => inner < outer,
        }
    }

    /// The `N` bytes at this address, if they were copied.
    #[inline]
    pub(super) fn read<const N: usize>(&self, address: u64) -> Option<[u8; N]> {
        self.pieces().find_map(|(start, bytes)| {
            let offset = usize::try_from(address.checked_sub(start)?).ok()?;
            bytes.get(offset..)?.first_chunk().copied()
        })
    }

    /// From this address to the end of the piece that it lies in.
    pub(super) fn from(&self, address: u64) -> Option<Range<u64>> {
        self.pieces().find_map(|(start, bytes)| {
            let end = start.saturating_add(bytes.len() as u64);
            (start <= address && address < end).then_some(address..end)
        })
    }

    #[inline]
    pub(super) fn word(&self, address: u64) -> Option<u64> {
        self.read(address).map(u64::from_le_bytes)
    }
}
