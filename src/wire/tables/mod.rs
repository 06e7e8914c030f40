//! What is stored once in a file and referred to by row numbers: strings, modules, frames, stacks,
//! chunks of memory.
//!
//! `interned` (with `stack_table`) is the writer's side, `rows` the reader's.

mod interned;
mod rows;
mod stack_table;

pub(super) use interned::Tables;
pub(super) use rows::Rows;
