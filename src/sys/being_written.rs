//! A mark on a file or directory that somebody is writing to, which goes with whoever set it: a lock of its open file description.
//!
//! A reader only asks whether there is one (F_OFD_GETLK). To try for a lock of its own, as flock(2) would have it, could keep
//! the writer from getting its.

use std::fs::File;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// Marks a file for as long as it is open. A file system without locks leaves it unmarked; a reader then takes what is just
/// being appended for torn, and says so.
pub fn mark(file: &File) {
    // The whole file, whatever its length.
    let _ = fcntl(file, FcntlArg::F_OFD_SETLK(&whole()));
}

/// Marks a directory for as long as this is open. A directory cannot be opened for writing, which its lock would have to be for, so
/// this one is for reading; who asks whether there is a mark asks for both. Whether that could be done.
pub fn mark_directory(directory: &File) -> bool {
    fcntl(directory, FcntlArg::F_OFD_SETLK(&libc::flock { l_type: libc::F_RDLCK as i16, ..whole() })).is_ok()
}

/// Whether some other open file description has marked the file or the directory.
pub fn is_marked(file: &File) -> bool {
    let mut lock = whole();
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock)).is_ok() && i32::from(lock.l_type) != libc::F_UNLCK
}

fn whole() -> libc::flock {
    libc::flock { l_type: libc::F_WRLCK as i16, l_whence: libc::SEEK_SET as i16, l_start: 0, l_len: 0, l_pid: 0 }
}
