//! Code that a process made itself, as the process names it.

use std::ops::Range;

use super::RuntimeAddress;

/// An address in code of no file, and what the process called that code at the time.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct GeneratedCode {
    /// The address that a frame is looked up by.
    pub address: RuntimeAddress,
    /// The code it lies in.
    pub range: Range<RuntimeAddress>,
    /// What the process calls it.
    pub name: String,
}
