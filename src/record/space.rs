//! A process's address space as the unwinder asks about it: its modules, its memory map, and what
//! can be read of it.

use std::collections::HashMap;
use std::sync::Arc;

use crate::elf::CfiSections;
use crate::model::{Bias, ModuleIndex, RuntimeAddress};
use crate::proc::{Backing, MemoryMap};
use crate::process::{Pages, ProcessAccess, Registered, Source};
use crate::unwind::{CodeSpace, SpaceId};

/// One process at one moment.
pub struct AddressSpace<'a> {
    source: Source<'a>,
    map: &'a MemoryMap,
    code: Pages<'a>,
    registered: Registered<'a>,
    /// What was asked for in this snapshot already: by index is quicker than by build-id.
    cfi: HashMap<ModuleIndex, Arc<CfiSections>>,
}

impl<'a> AddressSpace<'a> {
    /// The address space of one snapshot.
    pub fn new(source: Source<'a>, map: &'a MemoryMap, access: &'a ProcessAccess, registered: Registered<'a>) -> Self {
        Self { source, map, code: Pages::new(access), registered, cfi: HashMap::new() }
    }

    /// The modules, with what could not be seen of them, and the code that was registered beside
    /// them.
    pub fn into_parts(self) -> (Source<'a>, Registered<'a>) {
        (self.source, self.registered)
    }
}

impl CodeSpace for AddressSpace<'_> {
    fn id(&self) -> SpaceId {
        SpaceId(self.source.layout)
    }

    fn module(&self, address: RuntimeAddress) -> Option<(ModuleIndex, Bias)> {
        let modules = &self.source.modules;
        let after = modules.partition_point(|loaded| loaded.module.range.start <= address);
        let index = after.checked_sub(1)?;
        let module = &modules[index].module;
        module.range.contains(&address).then_some((ModuleIndex(u32::try_from(index).ok()?), module.bias))
    }

    fn end(&self) -> RuntimeAddress {
        self.map.iter().next_back().map_or(RuntimeAddress(0), |last| last.range.end)
    }

    fn is_executable(&self, address: RuntimeAddress) -> bool {
        self.map.find(address).is_some_and(|mapping| mapping.executable)
    }

    fn is_uprobe(&self, address: RuntimeAddress) -> bool {
        self.map.find(address).is_some_and(|mapping| mapping.backing == Backing::Uprobes)
    }

    fn read(&mut self, address: RuntimeAddress, buffer: &mut [u8]) -> usize {
        self.code.read(address, buffer)
    }

    fn cfi(&mut self, module: ModuleIndex) -> Arc<CfiSections> {
        self.cfi.entry(module).or_insert_with(|| self.source.cfi(module)).clone()
    }

    fn registered(&mut self, address: RuntimeAddress) -> Option<Arc<CfiSections>> {
        self.is_executable(address).then(|| self.registered.cfi(&self.source, address))?
    }
}
