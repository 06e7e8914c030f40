//! Who a process is to the kernel, and what the host says of who may look at whom.
//!
//! Facts only: ids, capabilities, namespaces and settings as they are written in /proc. What
//! follows from them is decided in `doctor`. Whatever cannot be read is None, because a container
//! may hide any of it.

use std::fs;
use std::os::unix::fs::MetadataExt;

use procfs::process::{LimitValue, Process as Directory, Status};

use super::process::status;
use super::{Error, ProcDir};
use crate::model::Tid;

/// PROC_USER_INIT_INO of the kernel: the number of the user namespace that the machine starts with.
const INITIAL_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

/// The capabilities that decide what hangsnap sees; their numbers are those of linux/capability.h.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "named as capabilities(7) names them")]
pub enum Capability {
    DacOverride = 1,
    DacReadSearch = 2,
    SysPtrace = 19,
    SysAdmin = 21,
    SysNice = 23,
    Perfmon = 38,
    Bpf = 39,
}

/// A set of capabilities, a bit each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities(pub u64);

/// The user ids, or the group ids, of a process as its reader's user namespace numbers them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ids {
    /// The real id.
    pub real: u32,
    /// The effective id.
    pub effective: u32,
    /// The saved set-id.
    pub saved: u32,
}

/// What `status` says of a process's rights.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Credentials {
    /// Its user ids.
    pub users: Ids,
    /// Its group ids.
    pub groups: Ids,
    /// Capabilities that it may make effective.
    pub permitted: Capabilities,
    /// Capabilities that the kernel checks.
    pub effective: Capabilities,
    /// Capabilities that it can gain by executing a program.
    pub bounding: Capabilities,
    /// Whether executing a program grants it nothing (PR_SET_NO_NEW_PRIVS).
    pub no_new_privileges: bool,
    /// 0 none, 1 strict, 2 a filter.
    pub seccomp: Option<u32>,
    /// How many PID namespaces below the reader's its own is; 0 when it is the same.
    pub pid_namespaces_below: usize,
}

/// The user namespace of a process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UserNamespace {
    /// Its number; None where the process may not be looked at that closely.
    pub inode: Option<u64>,
    /// As /proc/PID/uid_map has it, which anybody may read.
    pub uid_map: String,
}

/// Limits of hangsnap's own process (getrlimit(2)); None is no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// RLIMIT_NOFILE.
    pub open_files: Option<u64>,
}

impl Capabilities {
    /// Whether this one is in the set.
    pub fn has(self, capability: Capability) -> bool {
        self.0 & (1 << capability as u64) != 0
    }

    /// Whether all of these are in `other` too.
    pub fn are_in(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }
}

impl Ids {
    /// Whether a process with these ids is, for ptrace(2), of the one user or group with this id.
    pub fn are_all(self, id: u32) -> bool {
        self.real == id && self.effective == id && self.saved == id
    }
}

impl From<Status> for Credentials {
    fn from(status: Status) -> Self {
        Self {
            users: Ids { real: status.ruid, effective: status.euid, saved: status.suid },
            groups: Ids { real: status.rgid, effective: status.egid, saved: status.sgid },
            permitted: Capabilities(status.capprm),
            effective: Capabilities(status.capeff),
            bounding: Capabilities(status.capbnd.unwrap_or(0)),
            no_new_privileges: status.nonewprivs == Some(1),
            seccomp: status.seccomp,
            pid_namespaces_below: status.nspid.map_or(0, |pids| pids.len().saturating_sub(1)),
        }
    }
}

impl Credentials {
    /// hangsnap's own.
    pub fn own() -> Result<Self, Error> {
        Ok(status(&Directory::myself()?)?.into())
    }
}

impl UserNamespace {
    /// hangsnap's own.
    pub fn own() -> Self {
        Self::below("/proc/self")
    }

    fn below(directory: &str) -> Self {
        let link = fs::read_link(format!("{directory}/ns/user")).ok();
        let link = link.as_ref().and_then(|link| link.to_str());
        Self {
            inode: link.and_then(|link| link.strip_prefix("user:[")?.strip_suffix(']')?.parse().ok()),
            uid_map: fs::read_to_string(format!("{directory}/uid_map")).unwrap_or_default(),
        }
    }

    /// Whether it is the one that the machine starts with; all others are parts of it.
    pub fn is_initial(&self) -> bool {
        self.inode == Some(INITIAL_USER_NAMESPACE)
    }

