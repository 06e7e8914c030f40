//! From file addresses to functions, the chain of functions inlined there, and source lines.
//!
//! Promises: works from what a snapshot says and from files on this machine, never from a live
//! process. A file is used only if its build-id is the module's. All addresses of a module are
//! resolved in one go and the file is let go again, so that memory is bounded by the largest
//! module. What cannot be named stays unnamed; that is not an error.
//!
//! Debug information comes from the file itself, from a separate file found by build-id or debug
//! link, or through both from a supplementary file (dwz); names alone from the symbol tables, those
//! of the file inside a stripped file (`.gnu_debugdata`) too; names and lines of Go's functions
//! from Go's own table. Code in no file has the names that its process gave it, and code in a file
//! to which its path did not lead those that the snapshot keeps: for a snapshot that is just being
//! taken they are looked up here, too (`functions_in`).

mod ahead;
mod debug_sections;
mod dwarf;
mod finder;
mod go;
mod kept;
mod table;
mod units;
mod whole;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::path::PathBuf;
use std::thread;

use object::read::elf::ElfFile64;
use object::{LittleEndian, Object, ObjectSection, ReadCache, ReadRef};

use crate::elf::{PositionedFile, debugdata, demangle, pclntab};
use crate::model::{BuildId, FileAddress, Frame, Module, RuntimeAddress, Snapshot, Timestamp};

use ahead::Ahead;
use finder::Files;

pub use finder::{Finder, NamedFile};
pub use kept::{functions_exported, functions_in};
pub use whole::{DebugInformation, debug_information};

pub use crate::model::Function;

/// What distinguishes a module's file from another, whatever process loads it wherever.
type ModuleKey = (String, Option<BuildId>);

/// The functions at the addresses of some snapshots.
#[derive(Default)]
pub struct Names {
    modules: HashMap<ModuleKey, HashMap<FileAddress, Vec<Function>>>,
    /// By the time of the snapshot, because code is made and thrown away while a process runs.
    /// Numbers are of one recording.
    generated: HashMap<(Timestamp, RuntimeAddress), Vec<Function>>,
    missing: Vec<Missing>,
    stripped: Vec<Stripped>,
    unused: Vec<Unused>,
}

/// A module whose file was not found here, and whose names the snapshot does not keep, or not all.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Missing {
    /// Its path in the target.
    pub path: String,
    /// Its build-id, by which its file can be found.
    pub build_id: Option<BuildId>,
    /// Whether some of its functions have names nevertheless.
    pub has_names: bool,
}

/// A module whose file is here, and has no name for any place on the stacks.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Stripped {
    /// Its path in the target.
    pub path: String,
    /// Its build-id, by which its debug file can be found.
    pub build_id: Option<BuildId>,
    /// How many places on the stacks are in it.
    pub places: usize,
}

/// A file that the user named and that no frame's module has the build-id of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unused {
    /// Its path, as it was named.
    pub path: PathBuf,
    /// Its build-id.
    pub build_id: BuildId,
}

/// What is asked of one module.
struct Asked<'a> {
    module: &'a Module,
    /// With what the snapshots keep of them, as good as any of them has it.
    addresses: BTreeMap<FileAddress, Option<&'a [Function]>>,
}

/// What was found of one module.
struct Resolved {
    functions: HashMap<FileAddress, Vec<Function>>,
    /// Whether a file was found, or the snapshots keep what one said of each address.
    is_complete: bool,
    has_names: bool,
    /// How many addresses were asked for.
    places: usize,
}

