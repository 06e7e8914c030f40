//! hangsnap takes snapshots of every thread of a live process while hardly touching it, and
//! explains them later.
//!
//! The way of the data: select target, freeze, copy, release, unwind, store (the live half, on the
//! sick host); store, symbolize, compare, render (the offline half, anywhere). The halves meet in
//! [`model`] and the file format only. The code map, src/README.md, says what each room promises;
//! `tests/layers.rs` holds them to their order.

#![deny(unsafe_code)]

pub mod analysis;
pub mod capture;
pub mod cli;
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
pub mod view;
pub mod wire;
