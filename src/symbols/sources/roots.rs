//! Directory trees in which the target's paths mean something, and the places in them where
//! distributions put files: the path itself, `.build-id` directories, debug links.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::found::{FoundBy, FoundFile};
use crate::elf::{Links, PositionedFile};
use crate::model::{BuildId, Module};

/// Where distributions put separate debug files.
pub(super) const DEBUG_DIRECTORY: &str = "/usr/lib/debug";
/// Where some distributions put links to programs, by build-id.
const PROGRAMS: &str = "/usr/lib/.build-id";

/// The trees, the likeliest first.
#[derive(Clone, Debug)]
pub(super) struct Roots(pub(super) Vec<PathBuf>);

impl Roots {
    /// The file at a module's own path.
    pub(super) fn by_path(&self, module: &Module) -> Option<FoundFile> {
        // Without a build-id a file is taken for the one that ran; one that has a build-id is
        // another.
        let is_right = |links: &Links| links.build_id == module.build_id;
        let mut found = self.first(|root| {
            module.paths_on_disk().find_map(|path| FoundFile::open(root, &path, FoundBy::Path, is_right))
        })?;
        found.is_unchecked = module.build_id.is_none();
        Some(found)
    }

    /// What was loaded, by its build-id.
    pub(super) fn program(&self, id: &BuildId) -> Option<FoundFile> {
        let (first, rest) = split(id)?;
        let places = [format!("{PROGRAMS}/{first}/{rest}"), format!("{DEBUG_DIRECTORY}/.build-id/{first}/{rest}")];
        self.at(&places, FoundBy::BuildId, |links| links.build_id.as_ref() == Some(id))
    }

    /// What was split off, by its build-id.
    pub(super) fn debug(&self, id: &BuildId) -> Option<FoundFile> {
        let (first, rest) = split(id)?;
        let places = [format!("{DEBUG_DIRECTORY}/.build-id/{first}/{rest}.debug")];
        self.at(&places, FoundBy::BuildId, |links| links.has_id(id))
    }

    /// gdb's places for a debug link: beside the file, in `.debug` beside it, and below the debug
    /// directory.
    pub(super) fn by_debug_link(&self, module: &Module, (name, checksum): &(String, u32)) -> Option<FoundFile> {
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
        let wanted = module.build_id.as_ref();
        self.first(|root| {
            places.iter().find_map(|path| {
                let is_right = |links: &Links| wanted.is_none() || links.build_id.as_ref() == wanted;
                let found = FoundFile::open(root, path, FoundBy::Link, is_right)?;
                // Where there is no build-id to compare, the link brings a checksum of the file.
                (wanted.is_some() || checksum_of(&found.file) == Some(*checksum)).then_some(found)
            })
        })
    }

    /// The first of these places that holds the right file.
    pub(super) fn at(&self, places: &[String], by: FoundBy, is_right: impl Fn(&Links) -> bool) -> Option<FoundFile> {
        self.first(|root| places.iter().find_map(|path| FoundFile::open(root, path, by, &is_right)))
    }

    pub(super) fn first<T>(&self, look: impl FnMut(&Path) -> Option<T>) -> Option<T> {
        self.0.iter().map(PathBuf::as_path).find_map(look)
    }
}

fn split(id: &BuildId) -> Option<(String, String)> {
    let text = id.to_string();
    let (first, rest) = text.split_at_checked(2)?;
    Some((first.into(), rest.into()))
}

pub(super) fn checksum_of(file: &File) -> Option<u32> {
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
