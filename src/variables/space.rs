//! The address space of a recorded process to the unwinder: its modules as they were recorded, and
//! their files here.
//!
//! Promises: a file is used only if it is the module's. Code that lies in no file cannot be read
//! again.

use std::collections::HashMap;
use std::sync::Arc;

use super::memory::Constants;
use crate::elf::{CfiSections, Headers, Image};
use crate::model::{Bias, FileAddress, Module, ModuleIndex, RuntimeAddress};
use crate::symbols::DebugInformation;
use crate::unwind::{CodeSpace, SpaceId};

/// Nothing is mapped above this on x86-64.
const END: u64 = 0x7fff_ffff_f000;

/// The modules of a snapshot, with what was found of their files.
pub(super) struct RecordedSpace<'s> {
    modules: &'s [Module],
    found: &'s HashMap<ModuleIndex, DebugInformation>,
    constants: &'s [Constants<'s>],
    cfi: HashMap<ModuleIndex, Arc<CfiSections>>,
}

impl<'s> RecordedSpace<'s> {
    /// `constants` are in the order of the modules.
    pub(super) fn new(
        modules: &'s [Module],
        found: &'s HashMap<ModuleIndex, DebugInformation>,
        constants: &'s [Constants<'s>],
    ) -> Self {
        Self { modules, found, constants, cfi: HashMap::new() }
    }

    fn index(&self, address: RuntimeAddress) -> Option<usize> {
        self.modules.iter().position(|module| module.range.contains(&address))
    }

    fn read_cfi(&self, index: ModuleIndex) -> CfiSections {
        let module = self.modules.get(index.0 as usize);
        if let Some(image) = module.and_then(|module| module.image.as_deref()) {
            let image = ImageBytes(image);
            let headers = Headers::parse(|offset, buffer| image.read(FileAddress(offset), buffer));
            return headers.map(|headers| CfiSections::from_image(&headers, &image)).unwrap_or_default();
        }
        let program = self.found.get(&index).and_then(|found| found.program.as_ref());
        program.and_then(|file| CfiSections::from_file(file).ok()).unwrap_or_default()
    }
}

impl CodeSpace for RecordedSpace<'_> {
    fn id(&self) -> SpaceId {
        SpaceId(0)
    }

    fn module(&self, address: RuntimeAddress) -> Option<(ModuleIndex, Bias)> {
        let index = self.index(address)?;
        Some((ModuleIndex(u32::try_from(index).ok()?), self.modules.get(index)?.bias))
    }

    fn end(&self) -> RuntimeAddress {
        RuntimeAddress(END)
    }

    fn is_executable(&self, address: RuntimeAddress) -> bool {
        let Some(index) = self.index(address) else { return false };
        let is_image = self.modules.get(index).is_some_and(|module| module.image.is_some());
        is_image || self.constants.get(index).is_some_and(|constants| constants.is_code(address.0))
    }

    fn cfi(&mut self, module: ModuleIndex) -> Arc<CfiSections> {
        if let Some(known) = self.cfi.get(&module) {
            return known.clone();
        }
        let read = Arc::new(self.read_cfi(module));
        self.cfi.insert(module, read.clone());
        read
    }

    fn read(&mut self, address: RuntimeAddress, buffer: &mut [u8]) -> usize {
        let index = self.index(address);
        index.and_then(|index| self.constants.get(index)).map_or(0, |constants| constants.read(address.0, buffer))
    }
}

/// An image in one piece, such as the vdso's, whose first segment begins with the file.
struct ImageBytes<'i>(&'i [u8]);

impl Image for ImageBytes<'_> {
    fn read(&self, address: FileAddress, buffer: &mut [u8]) -> bool {
        let bytes = usize::try_from(address.0).ok().and_then(|start| self.0.get(start..)?.get(..buffer.len()));
        bytes.map(|bytes| buffer.copy_from_slice(bytes)).is_some()
    }
}
