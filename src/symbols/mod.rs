//! From file addresses to functions, the chain of functions inlined there, and source lines.
//!
//! Promises: works from what a snapshot says and from files on this machine, never from a live process. A file is used
//! only if its build-id is the module's. All addresses of a module are resolved in one go and the file is let go again, so
//! that memory is bounded by the largest module. What cannot be named stays unnamed; that is not an error.
//!
//! Debug information comes from the file itself, from a separate file found by build-id or debug link, or through both
//! from a supplementary file (dwz); names alone from the symbol tables, those of the file inside a stripped file
//! (`.gnu_debugdata`) too; names and lines of Go's functions from Go's own table. Code in no
//! file has the names that its process told.

mod demangle;
mod dwarf;
mod finder;
mod go;
mod table;
mod units;
mod variable;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::path::PathBuf;
use std::thread;

use object::read::elf::ElfFile64;
use object::{LittleEndian, Object, ReadCache, ReadRef};

use crate::elf::{PositionedFile, debugdata, pclntab};
use crate::model::{BuildId, CodeAddress, FileAddress, Frame, Module, Place, RuntimeAddress, Snapshot, Timestamp};

pub use finder::{Finder, NamedFile};
pub use variable::find_symbol;

/// One function at an address: the one whose code it is, or one that was inlined there.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Function {
    /// Demangled. None when only the line is known, or nothing.
    pub name: Option<String>,
    pub file: Option<String>,
    pub line: Option<u32>,
}

/// What tells a module's file from another, whatever process loads it wherever.
type ModuleKey = (String, Option<BuildId>);

/// The functions at the addresses of some snapshots.
#[derive(Default)]
pub struct Names {
    modules: HashMap<ModuleKey, HashMap<FileAddress, Vec<Function>>>,
    /// By the time of the snapshot, because code is made and thrown away while a process runs. Numbers are of one recording.
    generated: HashMap<(Timestamp, RuntimeAddress), Vec<Function>>,
    missing: Vec<ModuleKey>,
    stripped: Vec<Stripped>,
    unused: Vec<Unused>,
}

/// A module whose file is here, and has no name for any place on the stacks.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Stripped {
    pub path: String,
    pub build_id: Option<BuildId>,
    /// How many places on the stacks are in it.
    pub places: usize,
}

/// A file that the user named, and of which no module is on the stacks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unused {
    pub path: PathBuf,
    pub build_id: BuildId,
}

/// What was found of one module.
struct Resolved {
    functions: HashMap<FileAddress, Vec<Function>>,
    file_found: bool,
    /// How many addresses were asked for.
    places: usize,
}

impl Resolved {
    fn is_stripped(&self) -> bool {
        let is_named = |functions: &Vec<Function>| functions.iter().any(|function| function.name.is_some());
        self.file_found && self.places > 0 && !self.functions.values().any(is_named)
    }
}

