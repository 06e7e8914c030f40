//! A file that was found, and how it is known to be the one.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::elf::{Links, open_below};
use crate::model::BuildId;

/// By what a file was found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FoundBy {
    /// The user named it.
    Named,
    /// It lies in a directory that the user named.
    Directory,
    /// The recording keeps it.
    Bundle,
    /// By the path that the process had it under.
    Path,
    /// Below `.build-id`, by its build-id.
    BuildId,
    /// By what another file says of it: a debug link, or where dwz has put what files share.
    Link,
    /// Where the compiler has put units of debug information, or beside the program.
    Split,
    /// A debuginfod server sent it, now or for an earlier look.
    Debuginfod,
}

impl FoundBy {
    /// In words, after `found`.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Named => "named with --symbols",
            Self::Directory => "in a directory named with --symbols",
            Self::Bundle => "in the recording",
            Self::Path => "at its path",
            Self::BuildId => "by its build-id",
            Self::Link => "where another file says",
            Self::Split => "where the compiler has put it, or beside the program",
            Self::Debuginfod => "by debuginfod",
        }
    }
}

/// A file that was found.
#[derive(Debug)]
pub(in crate::symbols) struct FoundFile {
    pub(in crate::symbols) file: File,
    pub(super) links: Links,
    /// The directory tree that it was found in, and its path there.
    pub(super) root: PathBuf,
    pub(super) path: String,
    pub(in crate::symbols) by: FoundBy,
    /// Whether there was nothing to compare: another file may have its path now.
    pub(in crate::symbols) is_unchecked: bool,
}

impl FoundFile {
    /// Opens a file if it is right.
    pub(super) fn open(root: &Path, path: &str, by: FoundBy, is_right: impl Fn(&Links) -> bool) -> Option<Self> {
        let file = open_below(root, path).ok()?;
        let links = Links::read(&file)?;
        is_right(&links).then(|| Self { file, links, root: root.into(), path: path.into(), by, is_unchecked: false })
    }

    /// A file at a path of this machine's own tree.
    pub(super) fn at(path: &Path, file: File, links: Links, by: FoundBy) -> Self {
        let path = path.canonicalize().unwrap_or_else(|_| path.into()).display().to_string();
        Self { file, links, root: "/".into(), path, by, is_unchecked: false }
    }

    /// Where it is, as the user can look at it.
    pub(in crate::symbols) fn place(&self) -> String {
        if self.by == FoundBy::Bundle {
            return format!("the bundle: {}", self.path);
        }
        self.root.join(self.path.trim_start_matches('/')).display().to_string()
    }

    /// The directory that it is in, below its root.
    pub(super) fn directory(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(directory, _)| directory)
    }

    /// What others know it by.
    pub(in crate::symbols) fn id(&self) -> Option<BuildId> {
        self.links.build_id.clone().or_else(|| self.links.supplementary_id.clone())
    }

    /// Whether it has debug information.
    pub(in crate::symbols) fn has_debug_info(&self) -> bool {
        self.links.has_debug_info
    }

    /// Whether it has more symbols than its loader needs.
    pub(in crate::symbols) fn has_symbols(&self) -> bool {
        self.links.has_symbols
    }
}
