//! Copying the stack of a thread that is held or sleeps: the part in use, and the other pieces that
//! belong to it.
//!
//! `copy` does it; `extent` says how much of a stack is in use, `pieces` holds the pieces one after
//! the other. `split_stack` and `goroutine` find the stacks that code of gcc's -fsplit-stack and of
//! Go's has left.
//!
//! Promises: it runs while a thread is held, so it allocates nothing, takes no lock and reads
//! target memory in bounded pieces.

mod copy;
mod extent;
mod goroutine;
mod pieces;
mod read;
mod split_stack;

pub(super) use copy::{FIRST_ROOM, Position, STACK_LIMIT, STACK_ROOM, StackCopy, StackPlan};
pub(super) use extent::Owner;
pub(super) use split_stack::thread_pointer;
