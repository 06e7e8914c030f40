//! Opening a file by a path that the target chose.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::Mode;

use super::Error;
use crate::model::bytes_of;

/// Larger than any program; what reads a file may hold as much of it in memory.
const MAX_FILE: u64 = 8 << 30;
/// How many times larger than what it takes on disk a file may be: a few kilobytes can claim to be
/// gigabytes of zeroes, while a file system that compresses makes a program three times smaller.
const MAX_SPARSENESS: u64 = 32;
/// Files up to this size may be mostly holes: linkers that are asked for large pages, and
/// optimizers of linked programs, leave holes of 2 or 16 MiB between segments of a few kilobytes.
const SMALL: u64 = 128 << 20;

/// Opens `path` as the regular file it names below `root`, and nothing else. Its bytes may be no
/// UTF-8 (`model::text_of`).
///
/// Links are followed within the root only, and never those of /proc that lead to a process's own
/// descriptors: a path like `/proc/self/fd/4` would be one of hangsnap's. The file is looked at
/// before it is opened for reading, because opening a FIFO or a device can block or do something,
/// and so can reading one of the files of /proc that call themselves regular but have no size.
pub fn open_below(root: &Path, path: &str) -> Result<File, Error> {
    let root = File::open(root)?;
    let bytes = bytes_of(path);
    let start = bytes.iter().take_while(|byte| **byte == b'/').count();
    let relative = OsStr::from_bytes(&bytes[start..]);
    // O_PATH neither waits for anybody nor runs a driver's code.
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let how = OpenHow::new().flags(flags).resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let found = match openat2(&root, relative, how) {
        // Kernels before 5.6 do not know the call, and seccomp profiles of that time forbid it.
        Err(Errno::ENOSYS | Errno::EPERM) => walk(root, relative, flags)?,
        found => File::from(found.map_err(io::Error::from)?),
    };
    reopened(&found)
}

/// Opens the regular file that this path leads to, and nothing else, by whatever links: for those
/// of /proc that lead to what a process has in use.
pub fn open_regular(path: &Path) -> Result<File, Error> {
    let found = OpenOptions::new().read(true).custom_flags(OFlag::O_PATH.bits()).open(path)?;
    reopened(&found)
}

/// What was only found so far, opened for reading if it is a file that may be read.
fn reopened(found: &File) -> Result<File, Error> {
    let metadata = found.metadata()?;
    if !metadata.is_file() || metadata.len() == 0 {
        return Err(Error::NotRegular);
    }
    let is_hollow = metadata.len() > SMALL && metadata.len() / MAX_SPARSENESS > metadata.blocks().saturating_mul(512);
    if metadata.len() > MAX_FILE || is_hollow {
        return Err(Error::TooLarge);
    }
    // The holder of a lease on the file would be waited for.
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(OFlag::O_NONBLOCK.bits());
    Ok(options.open(format!("/proc/self/fd/{}", found.as_raw_fd()))?)
}

/// The same without openat2(2), step by step. Any link is refused: the kernel prints resolved paths
/// in /proc/PID/maps, so there is none unless the tree has changed since.
fn walk(root: File, relative: &OsStr, flags: OFlag) -> Result<File, Error> {
    let mut here = root;
    for step in relative.as_bytes().split(|byte| *byte == b'/').filter(|step| !step.is_empty() && *step != b".") {
        if step == b".." {
            return Err(Error::NotRegular);
        }
        let next = openat(&here, OsStr::from_bytes(step), flags | OFlag::O_NOFOLLOW, Mode::empty())
            .map_err(io::Error::from)?;
        here = File::from(next);
        if here.metadata()?.is_symlink() {
            return Err(Error::NotRegular);
        }
    }
    Ok(here)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifo_a_link_and_a_descriptor_are_refused_and_nothing_hangs() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        nix::unistd::mkfifo(&dir.path().join("fifo"), Mode::S_IRWXU).expect("a FIFO");
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("link")).expect("a link");
        std::fs::write(dir.path().join("file"), "x").expect("a file");
        assert!(matches!(open_below(dir.path(), "/fifo"), Err(Error::NotRegular)));
        assert!(open_below(dir.path(), "/link").is_err());
        assert!(open_below(dir.path(), "/../../../../etc/passwd").is_err());
        assert!(open_below(Path::new("/"), "/proc/self/fd/0").is_err());
        assert!(matches!(open_below(Path::new("/"), "/dev/null"), Err(Error::NotRegular)));
        assert!(matches!(open_below(Path::new("/"), "/proc/self/environ"), Err(Error::NotRegular)));
        assert!(open_below(dir.path(), "/file").is_ok());
    }

    #[test]
    fn a_sparse_file_is_refused() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let file = File::create(dir.path().join("sparse")).expect("a file");
        file.set_len(1 << 30).expect("a file system with sparse files");
        assert!(matches!(open_below(dir.path(), "/sparse"), Err(Error::TooLarge)));
        file.set_len(SMALL).expect("a file system with sparse files");
        assert!(open_below(dir.path(), "/sparse").is_ok());
    }

    #[test]
    fn without_openat2_the_same_is_refused_and_found() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(dir.path().join("lib")).expect("a directory");
        std::fs::write(dir.path().join("lib/file"), "x").expect("a file");
        std::os::unix::fs::symlink("lib", dir.path().join("link")).expect("a link");
        let walk = |path: &str| {
            walk(File::open(dir.path()).expect("there"), OsStr::new(path), OFlag::O_PATH | OFlag::O_CLOEXEC)
        };
        assert!(walk("lib/file").is_ok_and(|file| file.metadata().is_ok_and(|metadata| metadata.is_file())));
        assert!(walk("link/file").is_err());
        assert!(walk("link").is_err());
        assert!(walk("lib/../../etc/passwd").is_err());
    }

    /// A program whose path is no UTF-8 had no names.
    #[test]
    fn a_path_is_opened_by_its_bytes() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let name = OsStr::from_bytes(b"latin1-\xfc");
        std::fs::write(dir.path().join(name), "x").expect("a file");
        assert!(open_below(dir.path(), &format!("/{}", crate::model::text_of(name.as_bytes()))).is_ok());
        let walked = walk(File::open(dir.path()).expect("there"), name, OFlag::O_PATH | OFlag::O_CLOEXEC);
        assert!(walked.is_ok());
    }
}
