//! Which file on this machine belongs to a module.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::ahead::Ahead;
use crate::elf::{Links, PositionedFile, open_below};
use crate::model::{Bias, BuildId, Module, RuntimeAddress};

/// Where distributions put separate debug files.
const DEBUG_DIRECTORY: &str = "/usr/lib/debug";

/// Where to look: files that the user named, and directory trees in which the target's paths mean
/// something, the likeliest first.
#[derive(Clone, Debug)]
pub struct Finder {
    roots: Vec<PathBuf>,
    named: Vec<NamedFile>,
    ahead: Ahead,
}

/// A file that the user named, for the module that has its build-id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedFile {
    path: PathBuf,
    build_id: BuildId,
}

/// Why a file that the user named cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UnusableFile {
    #[error("cannot be opened ({0})")]
    Closed(#[from] std::io::Error),
    #[error("is no ELF file of 64 bits; name a program, a library, or the debug file of one")]
    NotElf,
    #[error("has no build-id, so the module it belongs to is unknown; use --sysroot")]
    NoBuildId,
}

impl NamedFile {
    /// Opens a file that the user named for the module with its build-id.
    pub fn open(path: &Path) -> Result<Self, UnusableFile> {
        let links = Links::read(&File::open(path)?).ok_or(UnusableFile::NotElf)?;
        let build_id = links.build_id.ok_or(UnusableFile::NoBuildId)?;
        Ok(Self { path: path.into(), build_id })
    }

