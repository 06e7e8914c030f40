//! Opening a file by a path that the target chose.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

use super::Error;

/// Opens `path` as the regular file it names below `root`, and nothing else.
///
/// Links are followed within the root only, and never those of /proc that lead to a process's own descriptors: a path
/// like `/proc/self/fd/4` would be one of hangsnap's. The file is looked at before it is opened for reading, because
/// opening a FIFO or a device can block or do something, and so can reading one of the files of /proc that call
/// themselves regular but have no size.
pub fn open_below(root: &Path, path: &str) -> Result<File, Error> {
    let root = File::open(root)?;
    let relative = path.trim_start_matches('/');
    // O_PATH neither waits for anybody nor runs a driver's code.
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let found = File::from(openat2(root.as_fd(), relative, how).map_err(|errno: Errno| std::io::Error::from(errno))?);
    let metadata = found.metadata()?;
    if !metadata.is_file() || metadata.len() == 0 {
        return Err(Error::NotRegular);
    }
    Ok(File::open(format!("/proc/self/fd/{}", found.as_raw_fd()))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;

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
}
