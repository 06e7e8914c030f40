//! Findings about the sources of what threads wait for, and since when.

use super::{Facts, ProcessFacts, told};
use crate::model::{About, Finding, Grant};

pub(super) fn of_host(facts: &Facts) -> Vec<Finding> {
    let host = &facts.host;
    vec![
        source(
            "last-ran",
            host.has_last_ran_file,
            "/proc/PID/task/TID/sched",
            "since when a thread waits is known from samples only, not from before the first",
            "a kernel with CONFIG_SCHED_DEBUG",
        ),
        source(
            "file-locks",
            host.has_file_locks,
            "/proc/locks",
            "who holds a file lock that a thread waits for is not known",
            "a kernel with CONFIG_FILE_LOCKING, and /proc mounted without subset=pid",
        ),
        source(
            "fuse",
            host.has_fuse_connections,
            "/sys/fs/fuse/connections",
            "that a FUSE server does not answer is known only from the kernel function in which a thread sleeps",
            "mount -t fusectl none /sys/fs/fuse/connections",
        ),
    ]
}

/// A source that there is on a host or not.
fn source(name: &'static str, is_there: bool, file: &str, costs: &str, grant: &str) -> Finding {
    match is_there {
        true => Finding::ok(About::Host, name, file),
        false => Finding::missing(About::Host, name, format!("no {file}"), costs, Some(Grant::on_host(grant))),
    }
}

/// `for_file` is what a file of the process takes that could not be read.
pub(super) fn of_process(process: &ProcessFacts, for_file: Option<Grant>) -> Vec<Finding> {
    let file = "/proc/PID/fd";
    let descriptors = match process.descriptors.worked() {
        true => Finding::ok(About::Process, "descriptors", file),
        false => Finding::missing(
            About::Process,
            "descriptors",
            format!("reading {file} {}", told(process.descriptors)),
            "the files, pipes and sockets that its threads wait for have no names, nor has who is at their other ends",
            for_file,
        ),
    };
    let sockets = match process.has_own_network {
        Some(false) => Finding::ok(About::Process, "sockets", "it is in hangsnap's network namespace"),
        Some(true) => Finding::missing(
            About::Process,
            "sockets",
            "it has a network namespace of its own",
            "the peers of its UNIX sockets are not known; those of TCP and UDP are",
            Some(Grant::on_host(format!("nsenter --net --target {} hangsnap ..", process.pid))),
        ),
        None => Finding::unknown(About::Process, "sockets", "its network namespace cannot be seen"),
    };
    vec![descriptors, sockets]
}
