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
mod bundling;
mod dwarf;
mod go;
mod kept;
mod remedy;
mod report;
mod scopes;
mod sections;
mod source_lines;
mod sources;
mod split_units;
mod table;
mod units;
mod whole;

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use object::read::elf::ElfFile64;
use object::{LittleEndian, Object, ObjectSection, ReadCache, ReadRef};

use crate::elf::{PositionedFile, debugdata, demangle, pclntab};
use crate::model::{BuildId, FileAddress, Frame, Module, RuntimeAddress, Snapshot, Timestamp};

use ahead::Ahead;
use dwarf::SplitParts;
use sources::{Files, SplitPlaces};

pub use bundling::bundle;
pub use kept::{functions_exported, functions_in};
pub use remedy::{Remedy, remedy};
pub use report::{Lack, ModuleReport, UsedFile};
pub use source_lines::{SourceLine, SourceLines};
pub use sources::{Debuginfod, Finder, FoundBy, NamedFile, SourceMap};
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
    reports: Vec<ModuleReport>,
    remarks: Vec<String>,
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
struct Asked {
    module: Module,
    /// With what the snapshots keep of them, as good as any of them has it.
    addresses: BTreeMap<FileAddress, Option<Arc<[Function]>>>,
}

/// What was found of one module.
struct Resolved {
    functions: HashMap<FileAddress, Vec<Function>>,
    /// Whether a file was found, or the snapshots keep what one said of each address.
    is_complete: bool,
    has_names: bool,
    report: ModuleReport,
}

