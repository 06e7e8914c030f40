//! hangsnap takes snapshots of every thread of a live process while hardly touching it, and
//! explains them later.
//!
//! The live half (on the sick host) selects a target, freezes, copies, releases, unwinds and
//! stores. The offline half (anywhere) reads a recording, symbolizes, compares and renders. The two
//! halves meet in [`model`] and the file format only.
//!
//! # Glossary
//!
//! One meaning for each term, in code, messages, documentation and the file format.
//!
//! Taking a snapshot:
//!
//! * **target**: the process that is looked at. Nothing is ever written to it.
//! * **snapshot**: every thread of one process at one moment ([`model::Snapshot`]).
//! * **sample**: one of the snapshots that are taken at an interval, or its time slot.
//! * **tracer**: the child process of hangsnap that uses ptrace. It may die; the target runs on.
//! * **seize**: to attach with `PTRACE_SEIZE`, which alone does not stop the thread.
//! * **hold**: to keep a thread in ptrace-stop. Its length is bounded by `--max-hold`.
//! * **release**: to detach from a held thread, so that it runs on.
//! * **stop mode**: which threads may be held: all, one at a time, none ([`model::StopMode`]).
//! * **acquired**: how the facts about a thread were obtained ([`model::Acquired`]).
//! * **read in place**: acquired without holding: the thread slept in the kernel all the while.
//! * **unchanged since**: not read again: the thread has not run since snapshot N.
//! * **window**: the time from the first request to stop until the last release.
//! * **duty**: the share of time that threads are held, bounded by `--max-duty`.
//! * **notice**: a typed statement of what a snapshot lacks, or how it differs from what was asked.
//! * **loss**: a notice of something missing ([`model::Notice::is_loss`]).
//! * **disturbed**: a system call that returned early (EINTR) because its thread was stopped.
//! * **tid, start time**: together they identify a thread; a tid alone is reused by the kernel.
//!
//! Stacks:
//!
//! * **module**: an ELF image in the target's memory: the program, a shared object, the vdso.
//! * **bias**: run-time address minus file address of a module ([`model::Bias`]).
//! * **build-id**: the linker's `NT_GNU_BUILD_ID` note; it identifies the contents of a module.
//! * **frame**: one activation of a function ([`model::Frame`]).
//! * **pc**: the address of the next instruction to execute.
//! * **return address**: where a call continues; all look-ups use the byte before it.
//! * **CFI**: call frame information (`.eh_frame`, `.debug_frame`): how to find each caller.
//! * **CFA**: canonical frame address: the stack pointer before the call; CFI rules refer to it.
//! * **walk**: finding the frames of a stack from the innermost outwards.
//! * **found by**: how a frame was found, from surest to least sure ([`model::FoundBy`]).
//! * **walk end**: why there are no more frames; only `Root` is a complete stack.
//! * **gap**: frames missing in the middle of a stack ([`model::Gap`]).
//! * **generated code**: code that the target made at run time (JIT); it is in no module.
//!
//! Recordings:
//!
//! * **recording**: the snapshots of one target: a directory of segments, or a single file.
//! * **segment**: a file of records that can be read without the other segments.
//! * **record**: a protobuf message with two checksums, the unit of damage.
//! * **whole snapshot**: a record that needs no earlier one to be read.
//! * **change**: a record with what differs from the snapshot before it.
//! * **index**: a file beside a segment that makes listing and seeking fast; it can be rebuilt.
//! * **pin**: a mark that keeps a segment from being removed.
//! * **redact, scrub**: to leave copied memory and command lines out, or to remove them afterwards.
//!
//! Verdicts:
//!
//! * **wait**: what one thread is blocked on, and how that can end.
//! * **resource**: what is waited for: a lock, a descriptor, a child, a disk.
//! * **holder**: a thread or process that has the resource, or could end the wait.
//! * **reference**: a word on a thread's stack that is the address of a lock.
//! * **wait facts**: what the kernel says about waits beyond the threads ([`model::WaitFacts`]).
//! * **last ran**: when the kernel last gave a thread a CPU ([`model::LastRan`]).
//! * **verdict**: one answer to "what hangs, and on what".
//! * **level**: stuck (a fault), or waits (a healthy process may wait like this, too).
//! * **proof**: how surely something is known: proved, inferred or guessed.
//! * **proved**: the kernel says so, or a field of the lock that only its owner writes.
//! * **inferred**: it follows from references on stacks, or because no other thread is left.
//! * **guessed**: it looks like it; nothing confirms it.
//! * **deadlock**: a cycle of threads: each waits for the next.
//! * **convoy**: threads queued for locks, directly or in a chain, that one thread at its end
//!   holds.
//! * **lost wake-up**: the word a thread waits on has changed, and the thread was not woken.
//! * **abandoned lock**: a lock whose owner no longer exists.
//!
#![doc = include_str!("README.md")]
#![deny(unsafe_code)]

pub mod analysis;
pub mod capture;
pub mod cli;
pub mod daemon;
pub mod doctor;
pub mod elf;
pub mod model;
pub mod proc;
pub mod process;
pub mod record;
pub mod render;
pub mod resources;
pub mod store;
pub mod symbols;
pub mod sys;
pub mod unwind;
pub mod variables;
pub mod view;
pub mod wire;
