//! The one change that would grant a right, for each way in which hangsnap may be run.
//!
//! What has to change depends on what is there: under docker and Kubernetes a user other than root
//! gets no capability even if the container was given it, and in a user namespace of its own
//! nothing reaches what belongs to the machine.

use super::OwnFacts;
use crate::model::Grant;
use crate::proc::Capability;

impl Grant {
    /// Something that is done once and not by starting hangsnap in another way.
    pub(super) fn on_host(what: impl Into<String>) -> Self {
        Self { host: Some(what.into()), ..Self::default() }
    }

    /// A capability over processes and files of hangsnap's own user namespace.
    pub(super) fn capability(capability: Capability, own: &OwnFacts) -> Self {
        let name = short_name(capability);
        let is_root = own.credentials.users.effective == 0;
        // Docker and Kubernetes give a container's capabilities to root only, podman to any user.
        let as_root = |user: &str, option: &str| match is_root {
            true => option.to_owned(),
            false => format!("{user} {option}"),
        };
        let option = format!("--cap-add {name}");
        let in_kubernetes = format!("securityContext.capabilities.add: [\"{name}\"]");
        let bounding = match own.credentials.bounding.has(capability) {
            true => String::new(),
            false => format!(" CapabilityBoundingSet=CAP_{name}"),
        };
        Self {
            docker: Some(as_root("--user 0", &option)),
            podman: Some(option.clone()),
            kubernetes: Some(as_root("securityContext.runAsUser: 0,", &in_kubernetes)),
            systemd: Some(format!("AmbientCapabilities=CAP_{name}{bounding}")),
            host: Some(match is_root {
                true => format!("start it with CAP_{name}"),
                false => "run it as root".into(),
            }),
        }
    }

    /// A capability that counts only in the user namespace that the machine starts with.
    pub(super) fn initial_capability(capability: Capability, own: &OwnFacts) -> Self {
        if own.user_namespace.is_initial() {
            return Self::capability(capability, own);
        }
        let name = short_name(capability);
        Self {
            docker: Some(format!("--userns=host --cap-add {name} (not in rootless docker)")),
            podman: Some(format!("run by root: --userns=host --cap-add {name}")),
            kubernetes: Some(format!("hostUsers: true, securityContext.capabilities.add: [\"{name}\"]")),
            systemd: Some(format!("PrivateUsers=no AmbientCapabilities=CAP_{name}")),
            host: Some("run it as root outside of the user namespace".into()),
        }
    }

    /// A place in the user namespace of a process that is in another one.
    pub(super) fn user_namespace() -> Self {
        Self {
            docker: Some("--userns=host --cap-add SYS_PTRACE".into()),
            podman: Some("--userns=container:TARGET --cap-add SYS_PTRACE".into()),
            kubernetes: Some("in the target's own pod (shareProcessNamespace), with SYS_PTRACE added".into()),
            systemd: Some("PrivateUsers=no AmbientCapabilities=CAP_SYS_PTRACE".into()),
            host: Some("run it as root outside of the user namespace".into()),
        }
    }

    /// A system call that a filter forbids.
    pub(super) fn system_call(call: &str, capability: &str) -> Self {
        // The default profiles of the container engines let through what belongs to a capability
        // that was added.
        let option =
            format!("--cap-add {capability} (widens the default profile), or --security-opt seccomp=unconfined");
        Self {
            docker: Some(option.clone()),
            podman: Some(option),
            kubernetes: Some(format!(
                "securityContext.capabilities.add: [\"{capability}\"], or seccompProfile.type: Unconfined"
            )),
            systemd: Some(format!("SystemCallFilter={call}")),
            host: None,
        }
    }

    pub(super) fn security_module() -> Self {
        Self {
            docker: Some("--security-opt apparmor=unconfined, with SELinux --security-opt label=disable".into()),
            podman: Some("--security-opt apparmor=unconfined, with SELinux --security-opt label=disable".into()),
            kubernetes: Some("securityContext.appArmorProfile.type: Unconfined, or seLinuxOptions.type: spc_t".into()),
            systemd: Some("AppArmorProfile=unconfined, or SELinuxContext= of the target".into()),
            host: None,
        }
    }

    /// SCHED_FIFO for a user who has no way to the capability.
    pub(super) fn real_time_limit() -> Self {
        Self {
            docker: Some("--ulimit rtprio=1".into()),
            podman: Some("--ulimit rtprio=1".into()),
            kubernetes: None,
            systemd: Some("LimitRTPRIO=1".into()),
            host: Some(
                "raise the user's rtprio limit (limits.conf), or run it as root outside of the user namespace".into(),
            ),
        }
    }

    /// SCHED_FIFO for one whose control group may not use it at all.
    pub(super) fn real_time_budget(has_capability: bool) -> Self {
        let also = if has_capability { "" } else { ", and start it with CAP_SYS_NICE" };
        Self::on_host(format!(
            "write 10000 to cpu.rt_runtime_us of its control group (see /proc/self/cgroup), after those above it{also}"
        ))
    }

    /// SCHED_FIFO for one who has the capability and is refused all the same.
    pub(super) fn real_time_allowed() -> Self {
        Self {
            docker: Some("--security-opt seccomp=unconfined".into()),
            podman: Some("--security-opt seccomp=unconfined".into()),
            kubernetes: Some("seccompProfile.type: Unconfined".into()),
            systemd: Some("RestrictRealtime=no SystemCallFilter=sched_setscheduler".into()),
            host: None,
        }
    }
}

fn short_name(capability: Capability) -> &'static str {
    match capability {
        Capability::DacOverride => "DAC_OVERRIDE",
        Capability::DacReadSearch => "DAC_READ_SEARCH",
        Capability::SysPtrace => "SYS_PTRACE",
        Capability::SysAdmin => "SYS_ADMIN",
        Capability::SysNice => "SYS_NICE",
        Capability::Perfmon => "PERFMON",
        Capability::Bpf => "BPF",
    }
}
