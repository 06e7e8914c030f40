//! Which processes have a pipe, a socket or a device open: their links below /proc/PID/fd.
//!
//! Takes some ten milliseconds for a thousand descriptors, so it is done once for all that is
//! sought, and only as long as there is time.

use std::collections::HashMap;
use std::fs;

use super::{Reading, tasks};
use crate::model::Task;

/// Processes that are named for one object.
const MOST: usize = 8;

/// A process that has an object open, and whether it may write there.
#[derive(Clone)]
pub(super) struct Opened {
    pub(super) process: Task,
    pub(super) writes: bool,
}

/// For each of these links (`pipe:[12]`), the other processes that have it open. `by_mode` asks
/// whether they have it open to write, too.
pub(super) fn holders(reading: &mut Reading<'_>, links: &[String], by_mode: bool) -> HashMap<String, Vec<Opened>> {
    let mut found: HashMap<String, Vec<Opened>> = HashMap::new();
    if links.is_empty() {
        return found;
    }
    let own = reading.process.id.pid.0;
    let Ok(processes) = fs::read_dir("/proc") else { return found };
    let mut refused = 0_usize;
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    for pid in pids.filter(|pid| *pid != own) {
        if reading.is_over() {
            reading.unread(
                "who has the other ends of pipes and sockets",
                "there are too many processes to look at all of them",
            );
            break;
        }
        let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
            refused += 1;
            continue;
        };
        for descriptor in descriptors.flatten() {
            let Ok(link) = fs::read_link(descriptor.path()) else { continue };
            let Some(link) = link.to_str().filter(|link| links.iter().any(|wanted| wanted == link)) else { continue };
            let number = descriptor.file_name();
            let writes = by_mode && may_write(pid, &number.to_string_lossy());
            let others = found.entry(link.to_owned()).or_default();
            let is_new = others.iter().all(|other| other.process.pid.0 != pid || other.writes != writes);
            if is_new && others.len() < MOST {
                others.extend(tasks::process(pid).map(|process| Opened { process, writes }));
            }
        }
    }
    if refused > 0 {
        reading.unread(
            "who has the other ends of pipes and sockets",
            "it takes CAP_SYS_PTRACE to look at processes of other users",
        );
    }
    found
}

/// The processes that have this file open.
pub(super) fn holders_of_target(reading: &mut Reading<'_>, target: &str) -> Vec<Task> {
    let mut found = holders(reading, &[target.to_owned()], false);
    found.remove(target).unwrap_or_default().into_iter().map(|opened| opened.process).collect()
}

/// The process that has a file open on whose open file description there is a lock: `lock:` of
/// proc_pid_fdinfo(5).
pub(super) fn lock_holder(reading: &mut Reading<'_>, target: &str) -> Option<Task> {
    let has_lock = |pid: i32| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        descriptors.flatten().find(|descriptor| {
            let number = descriptor.file_name();
            fs::read_link(descriptor.path()).is_ok_and(|link| link.to_str() == Some(target))
                && fs::read_to_string(format!("/proc/{pid}/fdinfo/{}", number.to_string_lossy()))
                    .is_ok_and(|text| text.lines().any(|line| line.starts_with("lock:")))
        })
    };
    holders_of_target(reading, target).into_iter().find(|task| has_lock(task.pid.0).is_some())
}

/// Whether a descriptor was opened to write: the access mode in its flags, proc_pid_fdinfo(5).
pub(super) fn may_write(pid: i32, number: &str) -> bool {
    const ACCESS: u32 = 0o3;
    let Ok(text) = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")) else { return false };
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:"));
    flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok()).is_some_and(|flags| flags & ACCESS != 0)
}

/// What kind of file something is, and which: without asking the server of its file system, which
/// may not answer (`AT_STATX_DONT_SYNC` of statx(2)).
pub(super) fn about(path: &str) -> Option<About> {
    use rustix::fs::{AtFlags, CWD, FileType, StatxFlags, statx};
    let found = statx(CWD, path, AtFlags::STATX_DONT_SYNC, StatxFlags::TYPE | StatxFlags::INO).ok()?;
    let id = format!("{:02x}:{:02x}:{}", found.stx_dev_major, found.stx_dev_minor, found.stx_ino);
    let is_fifo = FileType::from_raw_mode(found.stx_mode.into()) == FileType::Fifo;
    Some(About { id, is_fifo })
}

/// A file as the kernel knows it.
pub(super) struct About {
    /// Device and inode, as /proc/locks writes them.
    pub(super) id: String,
    pub(super) is_fifo: bool,
}