impl Names {
    /// Names every frame of these snapshots, one module after another on each CPU.
    pub fn resolve<'a>(finder: &Finder, snapshots: impl IntoIterator<Item = &'a Snapshot>) -> Self {
        let mut wanted: BTreeMap<ModuleKey, (&Module, BTreeSet<FileAddress>)> = BTreeMap::new();
        let mut generated = HashMap::new();
        for snapshot in snapshots {
            for frame in snapshot.threads.iter().flat_map(|thread| &thread.stack.frames) {
                if let (Some(module), Some(address)) = (snapshot.module_of(frame), file_address(frame)) {
                    let entry = wanted.entry(key(module)).or_insert_with(|| (module, BTreeSet::new()));
                    entry.1.insert(address);
                }
                if let Some(code) = snapshot.generated_code(frame) {
                    let function =
                        || vec![Function { name: Some(demangle::demangle(&code.name)), ..Function::default() }];
                    generated.entry((snapshot.taken, code.address)).or_insert_with(function);
                }
            }
        }
        let (sender, jobs) = crossbeam_channel::unbounded();
        for job in wanted {
            // The receiver is alive: it is a local of this function.
            let _ = sender.send(job);
        }
        drop(sender);
        let workers = thread::available_parallelism().map_or(1, usize::from);
        let work = || {
            let mut done = Vec::new();
            for (key, (module, addresses)) in jobs.iter() {
                done.push((key, resolve_module(finder, module, &addresses)));
            }
            done
        };
        let modules = thread::scope(|scope| {
            let helpers: Vec<_> = (1..workers).map(|_| scope.spawn(work)).collect();
            let mut modules: Vec<(ModuleKey, Resolved)> = work();
            for helper in helpers {
                match helper.join() {
                    Ok(done) => modules.extend(done),
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            modules
        });
        let mut missing: Vec<ModuleKey> =
            modules.iter().filter(|(_, resolved)| !resolved.file_found).map(|(key, _)| key.clone()).collect();
        missing.sort_unstable();
        let mut stripped: Vec<Stripped> = modules
            .iter()
            .filter(|(_, resolved)| resolved.is_stripped())
            .map(|((path, build_id), resolved)| Stripped {
                path: path.clone(),
                build_id: build_id.clone(),
                places: resolved.places,
            })
            .collect();
        stripped.sort_unstable();
        let is_used = |named: &&NamedFile| modules.iter().any(|((_, id), _)| id.as_ref() == Some(named.build_id()));
        let unused = finder.named().iter().filter(|named| !is_used(named));
        let unused =
            unused.map(|named| Unused { path: named.path().into(), build_id: named.build_id().clone() }).collect();
        let modules = modules.into_iter().map(|(key, resolved)| (key, resolved.functions)).collect();
        Self { modules, generated, missing, stripped, unused }
    }

    /// The modules of which no file was found here, by path and build-id: their frames have no names.
    pub fn missing(&self) -> impl Iterator<Item = (&str, Option<&BuildId>)> {
        self.missing.iter().map(|(path, id)| (path.as_str(), id.as_ref()))
    }

    /// The modules whose files are here without a name for any of their frames.
    pub fn stripped(&self) -> &[Stripped] {
        &self.stripped
    }

    /// The files that the user named in vain.
    pub fn unused(&self) -> &[Unused] {
        &self.unused
    }

    /// The functions at a frame, innermost inlined one first. Empty when nothing is known.
    pub fn of(&self, snapshot: &Snapshot, frame: &Frame) -> &[Function] {
        let found = match frame.outside() {
            Some(address) => self.generated.get(&(snapshot.taken, address)),
            None => {
                snapshot.module_of(frame).and_then(|module| self.modules.get(&key(module))?.get(&file_address(frame)?))
            }
        };
        found.map_or(&[], Vec::as_slice)
    }
}

fn key(module: &Module) -> ModuleKey {
    (module.path.clone(), module.build_id.clone())
}

/// An address inside the instruction that the frame is about.
fn file_address(frame: &Frame) -> Option<FileAddress> {
    let inside = |place, is_return: fn(FileAddress) -> CodeAddress<FileAddress>| match place {
        Place::InModule { address, .. } => Some(is_return(address).lookup()),
        Place::Outside(_) => None,
    };
    match frame.code() {
        CodeAddress::Pc(place) => inside(place, CodeAddress::Pc),
        CodeAddress::Return(place) => inside(place, CodeAddress::Return),
    }
}

fn resolve_module(finder: &Finder, module: &Module, addresses: &BTreeSet<FileAddress>) -> Resolved {
    let mut names = Resolution { addresses, functions: HashMap::new() };
    if let Some(image) = &module.image {
        if let Ok(elf) = ElfFile64::<LittleEndian, _>::parse(&**image) {
            names.add_symbols(&elf);
        }
        return Resolved { functions: names.functions, file_found: true, places: addresses.len() };
    }
    let files = finder.find(module);
    // The separate file first: it has the full symbol table and the lines, the stripped one a few exported names.
    for file in files.debug.iter().chain(&files.program) {
        if names.is_complete() {
            break;
        }
        names.add_file(file, files.supplementary.as_ref());
    }
    let file_found = files.debug.is_some() || files.program.is_some();
    Resolved { functions: names.functions, file_found, places: addresses.len() }
}

/// The addresses of one module, and what has been found for them so far.
struct Resolution<'a> {
    addresses: &'a BTreeSet<FileAddress>,
    functions: HashMap<FileAddress, Vec<Function>>,
}

impl Resolution<'_> {
    fn is_complete(&self) -> bool {
        self.addresses.iter().all(|address| {
            self.functions.get(address).is_some_and(|functions| functions.iter().all(|f| f.name.is_some()))
        })
    }

    fn add_file(&mut self, file: &File, supplementary: Option<&File>) {
        let Ok(positioned) = PositionedFile::new(file) else {
            return;
        };
        let cache = ReadCache::new(positioned);
        let Ok(elf) = ElfFile64::<LittleEndian, _>::parse(&cache) else {
            return;
        };
        if elf.section_by_name(".debug_info").is_some() {
            for (address, functions) in dwarf::functions(file, supplementary, self.addresses) {
                let better = self.functions.get(&address).is_none_or(|known| known[0].line.is_none());
                if better {
                    self.functions.insert(address, functions);
                }
            }
        }
        if let Some(table) = pclntab(&elf) {
            for (address, functions) in go::functions(&table, self.addresses) {
                if self.functions.get(&address).is_none_or(|known| known[0].line.is_none()) {
                    self.functions.insert(address, functions);
                }
            }
        }
        self.add_symbols(&elf);
    }

    fn add_symbols<'d, R: ReadRef<'d>>(&mut self, elf: &ElfFile64<'d, LittleEndian, R>) {
        // Unpacking takes a while, and debug information may have told everything.
        let unpacked = if self.is_complete() { None } else { debugdata(elf) };
        let inside = unpacked.as_deref().and_then(|bytes| ElfFile64::parse(bytes).ok());
        for (address, symbol) in table::symbols(elf, inside.as_ref(), self.addresses) {
            let functions = self.functions.entry(address).or_insert_with(|| vec![Function::default()]);
            if let Some(outermost) = functions.last_mut()
                // Debug information without linkage names has only the last word of a Rust or C++ name.
                && (outermost.name.is_none() || symbol.is_mangled)
            {
                outermost.name = Some(symbol.name);
            }
        }
    }
}
