//! Names of functions in files to which their paths do not lead: deleted, replaced by an upgrade,
//! in memory alone, in a mount namespace of the process's own. They are looked up while the process
//! has them, and kept in the snapshot.
//!
//! Promises: of a module it is found out once whether its path leads to its file, and of one whose
//! path does nothing more is read. Of the others an address is looked up once; how many are
//! remembered, how often debug information is read for a recording, of how many bytes, and for how
//! long in one snapshot, is bounded. Nothing is held meanwhile, and a file that does not come is
//! given up.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::{
    BuildId, FileAddress, Frame, Function, Module, ModuleIndex, NamedCode, ProcessId, RuntimeAddress, Thread,
};
use crate::process::{LoadedModule, Source};
use crate::symbols::{Finder, functions_exported, functions_in};

/// Addresses of one module that are remembered; when there are more, those from before are looked
/// up again.
const MOST_ADDRESSES: usize = 1 << 14;
/// A name in a file may be megabytes, and so may be those of functions that were inlined into one
/// another.
const MOST_OF_A_NAME: usize = 4096;
/// What is remembered of one module, in bytes.
const MOST_BYTES: usize = 4 << 20;
/// Modules that are remembered: a process may load and unload plugins for ever.
const MOST_MODULES: usize = 1 << 14;
/// How often debug information of one module is read for a recording, which reads all of it each
/// time that a frame lies at a new address. Tables of symbols are read as often as there is
/// something new.
const DEBUG_READS: u32 = 32;
/// Debug information of more bytes is not read for a recording: it would be in memory beside a
/// process that is in trouble.
const MOST_DEBUG: u64 = 64 << 20;

/// After this time nothing more is begun for one snapshot of a recording, and reading one file is
/// given up; the second is for a single snapshot, whose user waits for all that can be said.
const NAMING_TIMEOUTS: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(60)];

/// What identifies one image in one process.
type Key = (ProcessId, String, Option<BuildId>, RuntimeAddress);

/// What is known of the modules of all targets.
pub(super) struct Named {
    modules: HashMap<Key, Found>,
    /// Whether there is one snapshot only, which is printed with all that can be said.
    is_for_one: bool,
}

enum Found {
    /// The file can be found by its path later.
    InPlace,
    Elsewhere(Elsewhere),
}

#[derive(Default)]
struct Elsewhere {
    functions: HashMap<FileAddress, Arc<[Function]>>,
    /// What these take.
    bytes: usize,
    debug_reads: u32,
    /// Whether its file could not be read, so that it is not tried again.
    is_given_up: bool,
}

impl Named {
    pub(super) fn new(is_for_one: bool) -> Self {
        Self { modules: HashMap::new(), is_for_one }
    }

    /// What is to be kept of the frames of these threads, which lie in these modules.
    pub(super) fn of(
        &mut self,
        source: &Source<'_>,
        process: ProcessId,
        modules: &[Module],
        threads: &[Thread],
    ) -> Vec<NamedCode> {
        if self.modules.len() > MOST_MODULES {
            self.modules.clear();
        }
        let (begun, timeout) = (Instant::now(), NAMING_TIMEOUTS[usize::from(self.is_for_one)]);
        let frames = || threads.iter().flat_map(|thread| &thread.stack.frames);
        let mut is_used = vec![false; modules.len()];
        for (module, _) in frames().filter_map(Frame::inside) {
            if let Some(used) = is_used.get_mut(module.0 as usize) {
                *used = true;
            }
        }
        let mut wanted: Vec<Option<BTreeSet<FileAddress>>> = vec![None; modules.len()];
        let mut is_any_elsewhere = false;
        for (number, module) in modules.iter().enumerate().filter(|(number, _)| is_used[*number]) {
            if begun.elapsed() < timeout && self.is_elsewhere(source, process, module) {
                wanted[number] = Some(BTreeSet::new());
                is_any_elsewhere = true;
            }
        }
        if !is_any_elsewhere {
            return Vec::new();
        }
        for (module, address) in frames().filter_map(Frame::inside) {
            if let Some(Some(addresses)) = wanted.get_mut(module.0 as usize) {
                addresses.insert(address);
            }
        }
        let mut named = Vec::new();
        for ((module, addresses), number) in modules.iter().zip(&wanted).zip(0..) {
            if let Some(addresses) = addresses
                && let Some(Found::Elsewhere(elsewhere)) = self.modules.get_mut(&key(process, module))
            {
                if begun.elapsed() < timeout {
                    elsewhere.look_up(source, module, addresses, self.is_for_one);
                }
                named.extend(addresses.iter().filter_map(|address| {
                    let functions = elsewhere.functions.get(address)?.clone();
                    Some(NamedCode { module: ModuleIndex(number), address: *address, functions })
                }));
            }
        }
        named
    }