impl Names {
    /// Names every frame of these snapshots, one module after another on each CPU.
    pub fn resolve(finder: &Finder, snapshots: impl IntoIterator<Item = impl Borrow<Snapshot>>) -> Self {
        let mut wanted: BTreeMap<ModuleKey, Asked> = BTreeMap::new();
        let mut generated = HashMap::new();
        for snapshot in snapshots {
            let snapshot = snapshot.borrow();
            for frame in snapshot.threads.iter().flat_map(|thread| &thread.stack.frames) {
                if let (Some(module), Some((_, address))) = (snapshot.module_of(frame), frame.inside()) {
                    let asked = wanted
                        .entry(key(module))
                        .or_insert_with(|| Asked { module: module.clone(), addresses: BTreeMap::new() });
                    let best = asked.addresses.entry(address).or_default();
                    if let Some(code) = snapshot.named_code(frame)
                        && best.as_deref().is_none_or(|best| kept::is_better(&code.functions, best))
                    {
                        *best = Some(code.functions.clone());
                    }
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
            .filter(|(_, resolved)| resolved.is_complete && resolved.report.places > 0 && !resolved.has_names)
            .map(|((path, build_id), resolved)| Stripped {
                path: path.clone(),
                build_id: build_id.clone(),
                places: resolved.report.places,
            })
            .collect();
        stripped.sort_unstable();
        let is_used = |named: &&NamedFile| modules.iter().any(|((_, id), _)| id.as_ref() == Some(named.build_id()));
        let unused = finder.named().iter().filter(|named| !is_used(named));
        let unused =
            unused.map(|named| Unused { path: named.path().into(), build_id: named.build_id().clone() }).collect();
        let mut reports = Vec::new();
        let modules = modules.into_iter().map(|(key, Resolved { functions, report, .. })| {
            reports.push(report);
            (key, functions)
        });
        let modules = modules.collect();
        reports.sort_by(|one, other| (&one.path, &one.build_id).cmp(&(&other.path, &other.build_id)));
        Self { modules, generated, missing, stripped, unused, reports, remarks: finder.remarks() }
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

    /// What went wrong with sources, of no module in particular.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// What was found of each module, in the order of their paths.
    pub fn reports(&self) -> &[ModuleReport] {
        &self.reports
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

fn resolve_module(finder: &Finder, asked: &Asked) -> Resolved {
    let Asked { module, addresses } = asked;
    let kept = || addresses.values().map(Option::as_deref);
    let is_named = |functions: &[Function]| functions.iter().any(|function| function.name.is_some());
    let all: BTreeSet<FileAddress> = addresses.keys().copied().collect();
    let mut names = Resolution::new(&all);
    let mut is_complete = kept().all(|functions| functions.is_some());
    // A file could add nothing to what is kept with lines, unless the user knows better.
    let is_enough = kept().all(|functions| functions.is_some_and(kept::is_best)) && !finder.names_one_for(module);
    if let (Some(image), false) = (&module.image, is_enough) {
        if let Ok(elf) = ElfFile64::<LittleEndian, _>::parse(&**image) {
            names.add_symbols(&elf);
        }
        is_complete = true;
    } else if !is_enough {
        let files = finder.find(module);
        names.add_files(finder, &files);
        is_complete |= files.debug.is_some() || files.program.is_some();
    }
    let has_names = kept().flatten().any(is_named) || names.functions.values().any(|functions| is_named(functions));
    let report = names.report(asked, is_complete);
    Resolved { functions: names.functions, is_complete, has_names, report }
}

/// The addresses of one module, and what has been found for them so far.
struct Resolution<'a> {
    addresses: &'a BTreeSet<FileAddress>,
    functions: HashMap<FileAddress, Vec<Function>>,
    /// Debug information of more bytes is not read.
    most_debug: u64,
    files: Vec<UsedFile>,
    lacks: Vec<Lack>,
}

impl<'a> Resolution<'a> {
    fn new(addresses: &'a BTreeSet<FileAddress>) -> Self {
        Self { addresses, functions: HashMap::new(), most_debug: u64::MAX, files: Vec::new(), lacks: Vec::new() }
    }

    fn add_files(&mut self, finder: &Finder, files: &Files) {
        let both = || files.debug.iter().chain(&files.program);
        let mut split = SplitParts::at(SplitPlaces::of(finder, both()));
        // The separate file first: it has the full symbol table and the lines, the stripped one a
        // few exported names.
        for found in both() {
            if self.is_complete() {
                break;
            }
            self.files.push(UsedFile::of(found));
            self.add_file(
                &found.file,
                files.supplementary.as_ref().map(|found| &found.file),
                &mut split,
                finder.ahead(),
            );
        }
        if self.files.iter().any(|file| file.has_debug_info) {
            self.files.extend(files.supplementary.as_ref().map(UsedFile::of));
            if let Some((path, id)) = &files.lost_supplementary {
                self.lacks.push(Lack::Supplementary { path: path.clone(), id: id.clone() });
            }
        }
        self.files.extend(split.found.into_iter().map(|place| UsedFile {
            place,
            by: FoundBy::Split,
            has_debug_info: true,
            has_symbols: false,
            is_unchecked: false,
        }));
        if !split.lost.is_empty() {
            self.lacks.push(Lack::Split { paths: split.lost.into_iter().collect() });
        }
    }

    fn is_complete(&self) -> bool {
        self.addresses.iter().all(|address| {
            self.functions.get(address).is_some_and(|functions| functions.iter().all(|f| f.name.is_some()))
        })
    }

    fn add_file(&mut self, file: &File, supplementary: Option<&File>, split: &mut SplitParts<'_>, ahead: &Ahead) {
        let Ok(positioned) = PositionedFile::new(file) else {
            return;
        };
        let cache = ReadCache::new(positioned);
        let Ok(elf) = ElfFile64::<LittleEndian, _>::parse(&cache) else {
            return;
        };
        if elf.section_by_name(".debug_info").is_some_and(|section| section.size() <= self.most_debug) {
            for (address, functions) in dwarf::functions(file, supplementary, split, self.addresses, ahead) {
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

    /// What was found in all, with what the snapshots keep.
    fn report(&mut self, asked: &Asked, is_complete: bool) -> ModuleReport {
        let Asked { module, addresses } = asked;
        let mut report = ModuleReport {
            path: module.path.clone(),
            build_id: module.build_id.clone(),
            is_kept_whole: module.image.is_some(),
            places: addresses.len(),
            named: 0,
            with_lines: 0,
            inlined: 0,
            kept: 0,
            files: std::mem::take(&mut self.files),
            lacks: std::mem::take(&mut self.lacks),
        };
        for (address, kept) in addresses {
            let found = self.functions.get(address).map(Vec::as_slice);
            let functions = kept::better(kept.as_deref(), found).unwrap_or_default();
            report.kept += usize::from(kept.as_ref().is_some_and(|kept| !kept.is_empty()));
            report.named += usize::from(functions.last().is_some_and(|outermost| outermost.name.is_some()));
            report.with_lines += usize::from(functions.iter().any(|function| function.line.is_some()));
            report.inlined += functions.len().saturating_sub(1);
        }
        let has_debug_info = report.files.iter().any(|file| file.has_debug_info);
        if report.files.is_empty() && !report.is_kept_whole && !(is_complete && report.with_lines == report.places) {
            report.lacks.push(Lack::File);
        } else if !report.is_kept_whole && !has_debug_info && report.with_lines < report.places {
            report.lacks.push(if report.named < report.places { Lack::Names } else { Lack::DebugInfo });
        }
        report
    }
}
