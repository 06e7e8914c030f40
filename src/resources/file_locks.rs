//! File locks that threads wait for: proc_locks(5).
//!
//! Pids there count as hangsnap's own namespace does; 0 is a process of another one, and -1 none,
//! for a lock of an open file description.

use std::fs;

use super::{Reading, open_files, tasks};
use crate::model::{Descriptor, FileLock, Pid};

/// F_SETLKW and F_OFD_SETLKW of fcntl(2).
const WAITING: [u64; 2] = [7, 38];
const MOST: usize = 256;

pub(super) fn read(reading: &mut Reading<'_>, descriptors: &[Descriptor]) -> Vec<FileLock> {
    let waits = reading.threads.iter().any(|thread| match thread.system_call.and_then(|call| call.name()) {
        Some("flock") => true,
        Some("fcntl") => thread.system_call.is_some_and(|call| WAITING.contains(&call.arguments[1])),
        _ => false,
    });
    if !waits {
        return Vec::new();
    }
    let text = match fs::read_to_string("/proc/locks") {
        Ok(text) => text,
        Err(error) => {
            reading.unread("file locks", format!("/proc/locks: {error}"));
            return Vec::new();
        }
    };
    let files = files(reading, descriptors);
    let mut locks: Vec<FileLock> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().skip(1).collect();
        match words.as_slice() {
            // One that waits for the lock above.
            ["->", _, _, _, pid, ..] => {
                if let (Some(lock), Ok(pid)) = (locks.last_mut(), pid.parse()) {
                    lock.waiters.push(Pid(pid));
                }
            }
            [kind, _, access, pid, file, ..] => {
                let holder = pid.parse().ok().filter(|pid: &i32| *pid > 0).and_then(tasks::process);
                let path = files.iter().find(|(id, _)| id == file).map(|(_, path)| path.clone());
                locks.retain(|lock| !lock.waiters.is_empty());
                locks.push(FileLock {
                    kind: (*kind).to_owned(),
                    is_write: *access == "WRITE",
                    holder,
                    waiters: Vec::new(),
                    file: (*file).to_owned(),
                    path,
                });
            }
            _ => {}
        }
    }
    // Others wait for locks on files that have nothing to do with this process.
    let own = |pid: &Pid| *pid == reading.process.id.pid || reading.threads.iter().any(|thread| thread.tid.0 == pid.0);
    locks.retain(|lock| !lock.waiters.is_empty() && (lock.path.is_some() || lock.waiters.iter().any(own)));
    locks.truncate(MOST);
    // Who took it may have ended, and left the open file to others.
    for lock in locks.iter_mut().filter(|lock| lock.holder.is_none()) {
        lock.holder = lock.path.as_ref().and_then(|path| open_files::lock_holder(reading, path));
    }
    locks
}

/// Device and inode of open files, as the kernel writes them there, with their paths.
fn files(reading: &Reading<'_>, descriptors: &[Descriptor]) -> Vec<(String, String)> {
    let id = |descriptor: &Descriptor| {
        let about = open_files::about(&reading.path(&format!("fd/{}", descriptor.number)))?;
        Some((about.id, descriptor.target.clone()))
    };
    descriptors.iter().filter(|descriptor| descriptor.target.starts_with('/')).filter_map(id).collect()
}
