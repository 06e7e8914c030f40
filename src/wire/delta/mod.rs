//! Threads as what differs from the record before.
//!
//! `base_thread` is a thread as the last record left it, and what differs from it: the same code's
//! two sides, for writing and for reading. `registers` is the same for registers. `stored_thread`,
//! of the writer alone, recognizes a thread that is as it was.

mod base_thread;
mod registers;
mod stored_thread;

pub(super) use base_thread::{BaseThread, Counts, is_i386};
pub(super) use stored_thread::StoredThread;
