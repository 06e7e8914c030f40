//! Which files belong to a module, and where they are: each source is a file of this room, and they
//! are tried in one order.
//!
//! What the user named comes first, then what the recording keeps, then this machine's files and
//! those below `--sysroot`, at last debuginfod. Promises: a file with another build-id is never
//! used; one that has none is used for a module that has none, and is marked. What is missing is
//! returned with what was found.

mod bundle;
mod debuginfod;
mod directories;
mod found;
mod http;
mod named;
mod roots;
mod source_text;
mod split;
mod supplementary;

use std::fs::File;
use std::path::PathBuf;

use bundle::Bundle;
use debuginfod::Wanted;
use directories::Directories;
use roots::Roots;

pub(super) use found::FoundFile;
pub(super) use source_text::text as source_text;
pub(super) use split::{DwoFile, SplitPlaces};

pub use debuginfod::Debuginfod;
pub use found::FoundBy;
pub use named::NamedFile;
pub use source_text::SourceMap;

use super::ahead::Ahead;
use crate::elf::Links;
use crate::model::{Bias, BuildId, BundledFile, Module, RuntimeAddress};

/// Where to look: files and directories that the user named, and directory trees in which the
/// target's paths mean something, the likeliest first.
#[derive(Clone, Debug)]
pub struct Finder {
    roots: Roots,
    named: Vec<NamedFile>,
    directories: Directories,
    bundle: Bundle,
    debuginfod: Option<Debuginfod>,
    source_maps: Vec<SourceMap>,
    ahead: Ahead,
}

/// The files of one module. Any of them may be missing.
#[derive(Default)]
pub(super) struct Files {
    /// What was loaded.
    pub(super) program: Option<FoundFile>,
    /// Debug information that was split off it.
    pub(super) debug: Option<FoundFile>,
    /// What dwz moved out of that file because others share it.
    pub(super) supplementary: Option<FoundFile>,
    /// What dwz moved and was not found: its path and its id.
    pub(super) lost_supplementary: Option<(String, BuildId)>,
}

impl Finder {
    /// Looks below each of these directories, and then in this machine's own tree.
    pub fn new(roots: Vec<PathBuf>) -> Self {
        let mut roots = roots;
        roots.push("/".into());
        Self {
            roots: Roots(roots),
            named: Vec::new(),
            directories: Directories::default(),
            bundle: Bundle::default(),
            debuginfod: None,
            source_maps: Vec::new(),
            ahead: Ahead::default(),
        }
    }

    /// Looks below this directory as well, before this machine's own tree.
    pub fn below(&self, root: PathBuf) -> Self {
        let mut finder = self.clone();
        let Roots(roots) = &mut finder.roots;
        roots.insert(roots.len().saturating_sub(1), root);
        finder
    }

    /// Uses these files, and those in these directories, before any other.
    pub fn with_named(self, named: Vec<NamedFile>, directories: Vec<PathBuf>) -> Self {
        Self { named, directories: Directories::new(directories), ..self }
    }

    /// Looks for source files at these places first.
    pub fn with_source_maps(self, source_maps: Vec<SourceMap>) -> Self {
        Self { source_maps, ..self }
    }

    /// Asks debuginfod for what is not here.
    pub fn with_debuginfod(self, debuginfod: Debuginfod) -> Self {
        Self { debuginfod: Some(debuginfod), ..self }
    }

    /// What of debuginfod went wrong.
    pub(super) fn remarks(&self) -> Vec<String> {
        self.debuginfod.as_ref().map(Debuginfod::remarks).unwrap_or_default()
    }

    /// Looks in what the recording keeps, too.
    pub fn with_bundle(&self, files: Vec<BundledFile>) -> Self {
        Self { bundle: Bundle(files.into()), ..self.clone() }
    }

    /// Begins to decompress what debug information there is of the file at this path, which is
    /// likely to be needed, while its caller does something else.
    pub fn with_read_ahead(self, path: impl FnOnce() -> Option<String> + Send + 'static) -> Self {
        let finder = Self { debuginfod: None, ..self.clone() };
        Self { ahead: Ahead::begin(move || finder.with_debug_info(&path()?)), ..self }
    }

    /// The file on this machine that has the debug information of what is at this path.
    fn with_debug_info(&self, path: &str) -> Option<File> {
        let found = self.roots.first(|root| FoundFile::open(root, path, FoundBy::Path, |_| true))?;
        let module = Module {
            path: path.into(),
            build_id: found.links.build_id.clone(),
            bias: Bias(0),
            range: RuntimeAddress(0)..RuntimeAddress(0),
            image: None,
        };
        let files = self.complete(&module, Some(found));
        files.debug.or(files.program).map(|found| found.file)
    }

    /// What is being decompressed ahead of its use.
    pub(super) fn ahead(&self) -> &Ahead {
        &self.ahead
    }