    pub(super) fn build_id(&self) -> &BuildId {
        &self.build_id
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// The files of one module. Any of them may be missing.
#[derive(Default)]
pub(super) struct Files {
    /// What was loaded.
    pub(super) program: Option<File>,
    /// Debug information that was split off it.
    pub(super) debug: Option<File>,
    /// What dwz moved out of that file because others share it.
    pub(super) supplementary: Option<File>,
}

impl Finder {
    /// Looks below each of these directories, and then in this machine's own tree.
    pub fn new(roots: Vec<PathBuf>) -> Self {
        let mut roots = roots;
        roots.push("/".into());
        Self { roots, named: Vec::new(), ahead: Ahead::default() }
    }

    /// Looks below this directory as well, before this machine's own tree.
    pub fn below(&self, root: PathBuf) -> Self {
        let mut finder = self.clone();
        finder.roots.insert(finder.roots.len().saturating_sub(1), root);
        finder
    }

    /// Uses these files before any other.
    pub fn with_named(self, named: Vec<NamedFile>) -> Self {
        Self { named, ..self }
    }

    /// Begins to decompress what debug information there is of the file at this path, which is
    /// likely to be needed, while its caller does something else.
    pub fn with_read_ahead(self, path: impl FnOnce() -> Option<String> + Send + 'static) -> Self {
        let finder = self.clone();
        Self { ahead: Ahead::begin(move || finder.with_debug_info(&path()?)), ..self }
    }

    /// The file that has the debug information of what is at this path.
    fn with_debug_info(&self, path: &str) -> Option<File> {
        let (file, links) = self.first(|root| checked(root, path, |_| true))?;
        let module = Module {
            path: path.into(),
            build_id: links.build_id.clone(),
            bias: Bias(0),
            range: RuntimeAddress(0)..RuntimeAddress(0),
            image: None,
        };
        let files = self.complete(&module, Some((file, links)));
        files.debug.or(files.program)
    }

    /// What is being decompressed ahead of its use.
    pub(super) fn ahead(&self) -> &Ahead {
        &self.ahead
    }

    /// Whether the user named a file for this module.
    pub(super) fn names_one_for(&self, module: &Module) -> bool {
        self.named.iter().any(|named| module.build_id.as_ref() == Some(&named.build_id))
    }

    /// The files that the user named.
    pub(super) fn named(&self) -> &[NamedFile] {
        &self.named
    }

    pub(super) fn find(&self, module: &Module) -> Files {
        let found = self.first(|root| {
            // Without a build-id a file is taken for the one that ran; one that has a build-id is
            // another.
            module.paths_on_disk().find_map(|path| checked(root, &path, |links| links.build_id == module.build_id))
        });
        self.complete(module, found)
    }

    /// The same for a module whose file is at hand.
    pub(super) fn find_for(&self, module: &Module, program: File) -> Files {
        let links = Links::read(&program);
        self.complete(module, links.map(|links| (program, links)))
    }

    fn complete(&self, module: &Module, program: Option<(File, Links)>) -> Files {
        let wanted = module.build_id.as_ref();
        let (program, mut links) = program.map_or_else(Default::default, |(program, links)| (Some(program), links));
        let debug = match wanted.and_then(|id| self.by_name(id)) {
            Some(named) => Some(named),
            None if links.has_debug_info => None,
            None => wanted
                .and_then(|id| self.by_build_id(id))
                .or_else(|| self.by_debug_link(module, links.debug_link.as_ref()?, wanted)),
        };
        if let Some((_, found)) = &debug
            && let Some(alternative) = &found.alternative
        {
            links.alternative = Some(alternative.clone());
        }
        let supplementary = links.alternative.and_then(|(path, id)| self.supplementary(&path, &id));
        Files { program, debug: debug.map(|(file, _)| file), supplementary }
    }

    fn first<T>(&self, look: impl FnMut(&Path) -> Option<T>) -> Option<T> {
        self.roots.iter().map(PathBuf::as_path).find_map(look)
    }

    fn by_name(&self, id: &BuildId) -> Option<(File, Links)> {
        let named = self.named.iter().filter(|named| named.build_id == *id);
        named.filter_map(|named| File::open(&named.path).ok()).find_map(|file| {
            let links = Links::read(&file)?;
            (links.build_id.as_ref() == Some(id)).then_some((file, links))
        })
    }

    fn by_build_id(&self, id: &BuildId) -> Option<(File, Links)> {
        let text = id.to_string();
        let (first, rest) = text.split_at_checked(2)?;
        let path = format!("{DEBUG_DIRECTORY}/.build-id/{first}/{rest}.debug");
        self.first(|root| checked(root, &path, |links| links.build_id.as_ref() == Some(id)))
    }

    /// gdb's places for a debug link: beside the file, in `.debug` beside it, and below the debug
    /// directory.
    fn by_debug_link(
        &self,
        module: &Module,
        (name, checksum): &(String, u32),
        wanted: Option<&BuildId>,
    ) -> Option<(File, Links)> {
        let directories = module.paths_on_disk().filter_map(|path| Some(path.rsplit_once('/')?.0.to_owned()));
        let places: Vec<String> = directories
            .flat_map(|directory| {
                [
                    format!("{directory}/{name}"),
                    format!("{directory}/.debug/{name}"),
                    format!("{DEBUG_DIRECTORY}{directory}/{name}"),
                ]
            })
            .collect();
        self.first(|root| {
            places.iter().find_map(|path| {
                let (file, links) = checked(root, path, |links| wanted.is_none() || links.build_id.as_ref() == wanted)?;
                // Where there is no build-id to compare, the link brings a checksum of the file.
                (wanted.is_some() || checksum_of(&file) == Some(*checksum)).then_some((file, links))
            })
        })
    }

    fn supplementary(&self, path: &str, id: &BuildId) -> Option<File> {
        let found = self.by_build_id(id).or_else(|| {
            // dwz writes the path relative to the file that refers to it, which is two directories
            // below `.build-id`'s own.
            let path = match path.strip_prefix("../../") {
                Some(rest) => format!("{DEBUG_DIRECTORY}/{rest}"),
                None => path.to_owned(),
            };
            self.first(|root| checked(root, &path, |links| links.build_id.as_ref() == Some(id)))
        });
        found.map(|(file, _)| file)
    }
}

fn checked(root: &Path, path: &str, is_right: impl Fn(&Links) -> bool) -> Option<(File, Links)> {
    let file = open_below(root, path).ok()?;
    let links = Links::read(&file)?;
    is_right(&links).then_some((file, links))
}

fn checksum_of(file: &File) -> Option<u32> {
    let mut hasher = crc32fast::Hasher::new();
    let mut reader = PositionedFile::new(file).ok()?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match std::io::Read::read(&mut reader, &mut buffer).ok()? {
            0 => return Some(hasher.finalize()),
            count => hasher.update(&buffer[..count]),
        }
    }
}
