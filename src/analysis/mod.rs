//! Comparing: threads with the same stack within one snapshot, and the same thread across
//! snapshots.
//!
//! Promises: reads models only, never a process or a file. A thread is the same thread only if id
//! and start time agree. A thread that could not be captured is neither the same nor different: it
//! is said to be unseen.

mod diff;
mod groups;
mod history;
mod signature;
pub mod verdict;
pub mod waits;

pub use diff::{Change, Comparison, Sameness, ThreadChange, compare};
pub use groups::{Group, groups};
pub use history::{History, Streak};
