//! The kernel's door: ptrace, the memory of another process, shared memory, the heap, clocks,
//! alarms, scheduling, signals, trials. The only room with `unsafe`.
//!
//! Promises: nothing here allocates, logs, locks or parses while a thread is held, so all of it may
//! be called between freeze and release. Errors are the kernel's own errno. It does not decide
//! anything: what to hold, for how long and what to copy is `capture`'s business.

#![allow(unsafe_code)]

pub mod alarm;
pub mod arena;
pub mod being_written;
pub mod clock;
#[cfg(feature = "fault-points")]
pub mod counting;
pub mod heap;
pub mod memory;
pub mod ptrace;
pub mod robust;
pub mod scheduling;
pub mod signals;
pub mod trial;
