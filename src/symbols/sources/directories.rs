//! Directories that the user named with `--symbols`: files in them are found by what they are,
//! whatever they are called and however deep they lie.
//!
//! Promises: a directory is read once, when the first file is looked for, and a bounded number of
//! files in it. Links to directories are not followed.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::elf::Links;
use crate::elf::open_regular;
use crate::model::BuildId;

/// Files that are looked at, of all directories together.
const MOST_FILES: usize = 1 << 15;
const DEEPEST: usize = 12;

/// The directories, and what they were found to hold.
#[derive(Clone, Default, Debug)]
pub(super) struct Directories {
    paths: Vec<PathBuf>,
    index: Arc<OnceLock<Index>>,
}

#[derive(Default, Debug)]
struct Index {
    by_id: HashMap<BuildId, Vec<PathBuf>>,
    by_name: HashMap<OsString, Vec<PathBuf>>,
}

impl Directories {
    pub(super) fn new(paths: Vec<PathBuf>) -> Self {
        Self { paths, index: Arc::default() }
    }

    /// Files with this build-id, those with debug information first.
    pub(super) fn by_id(&self, id: &BuildId) -> Vec<(PathBuf, File, Links)> {
        let paths = self.index().by_id.get(id).map(Vec::as_slice).unwrap_or_default();
        let mut found: Vec<_> = paths.iter().filter_map(|path| read(path)).collect();
        found.retain(|(_, _, links)| links.has_id(id));
        found.sort_by_key(|(_, _, links)| (!links.has_debug_info, !links.has_symbols));
        found
    }

    /// Files of this name.
    pub(super) fn by_name(&self, name: &str) -> &[PathBuf] {
        self.index().by_name.get(&OsString::from(name)).map(Vec::as_slice).unwrap_or_default()
    }

    fn index(&self) -> &Index {
        self.index.get_or_init(|| {
            let mut index = Index::default();
            let mut left = MOST_FILES;
            for path in &self.paths {
                index.add(path, DEEPEST, &mut left);
            }
            index
        })
    }
}

impl Index {
    fn add(&mut self, directory: &Path, depth: usize, left: &mut usize) {
        let Ok(entries) = fs::read_dir(directory) else { return };
        let mut paths: Vec<PathBuf> = entries.take(*left).filter_map(|entry| Some(entry.ok()?.path())).collect();
        // In the same order whatever the file system does.
        paths.sort_unstable();
        for path in paths {
            if *left == 0 {
                return;
            }
            *left -= 1;
            if path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
                if depth > 0 {
                    self.add(&path, depth - 1, left);
                }
                continue;
            }
            let Some((_, _, links)) = read(&path) else {
                continue;
            };
            for id in [links.build_id, links.supplementary_id].into_iter().flatten() {
                self.by_id.entry(id).or_default().push(path.clone());
            }
            if let Some(name) = path.file_name() {
                self.by_name.entry(name.to_owned()).or_default().push(path.clone());
            }
        }
    }
}

fn read(path: &Path) -> Option<(PathBuf, File, Links)> {
    let file = open_regular(path).ok()?;
    let links = Links::read(&file)?;
    Some((path.into(), file, links))
}
