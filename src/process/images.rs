//! Where the bytes of an image are that is in no file: in a process's memory, or at hand.

use super::ProcessAccess;
use crate::elf::Image;
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

/// An image whose file addresses are offsets into these bytes, as the vdso's are.
pub(super) struct BytesImage<'a>(pub(super) &'a [u8]);

impl Image for BytesImage<'_> {
    fn read(&self, address: FileAddress, buffer: &mut [u8]) -> bool {
        let found = usize::try_from(address.0).ok().and_then(|start| self.0.get(start..)?.get(..buffer.len()));
        found.map(|bytes| buffer.copy_from_slice(bytes)).is_some()
    }
}
