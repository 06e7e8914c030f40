//! Where the file of a module can be opened that its path may not lead to: one that was deleted,
//! replaced by another, that never had a path (memfd), whose file system was unmounted while it was
//! in use, or that is in another mount namespace.
//!
//! The kernel leads to such a file by the process that has it mapped: as the program that it
//! executes (/proc/PID/exe, which ptrace access is enough for) and as what a mapping shows
//! (/proc/PID/map_files, for CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE in the first user namespace).
//! Promises: what is opened is a regular file with the program headers and the build-id of what
//! runs, a bounded number of places is tried, and nothing is opened that could make its opener wait
//! by being what it is; but a file system that does not answer may, so all of this is for a
//! `TimeoutWorker`.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::loaded::{LoadedModule, headers_of};
use crate::elf::{self, FileImage, open_below, open_regular};
use crate::model::Reason;
use crate::proc::{Backing, Mapping, MemoryMap};

/// Mappings of one module that are tried: some may have been split or taken away since the map was
/// read.
const MOST_MAPPINGS: usize = 4;

/// The places of one module of a process.
#[derive(Clone)]
pub(super) struct Places {
    loaded: LoadedModule,
    /// The root of the directory tree that the process sees: /proc/PID/task/TID/root.
    root: PathBuf,
    mapped: Vec<PathBuf>,
}

/// A file that is the one that runs.
pub(super) struct Opened {
    pub(super) file: File,
    /// Why the path did not lead to it.
    pub(super) elsewhere: Option<Reason>,
}

impl Places {
    pub(super) fn of(loaded: &LoadedModule, root: &Path, map: &MemoryMap) -> Self {
        let is_its_own =
            |mapping: &&Mapping| matches!(&mapping.backing, Backing::File { path, .. } if *path == loaded.module.path);
        let mappings = map.within(&loaded.module.range).filter(is_its_own).take(MOST_MAPPINGS);
        let mapped = mappings.filter_map(|mapping| mapped_file(root, mapping)).collect();
        Self { loaded: loaded.clone(), root: root.into(), mapped }
    }

    /// Opens the file. The path is looked for in the process's own root and then in ours: the
    /// kernel prints it as seen from ours where the process was only chrooted.
    pub(super) fn open(&self) -> Result<Opened, Option<Reason>> {
        if self.loaded.module.image.is_some() {
            return Err(None);
        }
        let reason = match self.open_by_path(&self.root) {
            Ok(file) => return Ok(Opened { file, elsewhere: None }),
            Err(reason) => reason,
        };
        if let Ok(file) = self.open_by_path(Path::new("/")) {
            return Ok(Opened { file, elsewhere: None });
        }
        let places = [self.root.with_file_name("exe")].into_iter().chain(self.mapped.iter().cloned());
        let found =
            places.filter_map(|place| open_regular(&place).ok()).find(|file| self.is_what_runs(file) == Ok(true));
        match found {
            Some(file) => Ok(Opened { file, elsewhere: Some(reason) }),
            None => Err(Some(reason)),
        }
    }

    /// Whether the file can be found by its path later, on this host.
    pub(super) fn is_in_place(&self) -> bool {
        self.open_by_path(Path::new("/")).is_ok()
    }

    fn open_by_path(&self, root: &Path) -> Result<File, Reason> {
        // Of a file that has no build-id and may have been deleted there is nothing to look for.
        let mut reason = Reason::FileReplaced;
        for path in self.loaded.module.paths_on_disk() {
            match open_below(root, &path) {
                Ok(file) => match self.is_what_runs(&file) {
                    Ok(true) => return Ok(file),
                    Ok(false) => reason = Reason::FileReplaced,
                    Err(why) => reason = why,
                },
                Err(error) => reason = unreadable(error),
            }
        }
        Err(reason)
    }

    fn is_what_runs(&self, file: &File) -> Result<bool, Reason> {
        let headers = headers_of(file).map_err(unreadable)?;
        let build_id = headers.build_id(&FileImage { file, headers: &headers });
        Ok(self.loaded.has(&headers) && build_id == self.loaded.module.build_id)
    }
}

/// By which path the file of a mapping can be opened. Threads have no map_files below `task`, but
/// where processes are.
pub(super) fn mapped_file(root: &Path, mapping: &Mapping) -> Option<PathBuf> {
    let thread = root.parent()?.file_name()?.to_str()?;
    let (start, end) = (mapping.range.start.0, mapping.range.end.0);
    Some(format!("/proc/{thread}/map_files/{start:x}-{end:x}").into())
}

fn unreadable(error: elf::Error) -> Reason {
    Reason::FileUnreadable { why: error.to_string() }
}
