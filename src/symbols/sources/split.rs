//! Where debug information lies that the compiler has put into files beside the objects
//! (`-gsplit-dwarf`): `.dwo`, or all of them in one `.dwp`.
//!
//! Whether a file is the one is for the reader of it to see: it bears an id.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::Finder;
use super::found::FoundFile;
use crate::elf::{open_below, open_regular};

/// The places for one program.
pub(in crate::symbols) struct SplitPlaces<'a> {
    finder: &'a Finder,
    /// The program, and its debug file: the trees they are in, and their paths.
    beside: Vec<(PathBuf, String)>,
}

/// A file that may hold it.
pub(in crate::symbols) struct DwoFile {
    pub(in crate::symbols) file: File,
    pub(in crate::symbols) place: String,
}

impl<'a> SplitPlaces<'a> {
    pub(in crate::symbols) fn of<'f>(finder: &'a Finder, files: impl IntoIterator<Item = &'f FoundFile>) -> Self {
        let mut beside = Vec::new();
        for found in files {
            beside.push((found.root.clone(), found.path.clone()));
            // The program may be a link to where it was built.
            let place = found.root.join(found.path.trim_start_matches('/'));
            if let Ok(real) = place.canonicalize()
                && real != place
            {
                beside.push(("/".into(), real.display().to_string()));
            }
        }
        Self { finder, beside }
    }

    /// Packages of all units of the program: `PROGRAM.dwp` beside it or beside its debug file, or
    /// of that name in a directory that the user named.
    pub(in crate::symbols) fn packages(&self) -> Vec<DwoFile> {
        let mut found = Vec::new();
        for (root, path) in &self.beside {
            let mut paths = vec![format!("{path}.dwp")];
            paths.extend(path.strip_suffix(".debug").map(|program| format!("{program}.dwp")));
            for path in paths {
                found.extend(open(root, &path));
                let name = path.rsplit('/').next().unwrap_or_default();
                found.extend(self.finder.directories.by_name(name).iter().filter_map(|path| open_named(path)));
                found.extend(self.kept(name));
            }
        }
        found
    }

    /// Files that may hold one unit: where the compiler has put it, below each root; beside the
    /// program and its debug file; of its name in a directory that the user named.
    pub(in crate::symbols) fn objects(&self, directory: Option<&str>, path: &str) -> Vec<DwoFile> {
        let mut found = Vec::new();
        let whole = match directory {
            Some(directory) if !path.starts_with('/') => format!("{directory}/{path}"),
            _ => path.to_owned(),
        };
        let name = path.rsplit('/').next().unwrap_or_default();
        if whole.starts_with('/') {
            let below = |root: &Path| {
                found.extend(open(root, &whole));
                None::<()>
            };
            self.finder.roots.first(below);
        }
        for (root, program) in &self.beside {
            let directory = program.rsplit_once('/').map_or("", |(directory, _)| directory);
            found.extend(open(root, &format!("{directory}/{name}")));
            if name != path && !path.starts_with('/') {
                found.extend(open(root, &format!("{directory}/{path}")));
            }
        }
        found.extend(self.finder.directories.by_name(name).iter().filter_map(|path| open_named(path)));
        found.extend(self.kept(name));
        found
    }

    /// What the recording keeps under this name.
    fn kept(&self, name: &str) -> impl Iterator<Item = DwoFile> {
        self.finder.bundle.split(name).map(|found| DwoFile { place: found.place(), file: found.file })
    }
}

fn open(root: &Path, path: &str) -> Option<DwoFile> {
    let file = open_below(root, path).ok()?;
    Some(DwoFile { file, place: root.join(path.trim_start_matches('/')).display().to_string() })
}

fn open_named(path: &Path) -> Option<DwoFile> {
    Some(DwoFile { file: open_regular(path).ok()?, place: path.display().to_string() })
}
