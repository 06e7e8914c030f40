//! Code that JIT compilers register for gdb: LLVM's (numba, PostgreSQL, Julia), and whatever else
//! keeps gdb's list.
//!
//! `__jit_debug_descriptor` begins a list of ELF objects in the process's memory. It is looked for
//! only once a walk meets code in no module, once in each file; the list is read once more only
//! where its beginning has changed, and an object that is used is compared with what was read of it
//! before, once in a snapshot.
//!
//! Promises: the list is hostile. Its length, the size of each object and of all together are
//! bounded, a list that runs in circles ends, and where objects claim the same code the one that
//! was registered last has it. Nothing is written to the process, and debug information is not
//! read.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use super::images::MemoryImage;
use super::{ProcessAccess, Source};
use crate::elf::{CfiSections, RegisteredObject, read_all, variable};
use crate::model::{Bias, BuildId, FileAddress, GeneratedCode, ProcessId, RuntimeAddress};

const DESCRIPTOR: &[u8] = b"__jit_debug_descriptor";
/// Its version and the last action, 32 bits each, and two pointers: to the entry of that action and
/// to the first.
const DESCRIPTOR_SIZE: usize = 24;
/// Pointers to the next and the last one, the address of an object, and its size.
const ENTRY_SIZE: usize = 32;
/// A program and some libraries may have one each.
const MAX_DESCRIPTORS: usize = 8;
/// A function at a time is compiled and registered by some.
const MAX_ENTRIES: usize = 4096;
const MAX_OBJECT: u64 = 16 << 20;
const MAX_OBJECTS: u64 = 64 << 20;
/// How often a list is read that changes meanwhile.
const TRIES: usize = 3;

type Descriptor = [u8; DESCRIPTOR_SIZE];

/// What is known of all processes, and of the files that they have loaded.
#[derive(Default)]
pub struct Registry {
    processes: HashMap<ProcessId, Known>,
    /// Where files have the descriptor, if they have one.
    files: HashMap<BuildId, Option<FileAddress>>,
    hash: RandomState,
}

/// What was read of one process.
#[derive(Default)]
struct Known {
    /// The number of the modules that were searched.
    layout: Option<u64>,
    descriptors: Vec<(RuntimeAddress, Option<Descriptor>)>,
    objects: Vec<Object>,
    /// By its beginning: the end of the code, and the number of its object.
    code: BTreeMap<FileAddress, (FileAddress, usize)>,
}

/// An entry of the list: where it lies, and where its object does.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Entry {
    at: RuntimeAddress,
    object: RuntimeAddress,
    size: u64,
}

struct Object {
    entry: Entry,
    /// Of its bytes. Two hashes of a random seed are the same for the same bytes only.
    hash: u64,
    parsed: Arc<Parsed>,
}

struct Parsed {
    object: RegisteredObject,
    cfi: Arc<CfiSections>,
}

/// The list of one process in one snapshot.
pub struct Registered<'a> {
    registry: &'a mut Registry,
    access: &'a ProcessAccess,
    process: ProcessId,
    is_read: bool,
    is_read_again: bool,
    /// The objects that were compared, or are new.
    compared: HashSet<usize>,
}

impl Registry {
    /// The objects that this process has registered.
    pub fn of<'a>(&'a mut self, process: ProcessId, access: &'a ProcessAccess) -> Registered<'a> {
        let compared = HashSet::new();
        Registered { registry: self, access, process, is_read: false, is_read_again: false, compared }
    }

    /// Forgets what was read of a process that has ended or executed another program.
    pub fn forget(&mut self, process: ProcessId) {
        self.processes.remove(&process);
    }
}

