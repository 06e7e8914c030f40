//! A module that is loaded into a process, and the headers of its file.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::elf::{self, Headers};
use crate::model::{Bias, Module};

/// A module with what is needed to read more of it.
#[derive(Clone)]
pub struct LoadedModule {
    /// What a snapshot keeps of it.
    pub module: Module,
    pub(super) headers: Headers,
    /// The bias of the copy in memory that has all of the image. A part that is mapped once more
    /// has its code alone.
    pub(super) whole: Bias,
}

impl LoadedModule {
    /// Whether these are its own program headers.
    pub(super) fn has(&self, headers: &Headers) -> bool {
        self.headers == *headers
    }
}

pub(super) fn headers_of(file: &File) -> Result<Headers, elf::Error> {
    Headers::parse(|offset, buffer| file.read_exact_at(buffer, offset).is_ok())
}
