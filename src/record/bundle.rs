//! Files of modules on stacks, kept in the recording while the process has them: through its own
//! root, its mappings, or the program that it executes.
//!
//! Promises: each is read once, after the threads were let go, and nothing is held meanwhile. What
//! is kept for one recording is bounded, and so is the time that a file is waited for.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;
use std::time::Duration;

use super::Error;
use crate::elf::Wanted;
use crate::model::{BuildId, BundledFile, FileAddress, Frame, Module, ProcessId, Thread};
use crate::proc::{MemoryMap, ProcDir};
use crate::process::{LoadedModule, Loader, ProcessAccess, Source, TimeoutWorker};
use crate::store::{self, Reader};
use crate::symbols::{Finder, bundle};
use crate::sys::memory::ProcessMemory;

/// What one recording keeps, compressed.
const MOST_BYTES: u64 = 2 << 30;
const MOST_MODULES: usize = 1 << 14;
/// For how long one module's files are waited for.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Modules, and the addresses of frames in each.
type Places = BTreeMap<ModuleKey, (Module, BTreeSet<FileAddress>)>;
/// Its path and its build-id.
type ModuleKey = (String, Option<BuildId>);

/// What is kept of a process's files, and has been.
pub(super) struct Bundler {
    wanted: Option<Wanted>,
    seen: HashSet<(ProcessId, String, Option<BuildId>)>,
    bytes: u64,
    /// Not yet in the recording.
    pending: Vec<BundledFile>,
}

impl Bundler {
    pub(super) fn new(wanted: Option<Wanted>) -> Self {
        Self { wanted, seen: HashSet::new(), bytes: 0, pending: Vec::new() }
    }

    /// Reads the files of those modules that these threads are in and none was in before.
    pub(super) fn add(&mut self, source: &Source<'_>, process: ProcessId, modules: &[Module], threads: &[Thread]) {
        let Some(wanted) = self.wanted else { return };
        let mut places: BTreeMap<usize, BTreeSet<FileAddress>> = BTreeMap::new();
        for (module, address) in threads.iter().flat_map(|thread| &thread.stack.frames).filter_map(Frame::inside) {
            places.entry(module.0 as usize).or_default().insert(address);
        }
        for (number, addresses) in places {
            let Some(module) = modules.get(number).filter(|module| module.image.is_none()) else { continue };
            let is_full = self.bytes > MOST_BYTES || self.seen.len() > MOST_MODULES;
            let key = (process, module.path.clone(), module.build_id.clone());
            if !is_full && self.seen.insert(key) {
                let loaded = source.modules.iter().find(|loaded| loaded.module == *module);
                let files = loaded.map(|loaded| files_of(source, loaded, module, addresses, wanted));
                let files = files.unwrap_or_default();
                self.bytes += files.iter().map(|file| file.packed.len() as u64).sum::<u64>();
                self.pending.extend(files);
            }
        }
    }

    /// What is to be stored.
    pub(super) fn take(&mut self) -> Vec<BundledFile> {
        std::mem::take(&mut self.pending)
    }
}

/// What a process has of a module, as snapshots know it.
fn files_of(
    source: &Source<'_>,
    loaded: &LoadedModule,
    module: &Module,
    addresses: BTreeSet<FileAddress>,
    wanted: Wanted,
) -> Vec<BundledFile> {
    let (finder, module) = (Finder::new(vec![source.root().into()]), module.clone());
    let read = source.with_file_within(TIMEOUT, loaded, move |file| {
        Some(bundle(&finder, &module, Some(file.try_clone().ok()?), &addresses, wanted))
    });
    read.flatten().unwrap_or_default()
}

/// Adds to a recording the files of the modules on its stacks: as its process has them, if that
/// still runs, or as this host has them at their paths. Returns how many were added, and the
/// modules without any.
pub fn bundle_recorded(path: &Path, wanted: Wanted) -> Result<(usize, Vec<String>), Error> {
    let path = store::recording_at(path)?;
    let mut places = Places::new();
    let mut process = None;
    let mut reader = Reader::open(&path)?;
    while let Some(next) = reader.next_snapshot()? {
        let Ok(snapshot) = next else { continue };
        for frame in snapshot.threads.iter().flat_map(|thread| &thread.stack.frames) {
            if let (Some(module), Some((_, address))) = (snapshot.module_of(frame), frame.inside())
                && module.image.is_none()
            {
                let key = (module.path.clone(), module.build_id.clone());
                places.entry(key).or_insert_with(|| (module.clone(), BTreeSet::new())).1.insert(address);
            }
        }
        process = Some(snapshot.process.id);
    }
    let mut files = Vec::new();
    let mut missing = Vec::new();
    let mut kept = live(process, &places, wanted);
    for (key, (module, addresses)) in &places {
        let found = kept.remove(key).filter(|found| !found.is_empty());
        let found = found.unwrap_or_else(|| bundle(&Finder::new(Vec::new()), module, None, addresses, wanted));
        if found.is_empty() {
            missing.push(module.path.clone());
        }
        files.extend(found);
    }
    Ok((store::add_bundled(&path, &files)?, missing))
}

/// What the process itself has of these modules, if it is still the one.
fn live(process: Option<ProcessId>, places: &Places, wanted: Wanted) -> BTreeMap<ModuleKey, Vec<BundledFile>> {
    let mut kept = BTreeMap::new();
    let Some(process) = process else { return kept };
    let Ok(directory) = ProcDir::open(process.pid) else { return kept };
    // Another may have its id now.
    let is_it = directory.id().is_ok_and(|id| id == process);
    let map = directory.maps().and_then(|text| MemoryMap::parse(&text));
    let (true, Ok(owner), Ok(map)) = (is_it, directory.memory_owner(), map) else { return kept };
    let access = ProcessAccess::new(ProcessMemory::open(owner), true, TimeoutWorker::default());
    let mut loader = Loader::default();
    let source = loader.modules(process, directory.root(), &map, &access);
    for (key, (module, addresses)) in places {
        // A file may have been deleted since, and its path says so now.
        let is_it = |loaded: &&LoadedModule| match &module.build_id {
            Some(_) => loaded.module.build_id == module.build_id,
            None => loaded.module.build_id.is_none() && loaded.module.path == module.path,
        };
        if let Some(loaded) = source.modules.iter().find(is_it) {
            kept.insert(key.clone(), files_of(&source, loaded, module, addresses.clone(), wanted));
        }
    }
    kept
}
