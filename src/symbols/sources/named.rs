//! Files that the user named with `--symbols`, each for the module that has its build-id.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::found::{FoundBy, FoundFile};
use crate::elf::Links;
use crate::model::BuildId;

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

    pub(in crate::symbols) fn build_id(&self) -> &BuildId {
        &self.build_id
    }

    pub(in crate::symbols) fn path(&self) -> &Path {
        &self.path
    }
}

/// The file among these with this build-id, if it has that still.
pub(super) fn find(named: &[NamedFile], id: &BuildId) -> Option<FoundFile> {
    named.iter().filter(|named| named.build_id == *id).find_map(|named| {
        let file = File::open(&named.path).ok()?;
        let links = Links::read(&file).filter(|links| links.has_id(id))?;
        Some(FoundFile::at(&named.path, file, links, FoundBy::Named))
    })
}
