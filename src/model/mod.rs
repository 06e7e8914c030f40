//! The vocabulary that every other room speaks: processes, addresses, registers, modules, frames,
//! threads, snapshots and notices.
//!
//! Promises: plain data, equal when the facts are equal, no I/O, no unsafe, nothing that can fail.
//! A snapshot holds what was seen (registers, addresses, module identities, states) and how it was
//! seen; names of functions, source lines and verdicts are computed when it is viewed and have no
//! place here, but for names that only the process itself had, and those in files that may be
//! missing later.

mod aarch64;
mod address;
mod bundle;
mod diagnosis;
mod frame;
mod generated;
mod ids;
mod machine;
mod module;
mod named;
mod notice;
mod pattern;
mod quantity;
mod registers;
mod snapshot;
mod status;
mod summary;
mod system_call;
mod text;
mod thread;
mod wait_facts;

pub use aarch64::Aarch64Register;
pub use address::{Bias, CodeAddress, FileAddress, RuntimeAddress};
pub use bundle::{BundledFile, BundledRole};
pub use diagnosis::{About, Diagnosis, Finding, Grant, Status, Verdict};
pub use frame::{FoundBy, Frame, Gap, Place, Stack, WalkEnd};
pub use generated::GeneratedCode;
pub use ids::{BuildId, Pid, ProcessId, StartTime, Tid};
pub use machine::{AnyRegister, OtherMachine, Register};
pub use module::{Module, ModuleIndex};
pub use named::{Function, NamedCode};
pub use notice::{Cause, Notice, Reason, Subject};
pub use pattern::is_like;
pub use quantity::{parse_share, parse_size, parse_time};
pub use registers::{
    FloatingPoint, RegisterFile, RegisterSet, Registers, SpecialRegister, SpecialRegisters, X86_64Register,
};
pub use snapshot::{Process, Recording, Snapshot, StopMode, Timestamp};
pub use status::{KernelWait, MemoryOf, MemoryPiece, Policy, Scheduling, SignalSet, SignalSets};
pub use summary::Summary;
pub use system_call::{Abi, SystemCall};
pub use text::{bytes_of, is_called, text_of, text_of_os};
pub use thread::{Acquired, KernelWorker, Moment, Thread, ThreadState, ThreadStatus, selected};
pub use wait_facts::{
    DatabaseLock, Descriptor, Detail, FileLock, FuseMount, LastRan, Owner, Reference, Socket, Task, Unread, WaitFacts,
};
