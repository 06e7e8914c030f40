//! The other pieces of a stack than the newest, as they are copied into a buffer: one after the
//! other, each after its address and its length. However many there are, they take no other
//! memory.
//!
//! Allocates nothing: it is called while the thread is held.

use super::extent::{self, Extent, UNKNOWN_EXTENT};
use super::read::read;
use crate::sys::memory::ProcessMemory;

/// What lies before each piece.
pub(super) const HEADER: usize = 16;
/// What is copied of a stack where it is unknown how much is in use, and of the oldest where not
/// all are copied.
pub(super) const OLDEST: usize = UNKNOWN_EXTENT as usize;
/// Room for the oldest, and for the mark of what was left out before it.
pub(super) const RESERVE: usize = OLDEST + 2 * HEADER;

/// A buffer, and what was copied to it.
pub(super) struct Pieces<'a> {
    memory: &'a ProcessMemory,
    buffer: &'a mut [u8],
    taken: usize,
    /// Where the bytes of the last piece begin.
    last: usize,
    left_out: u64,
    /// The last of those that were left out, as far as that was not copied.
    oldest: Option<Extent>,
}

impl<'a> Pieces<'a> {
    pub(super) fn new(memory: &'a ProcessMemory, buffer: &'a mut [u8]) -> Self {
        Self { memory, buffer, taken: 0, last: 0, left_out: 0, oldest: None }
    }

    /// How much may be added yet.
    pub(super) fn room(&self) -> usize {
        self.buffer.len().saturating_sub(self.taken + HEADER)
    }

    /// The bytes of the last piece.
    pub(super) fn last(&self) -> &[u8] {
        &self.buffer[self.last..self.taken]
    }

    /// How much of the buffer is taken, and how many bytes were left out.
    pub(super) fn finish(self) -> (usize, u64) {
        (self.taken, self.left_out)
    }

    /// Copies the next of several that follow one another, the newest first. When the room or the
    /// time is up, no more are.
    pub(super) fn add_next(&mut self, mut piece: Extent, in_time: &impl Fn() -> bool) {
        let is_full = self.oldest.is_some();
        piece.shorten(if is_full || !in_time() { 0 } else { self.room().saturating_sub(RESERVE) });
        let piece = self.put(piece, in_time);
        if piece.left_out > 0 {
            self.oldest = Some(piece);
            if !is_full {
                // What was left out begins here.
                let start = piece.start.offset(piece.length.cast_signed() as i64);
                self.put(Extent { start, length: 0, left_out: 0 }, in_time);
            }
        }
    }

    /// Copies what is oldest of what was left out.
    pub(super) fn add_oldest(&mut self) {
        if let Some(oldest) = self.oldest.take().and_then(|left_out| extent::oldest(&left_out, OLDEST)) {
            self.left_out = self.left_out.saturating_sub(oldest.length as u64);
            self.put(oldest, &|| true);
        }
    }

    /// Copies a piece after those before, as much of it as there is room and time for, and returns
    /// what that was.
    pub(super) fn put(&mut self, mut piece: Extent, in_time: &impl Fn() -> bool) -> Extent {
        piece.shorten(self.room());
        if let Some((header, bytes)) = self.buffer[self.taken..].split_at_mut_checked(HEADER)
            && (piece.length > 0 || piece.left_out == 0)
        {
            let length = read(self.memory, &mut piece, bytes, in_time).unwrap_or(0);
            header[..8].copy_from_slice(&piece.start.0.to_le_bytes());
            header[8..].copy_from_slice(&(length as u64).to_le_bytes());
            self.last = self.taken + HEADER;
            self.taken = self.last + length;
        }
        self.left_out = self.left_out.saturating_add(piece.left_out);
        piece
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{RuntimeAddress, Tid};

    /// What was copied of each piece: where it begins, and its bytes.
    fn copied(mut buffer: &[u8]) -> Vec<(u64, &[u8])> {
        let mut pieces = Vec::new();
        while let Some((start, rest)) = buffer.split_first_chunk() {
            let (length, rest) = rest.split_first_chunk().expect("a length");
            let (bytes, rest) = rest.split_at(u64::from_le_bytes(*length) as usize);
            pieces.push((u64::from_le_bytes(*start), bytes));
            buffer = rest;
        }
        pieces
    }

    #[test]
    fn of_more_pieces_than_there_is_room_for_the_newest_and_the_oldest_are_copied() {
        let memory = ProcessMemory::open(Tid(nix::unistd::gettid().as_raw()));
        let stacks: Vec<Vec<u8>> = (1..=5).map(|number| vec![number; 100 << 10]).collect();
        let mut buffer = vec![0; (250 << 10) + RESERVE];
        let mut pieces = Pieces::new(&memory, &mut buffer);
        for stack in &stacks {
            let start = RuntimeAddress(stack.as_ptr().addr() as u64);
            pieces.add_next(Extent { start, length: stack.len(), left_out: 0 }, &|| true);
        }
        pieces.add_oldest();
        let (taken, left_out) = pieces.finish();
        let pieces = copied(&buffer[..taken]);
        let third = (250 << 10) - 2 * (100 << 10) - 3 * HEADER;
        let lengths: Vec<usize> = pieces.iter().map(|(_, bytes)| bytes.len()).collect();
        assert_eq!(lengths, [100 << 10, 100 << 10, third, 0, OLDEST]);
        let hole = stacks[2][third..].as_ptr().addr() as u64;
        assert_eq!((pieces[3].0, pieces[4].0), (hole, stacks[4][(100 << 10) - OLDEST..].as_ptr().addr() as u64));
        assert_eq!(left_out as usize, 300 * 1024 - third - OLDEST);
        assert!([0, 1, 2, 4].iter().all(|piece| pieces[*piece].1.iter().all(|byte| *byte == *piece as u8 + 1)));
    }
}
