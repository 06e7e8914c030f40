//! What hangsnap may do on a host and to a process: the answers of `doctor`, before they are
//! printed.

use super::Pid;

/// What a finding is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum About {
    /// The machine, and hangsnap on it.
    Host,
    /// The process that was named.
    Process,
}

/// How the question of a finding is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// Nothing is missing.
    Ok,
    /// A right or a feature is missing.
    Missing,
    /// It could not be found out.
    Unknown,
    /// Worth knowing; nothing depends on it.
    Note,
}

/// The answer to one question about rights.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The machine or the process.
    pub about: About,
    /// What was asked; it is kept from version to version.
    pub name: &'static str,
    /// The answer.
    pub status: Status,
    /// The answer in words.
    pub detail: String,
    /// What a snapshot lacks for want of it.
    pub costs: Option<String>,
    /// What would grant the missing right.
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
    /// The process that was looked at, with its name.
    pub process: Option<(Pid, String)>,
    /// The answers, those about the host first.
    pub findings: Vec<Finding>,
    /// What they come to; None where no process was named.
    pub verdict: Option<Verdict>,
}

/// What to add to the command line or the file that starts hangsnap; None where there is no such
/// change.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Grant {
    /// What to add to `docker run`.
    pub docker: Option<String>,
    /// What to add to `podman run`.
    pub podman: Option<String>,
    /// What to change in a pod's specification.
    pub kubernetes: Option<String>,
    /// What to change in a unit file.
    pub systemd: Option<String>,
    /// What to do on the host, or to something else than hangsnap.
    pub host: Option<String>,
}