    /// Whether the user named a file for this module.
    pub(super) fn names_one_for(&self, module: &Module) -> bool {
        let Some(id) = &module.build_id else { return false };
        self.named.iter().any(|named| named.build_id() == id) || !self.directories.by_id(id).is_empty()
    }

    /// The files that the user named.
    pub(super) fn named(&self) -> &[NamedFile] {
        &self.named
    }

    pub(super) fn find(&self, module: &Module) -> Files {
        let program = self.roots.by_path(module);
        let program = program.or_else(|| self.roots.program(module.build_id.as_ref()?));
        self.complete(module, program)
    }

    /// The same without what would have to be sent.
    pub(super) fn find_here(&self, module: &Module) -> Files {
        Self { debuginfod: None, ..self.clone() }.find(module)
    }

    /// The same for a module whose file is at hand.
    pub(super) fn find_for(&self, module: &Module, program: File) -> Files {
        let found = Links::read(&program).map(|links| FoundFile {
            file: program,
            links,
            root: self.roots.0.first().cloned().unwrap_or_else(|| "/".into()),
            path: module.path.clone(),
            by: FoundBy::Path,
            is_unchecked: false,
        });
        self.complete(module, found)
    }

    fn complete(&self, module: &Module, program: Option<FoundFile>) -> Files {
        let has_debug_info = program.as_ref().is_some_and(FoundFile::has_debug_info);
        let named = module.build_id.as_ref().and_then(|id| self.by_name(id));
        let debug = match named {
            Some(named) => Some(named),
            None if has_debug_info => None,
            None => {
                let kept = self.bundle.of(module);
                let (whole, partial): (Option<_>, Option<_>) = match kept {
                    Some(kept) if kept.has_debug_info() => (Some(kept), None),
                    kept => (None, kept),
                };
                let whole = whole.or_else(|| module.build_id.as_ref().and_then(|id| self.roots.debug(id)));
                let whole = whole.or_else(|| {
                    let link = program.as_ref()?.links.debug_link.as_ref()?;
                    self.by_debug_link(module, link)
                });
                let whole = whole.or_else(|| self.served(module.build_id.as_ref()?, Wanted::DebugInfo));
                // Names alone, where there is nothing else, or the program here is stripped.
                whole.or_else(|| partial.filter(|_| !program.as_ref().is_some_and(FoundFile::has_symbols)))
            }
        };
        let program = match (program, &debug) {
            (None, None) => module.build_id.as_ref().and_then(|id| self.served(id, Wanted::Executable)),
            (program, _) => program,
        };
        // The link is only as certain as the file that it is in.
        let is_unchecked = module.build_id.is_none() && program.as_ref().is_some_and(|program| program.is_unchecked);
        let debug = debug.map(|found| FoundFile { is_unchecked: found.is_unchecked || is_unchecked, ..found });
        let naming = debug.iter().chain(&program).find(|found| found.links.alternative.is_some());
        let alternative = naming.and_then(|found| found.links.alternative.clone());
        let supplementary = alternative.as_ref().and_then(|link| supplementary::find(self, naming, link));
        let lost_supplementary = alternative.filter(|_| supplementary.is_none());
        Files { program, debug, supplementary, lost_supplementary }
    }

    fn by_name(&self, id: &BuildId) -> Option<FoundFile> {
        named::find(&self.named, id).or_else(|| {
            let (path, file, links) = self.directories.by_id(id).into_iter().next()?;
            Some(FoundFile::at(&path, file, links, FoundBy::Directory))
        })
    }

    /// A file with debug information of this id, wherever it is.
    fn by_id(&self, id: &BuildId) -> Option<FoundFile> {
        self.by_name(id)
            .or_else(|| self.bundle.supplementary(id))
            .or_else(|| self.roots.debug(id))
            .or_else(|| self.served(id, Wanted::DebugInfo))
    }

    fn served(&self, id: &BuildId, wanted: Wanted<'_>) -> Option<FoundFile> {
        let debuginfod = self.debuginfod.as_ref()?;
        debuginfod.find(id, wanted, |path, file| {
            let links = Links::read(&file).filter(|links| links.has_id(id));
            if links.is_none() {
                debuginfod.reject(path, id);
            }
            Some(FoundFile::at(path, file, links?, FoundBy::Debuginfod))
        })
    }

    fn by_debug_link(&self, module: &Module, link: &(String, u32)) -> Option<FoundFile> {
        self.roots.by_debug_link(module, link).or_else(|| {
            // A file with the module's build-id has been found already, if there is one.
            let paths = self.directories.by_name(&link.0).iter();
            paths.filter(|_| module.build_id.is_none()).find_map(|path| {
                let file = File::open(path).ok()?;
                let links = Links::read(&file)?;
                let is_right = roots::checksum_of(&file) == Some(link.1);
                is_right.then(|| FoundFile::at(path, file, links, FoundBy::Directory))
            })
        })
    }
}
