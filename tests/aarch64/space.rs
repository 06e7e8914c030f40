//! The address space of a program for aarch64 as the unwinder asks about it: a memory map, the
//! files that are mapped, and pieces of memory.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use hangsnap::elf::{CfiSections, Headers};
use hangsnap::model::{self, Bias, BuildId, CodeAddress, Frame, ModuleIndex, Place, RuntimeAddress};
use hangsnap::proc::{Backing, MemoryMap};
use hangsnap::unwind::{CodeSpace, SpaceId};
use object::{Object, ObjectSymbol, SymbolKind};

/// A mapped file.
struct Module {
    path: String,
    start: u64,
    end: u64,
    bias: Bias,
    bytes: Vec<u8>,
    headers: Headers,
}

pub struct Space {
    map: MemoryMap,
    modules: Vec<Module>,
    cfi: HashMap<ModuleIndex, Arc<CfiSections>>,
    /// Code in no file.
    pub memory: Vec<(u64, Vec<u8>)>,
    with_cfi: bool,
}

impl Space {
    pub fn new(maps: &str) -> Self {
        let map = MemoryMap::parse(maps.as_bytes()).expect("a memory map");
        let mut modules: Vec<Module> = Vec::new();
        for mapping in map.iter() {
            let Backing::File { path, .. } = &mapping.backing else {
                continue;
            };
            match modules.last_mut().filter(|module| module.path == *path) {
                Some(module) => module.end = mapping.range.end.0,
                None => {
                    let bytes = fs::read(path).expect("the file that is mapped");
                    let headers = Headers::parse(|offset, buffer| {
                        let at = usize::try_from(offset).expect("a small file");
                        let part = bytes.get(at..at + buffer.len());
                        part.map(|part| buffer.copy_from_slice(part)).is_some()
                    });
                    let headers = headers.expect("an ELF file");
                    let start = mapping.range.start.0;
                    let first =
                        headers.address_of_offset(mapping.offset, mapping.executable).expect("a loaded segment");
                    let bias = Bias(start.wrapping_sub(first.0));
                    modules.push(Module { path: path.clone(), start, end: mapping.range.end.0, bias, bytes, headers });
                }
            }
        }
        Self { map, modules, cfi: HashMap::new(), memory: Vec::new(), with_cfi: true }
    }

    /// The same, as if no file had call frame information.
    pub fn without_cfi(self) -> Self {
        Self { with_cfi: false, ..self }
    }

    /// The modules as a snapshot has them.
    pub fn modules(&self) -> Vec<model::Module> {
        let build_id = |bytes: &[u8]| object::File::parse(bytes).ok()?.build_id().ok()?.map(|id| BuildId(id.to_vec()));
        let module = |module: &Module| model::Module {
            path: module.path.clone(),
            build_id: build_id(&module.bytes),
            bias: module.bias,
            range: RuntimeAddress(module.start)..RuntimeAddress(module.end),
            image: None,
        };
        self.modules.iter().map(module).collect()
    }

    /// The symbol that a frame lies in; `signal` or `nowhere` for what lies in no file.
    pub fn name(&self, frame: &Frame) -> String {
        let place = frame.place();
        let (module, address) = match place {
            Place::InModule { module, address } => (module, address),
            Place::Outside(RuntimeAddress(0)) => return "nowhere".into(),
            Place::Outside(_) => return "signal".into(),
        };
        let inside = match frame.code() {
            CodeAddress::Pc(_) => address.0,
            CodeAddress::Return(_) => address.0 - 1,
        };
        let file = object::File::parse(&*self.modules[module.0 as usize].bytes).expect("an ELF file");
        let symbols = file.symbols().chain(file.dynamic_symbols()).filter(|symbol| symbol.kind() == SymbolKind::Text);
        let covers = |address: u64, size: u64| (address..address + size.max(1)).contains(&inside);
        let mut found = symbols.filter(|symbol| covers(symbol.address(), symbol.size()));
        found.next().and_then(|symbol| symbol.name().ok()).unwrap_or("?").to_owned()
    }

    /// Whether a frame lies in the file of this name.
    pub fn is_in(&self, frame: &Frame, program: &Path) -> bool {
        let place = frame.place();
        matches!(place, Place::InModule { module, .. } if Path::new(&self.modules[module.0 as usize].path) == program)
    }

    pub fn runtime_address(&self, frame: &Frame) -> u64 {
        let place = frame.place();
        match place {
            Place::InModule { module, address } => self.modules[module.0 as usize].bias.to_runtime(address).0,
            Place::Outside(address) => address.0,
        }
    }
}

impl CodeSpace for Space {
    fn id(&self) -> SpaceId {
        SpaceId(0)
    }

    fn module(&self, address: RuntimeAddress) -> Option<(ModuleIndex, Bias)> {
        let index = self.modules.iter().position(|module| (module.start..module.end).contains(&address.0))?;
        Some((ModuleIndex(u32::try_from(index).ok()?), self.modules[index].bias))
    }

    fn end(&self) -> RuntimeAddress {
        self.map.iter().next_back().expect("a mapping").range.end
    }

    fn is_executable(&self, address: RuntimeAddress) -> bool {
        self.map.find(address).is_some_and(|mapping| mapping.executable)
    }

    fn cfi(&mut self, index: ModuleIndex) -> Arc<CfiSections> {
        let module = &self.modules[index.0 as usize];
        let load = || {
            let file = File::open(&module.path).expect("the file that is mapped");
            let sections = if self.with_cfi { CfiSections::from_file(&file).ok() } else { None };
            let mut sections = sections.unwrap_or_default();
            sections.entry = module.headers.entry;
            Arc::new(sections)
        };
        self.cfi.entry(index).or_insert_with(load).clone()
    }

    /// Of a file what is loaded from it; what has been written since is not known here.
    fn read(&mut self, address: RuntimeAddress, buffer: &mut [u8]) -> usize {
        let pieces = self.memory.iter().map(|(start, bytes)| (*start, &**bytes));
        let in_file = self.module(address).and_then(|(index, bias)| {
            let module = &self.modules[index.0 as usize];
            let (offset, length) = module.headers.offset_of_address(bias.to_file(address))?;
            let offset = usize::try_from(offset).ok()?;
            Some((address.0, module.bytes.get(offset..)?.get(..usize::try_from(length).ok()?)?))
        });
        let found = pieces.chain(in_file).find_map(|(start, bytes)| {
            let offset = usize::try_from(address.0.checked_sub(start)?).ok()?;
            bytes.get(offset..).filter(|rest| !rest.is_empty())
        });
        let rest = found.unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        length
    }
}
