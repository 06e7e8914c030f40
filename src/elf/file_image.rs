//! The bytes of an image in a file, by the addresses at which the file is loaded.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::{Headers, Image};
use crate::model::FileAddress;

/// An image in a file, and where its parts are in it.
pub struct FileImage<'a> {
    /// The file.
    pub file: &'a File,
    /// Its program headers.
    pub headers: &'a Headers,
}

impl Image for FileImage<'_> {
    fn read(&self, address: FileAddress, buffer: &mut [u8]) -> bool {
        self.headers.offset_of_address(address).is_some_and(|(offset, available)| {
            buffer.len() as u64 <= available && self.file.read_exact_at(buffer, offset).is_ok()
        })
    }
}
