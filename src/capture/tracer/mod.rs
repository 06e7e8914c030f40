//! The tracer: the process that looks at the threads of a target.
//!
//! `serve` waits for requests; `snapshot` takes one: it lists the threads and reports those that
//! are `unchanged`. `draft` is the snapshot in the making, with its `log`, and `record` adds a
//! captured thread to it. `plan` chooses how to look at each of the others: `blocked` finds the
//! system call that a thread is in, and `syscalls` which of these a stop disturbs. A thread is read
//! `in_place`, or held `one_at_a_time` (`by_turns` where threads wait for a CPU before they stop),
//! or all threads are held at once (`all_stop`, copied on two CPUs by `copy_helper`). `hold`
//! releases what it holds when it is dropped, `reaper` collects tracees that exit, `loss` says why
//! a thread is missing. `stack` copies stacks, `memory` what the user asked for. `fault` lets a
//! test interrupt any of this.
//!
//! Promises: it can be killed at any instruction, and the kernel then releases all that it holds.
//! It does not unwind, and knows no modules. A new way to look at a thread is one more `Method` in
//! `plan` and one more file beside `in_place`.

mod all_stop;
mod blocked;
mod by_turns;
mod copy_helper;
mod draft;
mod fault;
mod hold;
mod in_place;
mod log;
mod loss;
mod memory;
mod one_at_a_time;
mod plan;
mod reaper;
mod record;
mod serve;
mod snapshot;
mod stack;
mod syscalls;
mod unchanged;

pub use serve::{TRACER_ARGUMENT, serve};