    /// Whether two processes are in the same one. Two namespaces with the same map are
    /// distinguished only where both have numbers.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self.inode, other.inode) {
            (Some(one), Some(other)) => one == other,
            _ => self.uid_map == other.uid_map,
        }
    }
}

impl Limits {
    /// Those of this process.
    pub fn own() -> Result<Self, Error> {
        let limits = Directory::myself()?.limits()?;
        let value = |limit| match limit {
            LimitValue::Unlimited => None,
            LimitValue::Value(value) => Some(value),
        };
        Ok(Self { open_files: value(limits.max_open_files.soft_limit) })
    }
}

/// Yama's `ptrace_scope`: who may trace whom beyond the kernel's own rules. None where Yama is not
/// there.
pub fn yama_scope() -> Option<u8> {
    fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").ok()?.trim().parse().ok()
}

/// What the security module (AppArmor, SELinux) calls hangsnap; None where there is none that
/// labels processes.
pub fn security_label() -> Option<String> {
    let label = fs::read_to_string("/proc/self/attr/current").ok()?;
    let label = label.trim_matches(['\0', '\n']);
    (!label.is_empty()).then(|| label.to_owned())
}

/// Which processes /proc hides from some of its readers: `hidepid` of its mount, none when it is
/// not set.
pub fn hidden_processes() -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    // The last mount on a directory is the one that is seen.
    let mount = mounts.lines().rfind(|line| line.split(' ').nth(4) == Some("/proc"))?;
    let option = mount.rsplit(' ').next()?.split(',').find_map(|option| option.strip_prefix("hidepid="))?;
    (!matches!(option, "0" | "off")).then(|| option.to_owned())
}

/// How many microseconds of a period processes of hangsnap's control group may run at a real-time
/// policy; None where the kernel keeps no such account (CONFIG_RT_GROUP_SCHED) or does not show it.
/// A new group begins with none at all.
pub fn real_time_budget() -> Option<i64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    // Each line is `number:controllers:path`; the account is one of version 1 of control groups.
    let has_cpu = |controllers: &str| controllers.split(',').any(|controller| controller == "cpu");
    let group = groups.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        has_cpu(controllers).then_some(path)
    })?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    mounts.lines().find_map(|line| {
        let (mount, file_system) = line.split_once(" - cgroup ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, directory) = (fields.next()?, fields.next()?);
        // A container sees the tree from its own group on.
        let below = group.strip_prefix(root.trim_end_matches('/'))?;
        let budget = fs::read_to_string(format!("{directory}{below}/cpu.rt_runtime_us")).ok()?;
        has_cpu(file_system.rsplit(' ').next()?).then(|| budget.trim().parse().ok()).flatten()
    })
}

/// Whether the kernel counts how often a thread was given a CPU: whether `schedstat` is there and
/// more than zeroes.
pub fn counts_runs() -> bool {
    fs::read_to_string("/proc/thread-self/schedstat")
        .is_ok_and(|text| text.split_whitespace().last().is_some_and(|runs| runs != "0"))
}

/// Whether the kernel says where a blocked thread entered it, and where in the kernel it is.
pub fn has_thread_file(name: &str) -> bool {
    fs::exists(format!("/proc/thread-self/{name}")).unwrap_or(false)
}

impl ProcDir {
    /// What `status` says of its rights.
    pub fn credentials(&self) -> Result<Credentials, Error> {
        Ok(self.status()?.into())
    }

    /// Its user namespace, as far as it may be looked at.
    pub fn user_namespace(&self) -> UserNamespace {
        UserNamespace::below(&format!("/proc/{}", self.pid()))
    }

    /// Whether the process may be read by others of its user (PR_SET_DUMPABLE in prctl(2)). Files
    /// of one that may not belong to root; so of a process of root's nothing can be known.
    pub fn is_dumpable(&self) -> Option<bool> {
        let effective = self.status().ok()?.euid;
        let owner = fs::metadata(format!("/proc/{}/stat", self.pid())).ok()?.uid();
        (effective != 0).then_some(owner == effective)
    }

    /// Opens a file of one of the process's threads for reading and closes it again.
    pub fn try_open(&self, thread: Tid, name: &str) -> std::io::Result<()> {
        fs::File::open(self.thread_file(thread, name)).map(drop)
    }

    /// Reads a file of one of the process's threads and forgets what it said.
    pub fn try_read(&self, thread: Tid, name: &str) -> std::io::Result<()> {
        fs::read(self.thread_file(thread, name)).map(drop)
    }

    fn thread_file(&self, thread: Tid, name: &str) -> String {
        format!("/proc/{}/task/{thread}/{name}", self.pid())
    }
}