impl Names {
    /// Names every frame of these snapshots, one module after another on each CPU.
    pub fn resolve<'a>(finder: &Finder, snapshots: impl IntoIterator<Item = &'a Snapshot>) -> Self {
        let mut wanted: BTreeMap<ModuleKey, Asked<'_>> = BTreeMap::new();
        let mut generated = HashMap::new();
        for snapshot in snapshots {
            for frame in snapshot.threads.iter().flat_map(|thread| &thread.stack.frames) {
                if let (Some(module), Some((_, address))) = (snapshot.module_of(frame), frame.inside()) {
                    let asked =
                        wanted.entry(key(module)).or_insert_with(|| Asked { module, addresses: BTreeMap::new() });
                    let kept = snapshot.named_code(frame).map(|code| &*code.functions);
                    let best = asked.addresses.entry(address).or_default();
                    *best = kept::better(kept, *best);
                }
                if let Some(code) = snapshot.generated_code(frame) {
                    let function = || vec![Function { name: Some(demangle(&code.name)), ..Function::default() }];
                    generated.entry((snapshot.taken, code.address)).or_insert_with(function);
                }
            }
        }
        let workers = thread::available_parallelism().map_or(1, usize::from).min(wanted.len());
        let (sender, jobs) = crossbeam_channel::unbounded();
        for job in wanted {
            // The receiver is alive: it is a local of this function.
            let _ = sender.send(job);
        }
        drop(sender);
        let work = || {
            let mut done = Vec::new();
            for (key, asked) in &jobs {
                done.push((key, resolve_module(finder, &asked)));
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
        let mut missing: Vec<Missing> = modules
            .iter()
            .filter(|(_, resolved)| !resolved.is_complete)
            .map(|((path, build_id), resolved)| Missing {
                path: path.clone(),
                build_id: build_id.clone(),
                has_names: resolved.has_names,
            })
            .collect();
        missing.sort_unstable();
        let mut stripped: Vec<Stripped> = modules
            .iter()
            .filter(|(_, resolved)| resolved.is_complete && resolved.places > 0 && !resolved.has_names)
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

    /// The modules whose files were not found here: not all of their frames have names.
    pub fn missing(&self) -> &[Missing] {
        &self.missing
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
    pub fn of<'a>(&'a self, snapshot: &'a Snapshot, frame: &Frame) -> &'a [Function] {
        let (Some(module), Some((_, address))) = (snapshot.module_of(frame), frame.inside()) else {
            let generated = frame.outside().and_then(|address| self.generated.get(&(snapshot.taken, address)));
            return generated.map_or(&[], Vec::as_slice);
        };
        let found = self.modules.get(&key(module)).and_then(|functions| functions.get(&address)).map(Vec::as_slice);
        match snapshot.named_code(frame).map(|code| &*code.functions) {
            // Without a build-id another file may have been found, and there is no other file that
            // is known to be the one.
            Some(kept) if module.build_id.is_none() => kept,
            kept => kept::better(kept, found).unwrap_or_default(),
        }
    }
}

fn key(module: &Module) -> ModuleKey {
    (module.path.clone(), module.build_id.clone())
}

fn resolve_module(finder: &Finder, asked: &Asked<'_>) -> Resolved {
    let Asked { module, addresses } = asked;
    let kept = || addresses.values().copied();
    let is_named = |functions: &[Function]| functions.iter().any(|function| function.name.is_some());
    let has_kept_names = kept().flatten().any(is_named);
    let mut resolved = Resolved {
        functions: HashMap::new(),
        is_complete: kept().all(|functions| functions.is_some()),
        has_names: has_kept_names,
        places: addresses.len(),
    };
    // A file could add nothing to what is kept with lines, unless the user knows better.
    if kept().all(|functions| functions.is_some_and(kept::is_best)) && !finder.names_one_for(module) {
        return resolved;
    }
    let addresses: BTreeSet<FileAddress> = addresses.keys().copied().collect();
    let mut names =
        Resolution { addresses: &addresses, functions: HashMap::new(), most_debug: u64::MAX, ahead: finder.ahead() };
    if let Some(image) = &module.image {
        if let Ok(elf) = ElfFile64::<LittleEndian, _>::parse(&**image) {
            names.add_symbols(&elf);
        }
        resolved.is_complete = true;
    } else {
        let files = finder.find(module);
        names.add_files(&files);
        resolved.is_complete |= files.debug.is_some() || files.program.is_some();
    }
    resolved.has_names |= names.functions.values().any(|functions| is_named(functions));
    resolved.functions = names.functions;
    resolved
}

/// The addresses of one module, and what has been found for them so far.
struct Resolution<'a> {
    addresses: &'a BTreeSet<FileAddress>,
    functions: HashMap<FileAddress, Vec<Function>>,
    /// Debug information of more bytes is not read.
    most_debug: u64,
    ahead: &'a Ahead,
}

impl Resolution<'_> {
    fn add_files(&mut self, files: &Files) {
        // The separate file first: it has the full symbol table and the lines, the stripped one a
        // few exported names.
        for file in files.debug.iter().chain(&files.program) {
            if self.is_complete() {
                break;
            }
            self.add_file(file, files.supplementary.as_ref());
        }
    }

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
        if elf.section_by_name(".debug_info").is_some_and(|section| section.size() <= self.most_debug) {
            for (address, functions) in dwarf::functions(file, supplementary, self.addresses, self.ahead) {
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
        // Unpacking takes a while, and debug information may have had everything.
        let unpacked = if self.is_complete() { None } else { debugdata(elf) };
        let inside = unpacked.as_deref().and_then(|bytes| ElfFile64::parse(bytes).ok());
        for (address, symbol) in table::symbols(elf, inside.as_ref(), self.addresses) {
            let functions = self.functions.entry(address).or_insert_with(|| vec![Function::default()]);
            if let Some(outermost) = functions.last_mut()
                // Debug information without linkage names has only the last word of a Rust or C++
                // name.
                && (outermost.name.is_none() || symbol.is_mangled)
            {
                outermost.name = Some(symbol.name);
            }
        }
    }
}
