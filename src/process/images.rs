//! Where the bytes of an image are: in a process's memory, in a file, or at hand.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::ProcessAccess;
use crate::elf::{Headers, Image};
use crate::model::{Bias, FileAddress};

pub(super) struct MemoryImage<'a> {
    pub(super) access: &'a ProcessAccess,
    pub(super) bias: Bias,
}

impl Image for MemoryImage<'_> {
    fn read(&self, address: FileAddress, buffer: &mut [u8]) -> bool {
        self.access.read_all(self.bias.to_runtime(address), buffer)
    }
}

pub(super) struct FileImage<'a> {
    pub(super) file: &'a File,
    pub(super) headers: &'a Headers,
}

impl Image for FileImage<'_> {
    fn read(&self, address: FileAddress, buffer: &mut [u8]) -> bool {
        self.headers.offset_of_address(address).is_some_and(|(offset, available)| {
            buffer.len() as u64 <= available && self.file.read_exact_at(buffer, offset).is_ok()
        })
    }
}

/// An image whose file addresses are offsets into these bytes, as the vdso's are.
pub(super) struct BytesImage<'a>(pub(super) &'a [u8]);

impl Image for BytesImage<'_> {
    fn read(&self, address: FileAddress, buffer: &mut [u8]) -> bool {
        let found = usize::try_from(address.0).ok().and_then(|start| self.0.get(start..)?.get(..buffer.len()));
        found.map(|bytes| buffer.copy_from_slice(bytes)).is_some()
    }
}
