//! What hangsnap may do on a host and to a process: the answers of `doctor`, before they are
//! printed.

use super::Pid;

/// What a finding is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum About {
    Host,
    Process,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    Ok,
    Missing,
    Unknown,
    /// Worth knowing; nothing depends on it.
    Note,
}

/// The answer to one question about rights.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    pub about: About,
    /// What was asked; it is kept from version to version.
    pub name: &'static str,
    pub status: Status,
    pub detail: String,
    /// What a snapshot lacks for want of it.
    pub costs: Option<String>,
    pub grant: Option<Grant>,
}

/// What a snapshot taken now, without any options, would be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Every thread would be in it, and no system call of the process would notice.
    Complete,
    /// There would be one, with these reservations.
    Limited(Vec<String>),
    /// There would be none.
    Impossible(String),
}

/// Everything that is to be said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnosis {
    pub process: Option<(Pid, String)>,
    pub findings: Vec<Finding>,
    pub verdict: Option<Verdict>,
}

/// What to add to the command line or the file that starts hangsnap; None where there is no such
/// change.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Grant {
    pub docker: Option<String>,
    pub podman: Option<String>,
    pub kubernetes: Option<String>,
    pub systemd: Option<String>,
    /// What to do on the host, or to something else than hangsnap.
    pub host: Option<String>,
}
