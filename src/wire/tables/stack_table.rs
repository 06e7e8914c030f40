//! Stacks that were given row numbers: the writer's side.
//!
//! Promises: a stack that has a row gets its number without a piece of memory of its own. A row
//! takes its frames' numbers and some hundred bytes.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::mem;
use std::ops::Range;

use foldhash::fast::RandomState;

use crate::model::{Gap, WalkEnd};

#[derive(Default)]
pub(in crate::wire) struct StackTable {
    /// The frames' row numbers, innermost first, of all stacks one after another.
    frames: Vec<u32>,
    rows: Vec<StackRow>,
    /// Row numbers by a hash of all that is in the row. Where a hash is taken by another stack the
    /// next one that is free is its own.
    numbers: HashMap<u64, u32, RandomState>,
    /// How many rows came before those that the current record brings.
    before: u32,
}

struct StackRow {
    frames: Range<usize>,
    gap: Option<Gap>,
    end: WalkEnd,
}

impl StackTable {
    /// The frames of the stack that is asked for next. They come before all else that `number`
    /// needs, because the caller stores new ones in the same place as `store` does.
    pub(in crate::wire) fn begin(&mut self, frames: impl Iterator<Item = u32>) {
        self.frames.truncate(self.end());
        self.frames.extend(frames);
    }

    /// The number of the stack with the frames that `begin` was called with. `store` is called with
    /// those of a new one, and with how many of the outermost it shares with row `other`, if there
    /// is such a row.
    pub(in crate::wire) fn number(
        &mut self,
        gap: Option<Gap>,
        end: WalkEnd,
        other: u32,
        store: impl FnOnce(&[u32], usize),
    ) -> u32 {
        let begin = self.end();
        let (earlier, own) = self.frames.split_at(begin);
        let mut hash = self.numbers.hasher().hash_one((own, gap, end));
        while let Some(number) = self.numbers.get(&hash) {
            let row = &self.rows[*number as usize];
            if earlier[row.frames.clone()] == *own && row.gap == gap && row.end == end {
                return *number;
            }
            hash = hash.wrapping_add(1);
        }
        let other = self.rows.get(other as usize).map_or(&[][..], |row| &earlier[row.frames.clone()]);
        let shared = own.iter().rev().zip(other.iter().rev()).take_while(|(frame, other)| frame == other).count();
        store(own, shared);
        let number = self.rows();
        self.numbers.insert(hash, number);
        self.rows.push(StackRow { frames: begin..self.frames.len(), gap, end });
        number
    }

    /// Where the frames of the last row end.
    fn end(&self) -> usize {
        self.rows.last().map_or(0, |row| row.frames.end)
    }

    /// More rows than 2^32 do not fit in memory.
    fn rows(&self) -> u32 {
        u32::try_from(self.rows.len()).unwrap_or(u32::MAX)
    }

    /// How many rows came before this record's, which is complete.
    pub(in crate::wire) fn begin_next(&mut self) -> u32 {
        let rows = self.rows();
        mem::replace(&mut self.before, rows)
    }
}
