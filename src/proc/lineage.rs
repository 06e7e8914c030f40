//! What goes on where a process has ended: those that came from it.
//!
//! A program that makes itself a daemon forks, perhaps twice, and ends: what does the work then is a child of nobody that knew it.
//! A fork keeps the image of its program where it is, and an address space is laid out by chance each time a program is executed: so a
//! process with the same image comes from the same execve(2). Others are in the session that the process led, or in its service's
//! control group. What is read here is public but for the image, without which there is less to go by.

use std::fs;

use procfs::process::all_processes;

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
}

impl Lineage {
    /// That of a process that is still there.
    pub fn of(process: &ProcDir) -> Result<Self, Error> {
        let id = process.id()?;
        let image = process.image().ok().flatten().filter(|image| image.is_told());
        Ok(Self { pid: id.pid, start: id.start.0, image, service: service(id.pid) })
    }

    /// The processes that have come from it and run; those that run the same image first.
    pub fn successors(&self) -> Vec<Pid> {
        let mut found: Vec<(bool, Pid)> = all_processes()
            .into_iter()
            .flatten()
            .filter_map(|process| {
                let stat = process.ok()?.stat().ok()?;
                let pid = Pid(stat.pid);
                let runs = !matches!(ThreadState::from_letter(stat.state), ThreadState::Zombie | ThreadState::Dead);
                if pid == self.pid || stat.starttime < self.start || !runs {
                    return None;
                }
                let is_same = self.image.is_some() && self.image == Some(ImageId::from_stat(&stat));
                let is_kin = || stat.session == self.pid.0 || self.service.is_some() && self.service == service(pid);
                (is_same || is_kin()).then_some((!is_same, pid))
            })
            .collect();
        found.sort_unstable();
        found.into_iter().map(|(_, pid)| pid).collect()
    }
}

/// The control group that systemd has made for the service that a process belongs to, if it belongs to one.
fn service(pid: Pid) -> Option<String> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    path.ends_with(".service").then(|| path.to_owned())
}
