//! What goes on where a process has ended: those that came from it.
//!
//! A program that makes itself a daemon forks, perhaps twice, and ends: what does the work then is
//! a child of no process that knew it. A fork keeps the image of its program where it is, and an
//! address space is laid out by chance each time a program is executed: so a process with the same
//! image comes from the same execve(2). Others are in the session that the process led, or in its
//! service's control group. Servers that fork workers beforehand share the image with them, too:
//! what was there already and does not descend from the process, and what such a process forks
//! later, has not come from it. What is read here is public but for the image, without which there
//! is less to go by.

use std::collections::{HashMap, HashSet};
use std::fs;

use procfs::process::{Stat, all_processes};

use super::process::ImageId;
use super::{Error, ProcDir};
use crate::model::{Pid, ThreadState};

/// By what a process's descendants are known when it has gone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lineage {
    pid: Pid,
    start: u64,
    image: Option<ImageId>,
    service: Option<String>,
    /// Processes of the same image or service that were there when this was made and do not descend
    /// from the process.
    strangers: HashSet<Pid>,
}

impl Lineage {
    /// That of a process that is still there.
    pub fn of(process: &ProcDir) -> Result<Self, Error> {
        let id = process.id()?;
        let image = process.image().ok().flatten().filter(super::process::ImageId::is_told);
        let mut lineage =
            Self { pid: id.pid, start: id.start.0, image, service: service(id.pid), strangers: HashSet::new() };
        let stats: HashMap<Pid, Stat> = stats().map(|stat| (Pid(stat.pid), stat)).collect();
        let strangers =
            stats.values().filter(|stat| !lineage.is_ancestor(stat, &stats) && lineage.is_kin(stat).is_some());
        lineage.strangers = strangers.map(|stat| Pid(stat.pid)).collect();
        Ok(lineage)
    }

    /// Whether a process descends from this one, as far as its parents show.
    fn is_ancestor(&self, stat: &Stat, stats: &HashMap<Pid, Stat>) -> bool {
        let mut pid = Pid(stat.pid);
        // Each parent was there before its child, unless ids were used again meanwhile.
        for _ in 0..stats.len() {
            if pid == self.pid {
                return true;
            }
            match stats.get(&pid) {
                Some(stat) if stat.ppid != 0 => pid = Pid(stat.ppid),
                _ => return false,
            }
        }
        false
    }

    /// Whether a process is known by one of the marks of this one's descendants: first by its
    /// image, or not.
    fn is_kin(&self, stat: &Stat) -> Option<bool> {
        let is_same = self.image.is_some() && self.image == Some(ImageId::from_stat(stat));
        let is_near = || stat.session == self.pid.0 || self.service.is_some() && self.service == service(Pid(stat.pid));
        (is_same || is_near()).then_some(is_same)
    }

    /// The processes that have come from it and run; those that run the same image first.
    pub fn successors(&self) -> Vec<Pid> {
        let mut found: Vec<(bool, Pid)> = stats()
            .filter_map(|stat| {
                let (pid, parent) = (Pid(stat.pid), Pid(stat.ppid));
                let runs = !matches!(ThreadState::from_letter(stat.state), ThreadState::Zombie | ThreadState::Dead);
                let is_strange = self.strangers.contains(&pid) || self.strangers.contains(&parent);
                if pid == self.pid || stat.starttime < self.start || !runs || is_strange {
                    return None;
                }
                self.is_kin(&stat).map(|is_same| (!is_same, pid))
            })
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, pid)| pid).collect()
    }
}

/// What /proc says of each process there is.
fn stats() -> impl Iterator<Item = Stat> {
    all_processes().into_iter().flatten().filter_map(|process| process.ok()?.stat().ok())
}

/// The control group that systemd has made for the service that a process belongs to, if it belongs
/// to one.
fn service(pid: Pid) -> Option<String> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    path.ends_with(".service").then(|| path.to_owned())
}