    /// Forgets what was read of a process that has ended or executed another program.
    pub(super) fn forget(&mut self, process: ProcessId) {
        self.modules.retain(|(owner, ..), _| *owner != process);
    }

    fn is_elsewhere(&mut self, source: &Source<'_>, process: ProcessId, module: &Module) -> bool {
        if module.image.is_some() {
            return false;
        }
        let key = key(process, module);
        if let Some(found) = self.modules.get(&key) {
            return matches!(found, Found::Elsewhere(_));
        }
        let Some(loaded) = loaded(source, module) else {
            // A thread that rests lies in it, though it is no longer mapped: nothing can be learned
            // of it any more.
            return false;
        };
        let (found, is_elsewhere) = match source.is_in_place(loaded) {
            Some(true) => (Found::InPlace, false),
            Some(false) => (Found::Elsewhere(Elsewhere::default()), true),
            None => (Found::Elsewhere(Elsewhere { is_given_up: true, ..Elsewhere::default() }), true),
        };
        self.modules.insert(key, found);
        is_elsewhere
    }
}

impl Elsewhere {
    /// Looks up those of the addresses that were not before.
    fn look_up(&mut self, source: &Source<'_>, module: &Module, addresses: &BTreeSet<FileAddress>, is_for_one: bool) {
        let is_new = |address: &&FileAddress| !self.functions.contains_key(address);
        let mut new: BTreeSet<FileAddress> = addresses.iter().filter(is_new).take(MOST_ADDRESSES).copied().collect();
        if new.is_empty() || self.is_given_up {
            return;
        }
        let Some(loaded) = loaded(source, module) else {
            return;
        };
        if self.functions.len() + new.len() > MOST_ADDRESSES || self.bytes > MOST_BYTES {
            self.functions.clear();
            self.bytes = 0;
            new = addresses.iter().take(MOST_ADDRESSES).copied().collect();
        }
        let most_debug = match self.debug_reads {
            _ if is_for_one => u64::MAX,
            0..DEBUG_READS => MOST_DEBUG,
            _ => 0,
        };
        self.debug_reads += 1;
        let finder = Finder::new(vec![source.root().into()]);
        let read = |most_debug: u64| {
            let (finder, module, new) = (finder.clone(), module.clone(), new.clone());
            source.with_file_within(NAMING_TIMEOUTS[usize::from(is_for_one)], loaded, move |file| {
                Some(functions_in(&finder, &module, file.try_clone().ok()?, &new, most_debug))
            })
        };
        let found = read(most_debug).or_else(|| {
            // It may have been the debug information that took too long.
            self.debug_reads = DEBUG_READS;
            read(0)
        });
        let found = found.flatten().unwrap_or_else(|| {
            self.is_given_up = true;
            let exported = source.exported(loaded, &new);
            functions_exported(&exported, &new)
        });
        for (address, functions) in found {
            if self.bytes > MOST_BYTES {
                break;
            }
            let functions: Arc<[Function]> = functions.into_iter().map(shortened).collect();
            self.bytes += functions.iter().map(size).sum::<usize>();
            self.functions.insert(address, functions);
        }
    }
}

fn key(process: ProcessId, module: &Module) -> Key {
    (process, module.path.clone(), module.build_id.clone(), module.range.start)
}

fn loaded<'s>(source: &'s Source<'_>, module: &Module) -> Option<&'s LoadedModule> {
    source.modules.iter().find(|loaded| loaded.module == *module)
}

fn size(function: &Function) -> usize {
    let texts = [&function.name, &function.file].into_iter().flatten();
    size_of::<Function>() + texts.map(String::len).sum::<usize>()
}

fn shortened(mut function: Function) -> Function {
    for text in [&mut function.name, &mut function.file].into_iter().flatten() {
        text.truncate(text.floor_char_boundary(MOST_OF_A_NAME));
    }
    function
}
