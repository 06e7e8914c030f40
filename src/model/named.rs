//! Functions at an address of a file, and those that a snapshot keeps because the file may be
//! missing later.

use std::sync::Arc;

use super::{FileAddress, ModuleIndex};

/// One function at an address: the one whose code it is, or one that was inlined there.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Function {
    /// As people write it. None when only the line is known, or nothing.
    pub name: Option<String>,
    /// The source file, as the debug information names it.
    pub file: Option<String>,
    /// The line in it, counted from 1.
    pub line: Option<u32>,
}

/// An address in a module whose path did not lead to its file, and what that file said of the
/// address.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct NamedCode {
    /// The module that it lies in.
    pub module: ModuleIndex,
    /// Inside the instruction that a frame is about.
    pub address: FileAddress,
    /// Innermost inlined one first. Empty where the file had no name for it.
    pub functions: Arc<[Function]>,
}
