//! FUSE file systems with requests that their servers have not answered.

use std::fs;

use super::{Reading, open_files};
use crate::model::FuseMount;

pub(super) fn read(reading: &mut Reading<'_>) -> Vec<FuseMount> {
    if !reading.sleeps_in(&["fuse", "request_wait_answer"]) {
        return Vec::new();
    }
    let Ok(mounts) = fs::read_to_string(reading.path("mountinfo")) else { return Vec::new() };
    let mut found = Vec::new();
    for line in mounts.lines() {
        // proc_pid_mountinfo(5): device and mount point are the third and the fifth, the type is
        // the first after a dash.
        let Some((before, after)) = line.split_once(" - ") else { continue };
        let fields: Vec<&str> = before.split(' ').collect();
        let (Some(device), Some(path)) = (fields.get(2), fields.get(4)) else { continue };
        if !after.starts_with("fuse") || after.starts_with("fusectl") {
            continue;
        }
        let minor = device.split(':').nth(1).unwrap_or("");
        let waiting = fs::read_to_string(format!("/sys/fs/fuse/connections/{minor}/waiting"));
        match waiting.ok().and_then(|text| text.trim().parse().ok()) {
            Some(waiting) => found.push(FuseMount { path: (*path).to_owned(), waiting, servers: Vec::new() }),
            None => {
                reading.unread(
                    "requests that FUSE servers have not answered",
                    "mount -t fusectl none /sys/fs/fuse/connections",
                );
                found.push(FuseMount { path: (*path).to_owned(), waiting: 1, servers: Vec::new() });
            }
        }
    }
    found.retain(|mount| mount.waiting > 0);
    if !found.is_empty() {
        let servers = open_files::holders_of_target(reading, "/dev/fuse");
        found.iter_mut().for_each(|mount| mount.servers.clone_from(&servers));
    }
    found
}
