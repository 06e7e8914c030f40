//! From a memory map to modules: what is loaded where, its build-id, and its call frame
//! information.
//!
//! Identity comes from the process's own memory (headers and build-id note of what really runs);
//! the bytes of the call frame information come from the file when the file is provably the same,
//! and from memory when it is not: replaced by a package upgrade, deleted, a memfd, out of reach.
//! What was once read is kept and shared by all targets and samples.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::ProcessAccess;
use super::groups::{Group, groups};
use super::images::{BytesImage, MemoryImage};
use super::loaded::{LoadedModule, headers_of};
use super::places::{Places, mapped_file};
use crate::elf::{CfiSections, ExportedSymbol, FileImage, Headers, Image, exported, open_below, open_regular};
use crate::model::{
    Bias, BuildId, FileAddress, Module, ModuleIndex, Notice, ProcessId, Reason, RuntimeAddress, Subject,
};
use crate::proc::{Backing, MemoryMap};

/// The vdso is two pages; anything that claims to be much larger is not one.
const MAX_VDSO: u64 = 1 << 20;

/// What distinguishes one mapping of a file in one process from every other.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Identity {
    process: ProcessId,
    path: String,
    device: (i32, i32),
    inode: u64,
    range: Range<RuntimeAddress>,
}

/// Reads modules and keeps what it read.
#[derive(Default)]
pub struct Loader {
    modules: HashMap<Identity, LoadedModule>,
    /// What each process had loaded last, in the order of addresses, and the number of that.
    layouts: HashMap<ProcessId, (Vec<Identity>, u64)>,
    last_layout: u64,
    /// Call frame information by build-id: one copy, however many targets load the file.
    by_build_id: HashMap<BuildId, Arc<CfiSections>>,
    /// The same for images without a build-id, by where they were seen.
    by_place: HashMap<(ProcessId, RuntimeAddress, String), Arc<CfiSections>>,
}

/// One process's modules, and where more of them can be read.
pub struct Source<'a> {
    loader: &'a mut Loader,
    access: &'a ProcessAccess,
    process: ProcessId,
    root: PathBuf,
    map: &'a MemoryMap,
    /// In the order in which frames number them.
    pub modules: Vec<LoadedModule>,
    /// The same number for the same modules at the same addresses of the same process.
    pub layout: u64,
    /// What of them could not be read, and why.
    pub notices: Vec<Notice>,
}

impl Loader {
    /// The modules of a process, as its memory map shows them.
    ///
    /// `root` is the root of the directory tree that the process sees, below which its files are
    /// looked for.
    pub fn modules<'a>(
        &'a mut self,
        process: ProcessId,
        root: PathBuf,
        map: &'a MemoryMap,
        access: &'a ProcessAccess,
    ) -> Source<'a> {
        let mut found = Vec::new();
        let groups = groups(map);
        let (parts, wholes): (Vec<_>, Vec<_>) = groups.iter().partition(|group| group.is_part());
        for group in wholes.iter().chain(&parts) {
            let Some(identity) = group.identity(process) else {
                continue;
            };
            let known = self.modules.get(&identity).cloned();
            let as_part = || {
                let whole = wholes.iter().find(|whole| group.is_part_of(whole))?.identity(process)?;
                group.as_part_of(self.modules.get(&whole)?)
            };
            if let Some(module) = known.or_else(as_part).or_else(|| group.read(&root, access)) {
                self.modules.insert(identity.clone(), module.clone());
                found.push((identity, module));
            }
        }
        found.sort_by_key(|(identity, _)| identity.range.start);
        let (loaded, modules): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        // A process that executes itself again and again, or loads and unloads plugins, has new
        // ones for ever.
        let now: HashSet<&Identity> = loaded.iter().collect();
        self.modules.retain(|identity, _| identity.process != process || now.contains(identity));
        self.by_place.retain(|(owner, start, path), _| {
            *owner != process || loaded.iter().any(|now| now.range.start == *start && now.path == *path)
        });
        let layout = self.layout(process, loaded);
        Source { loader: self, access, process, root, map, modules, layout, notices: Vec::new() }
    }

    fn layout(&mut self, process: ProcessId, loaded: Vec<Identity>) -> u64 {
        match self.layouts.get(&process) {
            Some((known, number)) if *known == loaded => *number,
            _ => {
                self.last_layout += 1;
                self.layouts.insert(process, (loaded, self.last_layout));
                self.last_layout
            }
        }
    }

    /// Forgets what was read of a process that has ended or executed another program.
    pub fn forget(&mut self, process: ProcessId) {
        self.modules.retain(|identity, _| identity.process != process);
        self.layouts.remove(&process);
        self.by_place.retain(|(owner, ..), _| *owner != process);
    }
}