impl Registered<'_> {
    /// How code at this address is unwound, if it was registered.
    pub fn cfi(&mut self, source: &Source<'_>, at: RuntimeAddress) -> Option<Arc<CfiSections>> {
        if !self.is_read {
            self.search(source);
        }
        Some(self.object(at)?.cfi.clone())
    }

    /// What registered code at these addresses is called.
    pub fn names(&mut self, addresses: &BTreeSet<RuntimeAddress>) -> Vec<GeneratedCode> {
        let mut names = Vec::new();
        for &address in addresses {
            if let Some(parsed) = self.object(address)
                && let Some((range, name)) = parsed.object.function(FileAddress(address.0))
            {
                let range = RuntimeAddress(range.start.0)..RuntimeAddress(range.end.0);
                names.push(GeneratedCode { address, range, name: name.into() });
            }
        }
        names
    }

    fn search(&mut self, source: &Source<'_>) {
        let known = self.registry.processes.entry(self.process).or_default();
        if known.layout.replace(source.layout) == Some(source.layout) {
            return;
        }
        known.descriptors.clear();
        for loaded in &source.modules {
            let of_file = loaded.module.build_id.as_ref().and_then(|id| self.registry.files.get(id));
            let found = match of_file {
                Some(found) => *found,
                None => {
                    let looked = source.with_file(loaded, |file| variable(file, DESCRIPTOR, DESCRIPTOR_SIZE as u64));
                    if let (Some(found), Some(id)) = (looked, &loaded.module.build_id) {
                        self.registry.files.insert(id.clone(), found);
                    }
                    looked.flatten()
                }
            };
            known.descriptors.extend(found.map(|place| (loaded.module.bias.to_runtime(place), None)));
            if known.descriptors.len() >= MAX_DESCRIPTORS {
                break;
            }
        }
    }

    fn object(&mut self, at: RuntimeAddress) -> Option<Arc<Parsed>> {
        if !std::mem::replace(&mut self.is_read, true) {
            self.update();
        }
        let mut found = self.find(at)?;
        if !self.is_same(found) {
            if !std::mem::replace(&mut self.is_read_again, true) {
                self.read();
            }
            found = self.find(at).filter(|found| self.compared.contains(found))?;
        }
        Some(self.known()?.objects.get(found)?.parsed.clone())
    }

    fn known(&self) -> Option<&Known> {
        self.registry.processes.get(&self.process)
    }

    fn find(&self, at: RuntimeAddress) -> Option<usize> {
        let at = FileAddress(at.0);
        let (_, (end, object)) = self.known()?.code.range(..=at).next_back()?;
        (at < *end).then_some(*object)
    }

    /// Whether an object is still what was read.
    fn is_same(&mut self, number: usize) -> bool {
        if self.compared.contains(&number) {
            return true;
        }
        let Some(Object { entry, hash, .. }) = self.known().and_then(|known| known.objects.get(number)) else {
            return false;
        };
        let is_same = self.entry(entry.at).is_some_and(|(now, _)| now == *entry)
            && self.bytes(entry).is_some_and(|bytes| self.registry.hash.hash_one(bytes) == *hash);
        if is_same {
            self.compared.insert(number);
        }
        is_same
    }

    /// Reads the list unless it begins as it did.
    fn update(&mut self) {
        let Some(known) = self.known().filter(|known| !known.descriptors.is_empty()) else {
            return;
        };
        let is_begun_alike =
            known.descriptors.iter().all(|(at, before)| before.is_some() && self.descriptor(*at) == *before);
        let begins = known.objects.is_empty() || self.is_same(0);
        if !(is_begun_alike && begins) {
            self.read();
        }
    }

    fn read(&mut self) {
        let Some(mut known) = self.registry.processes.remove(&self.process) else {
            return;
        };
        let mut entries = Vec::new();
        for _ in 0..TRIES {
            entries.clear();
            let mut seen = HashSet::new();
            for (at, descriptor) in &mut known.descriptors {
                *descriptor = self.descriptor(*at);
                self.list(descriptor.as_ref(), &mut seen, &mut entries);
            }
            if known.descriptors.iter().all(|(at, before)| self.descriptor(*at) == *before) {
                break;
            }
        }
        // Those that were read before are compared when they are used.
        self.compared.clear();
        let mut before: HashMap<Entry, Object> = known.objects.drain(..).map(|object| (object.entry, object)).collect();
        known.code.clear();
        let mut left = MAX_OBJECTS;
        for entry in entries {
            let Some(rest) = left.checked_sub(entry.size) else { continue };
            let old = before.remove(&entry).filter(|_| !self.is_read_again);
            let is_new = old.is_none();
            let Some(object) = old.or_else(|| self.new_object(entry)) else { continue };
            left = rest;
            let number = known.objects.len();
            for code in &object.parsed.object.code {
                let last = known.code.range(..code.end).next_back();
                if last.is_none_or(|(_, (end, _))| *end <= code.start) {
                    known.code.insert(code.start, (code.end, number));
                }
            }
            known.objects.push(object);
            if is_new {
                self.compared.insert(number);
            }
        }
        self.registry.processes.insert(self.process, known);
    }

    fn new_object(&self, entry: Entry) -> Option<Object> {
        let bytes = self.bytes(&entry)?;
        let mut object = RegisteredObject::parse(&bytes)?;
        let cfi = Arc::new(std::mem::take(&mut object.cfi));
        Some(Object { entry, hash: self.registry.hash.hash_one(bytes), parsed: Arc::new(Parsed { object, cfi }) })
    }

    fn bytes(&self, entry: &Entry) -> Option<Vec<u8>> {
        let image = MemoryImage { access: self.access, bias: Bias(0) };
        read_all(&image, FileAddress(entry.object.0), entry.size)
    }

    fn descriptor(&self, at: RuntimeAddress) -> Option<Descriptor> {
        let mut bytes = [0; DESCRIPTOR_SIZE];
        self.access.read_all(at, &mut bytes).then_some(bytes)
    }

    /// The entries from the first on, the last registered first.
    fn list(&self, descriptor: Option<&Descriptor>, seen: &mut HashSet<RuntimeAddress>, entries: &mut Vec<Entry>) {
        let mut next = descriptor.filter(|bytes| word(*bytes, 0) as u32 == 1).map(|bytes| word(bytes, 16));
        while let Some(at) = next.filter(|at| *at != 0).map(RuntimeAddress)
            && seen.len() < MAX_ENTRIES
            && seen.insert(at)
            && let Some((entry, after)) = self.entry(at)
        {
            if entry.size <= MAX_OBJECT {
                entries.push(entry);
            }
            next = Some(after);
        }
    }

    fn entry(&self, at: RuntimeAddress) -> Option<(Entry, u64)> {
        let mut bytes = [0; ENTRY_SIZE];
        let entry = |bytes| Entry { at, object: RuntimeAddress(word(bytes, 16)), size: word(bytes, 24) };
        self.access.read_all(at, &mut bytes).then(|| (entry(&bytes), word(&bytes, 0)))
    }
}

fn word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u64::from_le_bytes(*word))
}
