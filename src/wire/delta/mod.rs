//! Threads as what differs from the record before.
//!
//! `base_thread` is a thread as the last record left it, and what differs from it: the same code's two sides, for writing and for
//! reading. `registers` is the same for registers. `remembered`, of the writer alone, recognizes a thread that is as it was.

mod base_thread;
mod registers;
mod remembered;

pub(super) use base_thread::{Counts, Known, is_i386};
pub(super) use remembered::Remembered;