impl Group<'_> {
    fn identity(&self, process: ProcessId) -> Option<Identity> {
        let range = self.range();
        Some(match &self.first.backing {
            Backing::File { device, inode, path } => {
                Identity { process, path: path.clone(), device: *device, inode: *inode, range }
            }
            Backing::Vdso => Identity { process, path: "[vdso]".into(), device: (0, 0), inode: 0, range },
            Backing::MainStack | Backing::Uprobes | Backing::Anonymous => return None,
        })
    }

    fn read(&self, root: &Path, access: &ProcessAccess) -> Option<LoadedModule> {
        let (start, range) = (self.first.range.start, self.range());
        if self.first.backing == Backing::Vdso {
            return read_vdso(range, access);
        }
        let Backing::File { path, .. } = &self.first.backing else {
            return None;
        };
        let in_memory = (self.first.offset == 0)
            .then(|| Headers::parse(|offset, buffer| access.read_all(start.offset(offset.cast_signed()), buffer)).ok())
            .flatten();
        let headers = match in_memory {
            Some(headers) => headers,
            // The page with the headers is not mapped; the file has it.
            None => {
                let (root, path, mapped) = (root.to_path_buf(), path.clone(), mapped_file(root, self.first));
                access.file(move || {
                    let open_mapped = || open_regular(&mapped?).ok();
                    headers_of(&open_below(&root, &path).ok().or_else(open_mapped)?).ok()
                })??
            }
        };
        let bias = self.bias(&headers).filter(|bias| self.code.is_some() || self.has_moved_code(&headers, *bias))?;
        let mut build_id = headers.build_id(&MemoryImage { access, bias });
        if !access.is_readable() {
            // What runs cannot be asked; the file at its path is most likely the one.
            let (root, path, headers) = (root.to_path_buf(), path.clone(), headers.clone());
            build_id = access.file(move || {
                let file = open_below(&root, &path).ok()?;
                headers.build_id(&FileImage { file: &file, headers: &headers })
            })?;
        }
        let module = Module { path: path.clone(), build_id, bias, range, image: None };
        Some(LoadedModule { module, headers, whole: bias })
    }

    /// The same image once more: where the kernel has it from the same file, what runs here is what
    /// was read there.
    fn as_part_of(&self, whole: &LoadedModule) -> Option<LoadedModule> {
        let bias = self.bias(&whole.headers)?;
        let range = match self.code.is_some() || self.has_moved_code(&whole.headers, bias) {
            true => self.range(),
            false => return None,
        };
        Some(LoadedModule { module: Module { bias, range, ..whole.module.clone() }, ..whole.clone() })
    }

    /// Whether the anonymous memory lies where the file says that its code is.
    fn has_moved_code(&self, headers: &Headers, bias: Bias) -> bool {
        let overlaps = |start: FileAddress, size: u64| {
            let start = bias.to_runtime(start);
            let end = RuntimeAddress(start.0.saturating_add(size));
            self.moved.is_some_and(|moved| moved.range.start < end && start < moved.range.end)
        };
        headers.loads.iter().any(|load| load.executable && overlaps(load.address, load.file_size))
    }

    fn bias(&self, headers: &Headers) -> Option<Bias> {
        let mapping = self.code.unwrap_or(self.first);
        let address = headers.address_of_offset(mapping.offset, mapping.executable)?;
        Some(Bias(mapping.range.start.0.wrapping_sub(address.0)))
    }
}

