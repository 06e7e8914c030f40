//! Locks on a file or directory that end with the process that set them (open file description
//! locks).
//!
//! One lock says that it is being written. A reader only asks whether it is there (F_OFD_GETLK): to
//! try for a lock of its own, as with flock(2), could keep the writer from getting one. The other,
//! a claim, is on the last byte that can be locked, and readers do not see it.

use std::fs::File;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// Where a claim is; what lies before it is for the mark of a writer.
const CLAIMED: i64 = i64::MAX - 1;

/// Marks a file for as long as it is open. A file system without locks leaves it unmarked; a reader
/// then takes what is just being appended for torn, and says so.
pub fn mark(file: &File) {
    // The whole file, whatever its length.
    let _ = fcntl(file, FcntlArg::F_OFD_SETLK(&lock(libc::F_WRLCK, 0, CLAIMED)));
}

/// Marks a directory for as long as this is open. A directory cannot be opened for writing, which
/// its lock would have to be for, so this one is for reading; who asks whether there is a mark asks
/// for both. Whether that could be done.
pub fn mark_directory(directory: &File) -> bool {
    fcntl(directory, FcntlArg::F_OFD_SETLK(&lock(libc::F_RDLCK, 0, CLAIMED))).is_ok()
}

/// Whether some other open file description has marked the file or the directory.
pub fn is_marked(file: &File) -> bool {
    is_locked(file, lock(libc::F_WRLCK, 0, CLAIMED)).unwrap_or(false)
}

/// Claims a file or directory for as long as this is open; false if some other open file
/// description has claimed or marked it. Claims do not keep each other off, for what is open for
/// reading can have no other lock: so it is claimed first and then asked for, and of two who do so
/// at the same time at least one sees the other. An error says that there are no locks.
pub fn claim(file: &File) -> Result<bool, Errno> {
    match fcntl(file, FcntlArg::F_OFD_SETLK(&lock(libc::F_RDLCK, CLAIMED, 1))) {
        Ok(_) => Ok(!is_locked(file, lock(libc::F_WRLCK, 0, 0))?),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(false),
        Err(number) => Err(number),
    }
}

fn is_locked(file: &File, mut lock: libc::flock) -> Result<bool, Errno> {
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok(i32::from(lock.l_type) != libc::F_UNLCK)
}

fn lock(kind: i32, start: i64, length: i64) -> libc::flock {
    libc::flock { l_type: kind as i16, l_whence: libc::SEEK_SET as i16, l_start: start, l_len: length, l_pid: 0 }
}