fn read_vdso(range: Range<RuntimeAddress>, access: &ProcessAccess) -> Option<LoadedModule> {
    let size = range.end.0.checked_sub(range.start.0).filter(|&size| size <= MAX_VDSO)?;
    let mut image = vec![0; usize::try_from(size).ok()?];
    if !access.read_all(range.start, &mut image) {
        return None;
    }
    let bytes = BytesImage(&image);
    let headers = Headers::parse(|offset, buffer| bytes.read(FileAddress(offset), buffer)).ok()?;
    let first = headers.address_of_offset(0, true)?;
    let bias = Bias(range.start.0.wrapping_sub(first.0));
    let build_id = headers.build_id(&MemoryImage { access, bias });
    let module = Module { path: "[vdso]".into(), build_id, bias, range, image: Some(image.into()) };
    Some(LoadedModule { module, headers, whole: bias })
}

impl Source<'_> {
    /// What comes of looking at the file of a module. None when there is none that is the one that
    /// runs.
    pub fn with_file<T: Send + 'static>(
        &self,
        loaded: &LoadedModule,
        look: impl FnOnce(&File) -> T + Send + 'static,
    ) -> Option<T> {
        let places = self.places(loaded);
        self.access.file(move || places.open().ok().map(|opened| look(&opened.file)))?
    }

    /// The same for who has something to do with the file that takes a while.
    pub fn with_file_within<T: Send + 'static>(
        &self,
        timeout: Duration,
        loaded: &LoadedModule,
        look: impl FnOnce(&File) -> T + Send + 'static,
    ) -> Option<T> {
        let places = self.places(loaded);
        self.access.file_within(timeout, move || places.open().ok().map(|opened| look(&opened.file)))?
    }

    /// Whether the path of a module leads to its file on this host, for those who look later. None
    /// when the file system does not answer.
    pub fn is_in_place(&self, loaded: &LoadedModule) -> Option<bool> {
        let places = self.places(loaded);
        self.access.file(move || places.is_in_place())
    }

    /// The functions that a module exports and one of these addresses lies in, by what lies in the
    /// process's memory.
    pub fn exported(&self, loaded: &LoadedModule, wanted: &BTreeSet<FileAddress>) -> Vec<ExportedSymbol> {
        let image = MemoryImage { access: self.access, bias: loaded.whole };
        exported(&loaded.headers, &image, loaded.whole, wanted)
    }

    /// The root of the directory tree that the process sees.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn places(&self, loaded: &LoadedModule) -> Places {
        Places::of(loaded, &self.root, self.map)
    }

    /// The call frame information of a module, read when it is first asked for.
    pub fn cfi(&mut self, index: ModuleIndex) -> Arc<CfiSections> {
        let Some(loaded) = self.modules.get(index.0 as usize) else {
            return Arc::default();
        };
        let place = (self.process, loaded.module.range.start, loaded.module.path.clone());
        let known = match &loaded.module.build_id {
            Some(id) => self.loader.by_build_id.get(id),
            None => self.loader.by_place.get(&place),
        };
        if let Some(sections) = known {
            return sections.clone();
        }
        let from_file = {
            let (places, headers) = (self.places(loaded), loaded.headers.clone());
            self.access
                .file(move || places.open().map(|opened| (sections_of(&opened.file, &headers), opened.elsewhere)))
        };
        let no_answer = || Err(Some(Reason::FileUnreadable { why: "its file system does not answer".into() }));
        let (mut sections, reason) = match from_file.unwrap_or_else(no_answer) {
            Ok(found) => found,
            Err(reason) => {
                let image = MemoryImage { access: self.access, bias: loaded.whole };
                (CfiSections::from_image(&loaded.headers, &image), reason)
            }
        };
        if let Some(reason) = reason {
            let subject = Subject::Module(loaded.module.path.clone());
            self.notices.push(Notice { subject, reason });
        }
        sections.entry = loaded.headers.entry;
        let sections = Arc::new(sections);
        match &loaded.module.build_id {
            Some(id) => self.loader.by_build_id.insert(id.clone(), sections.clone()),
            None => self.loader.by_place.insert(place, sections.clone()),
        };
        sections
    }
}

/// What a file's section headers lead to. Packers and builders of images take them off; then the
/// program headers do, as in memory.
fn sections_of(file: &File, headers: &Headers) -> CfiSections {
    let sections = CfiSections::from_file(file).unwrap_or_default();
    if sections.eh_frame.is_some() || sections.pclntab.is_some() || sections.debug_frame().is_some() {
        return sections;
    }
    CfiSections::from_image(headers, &FileImage { file, headers })
}
