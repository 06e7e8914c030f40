//! What a process's control group says of where it runs: its unit, container and pod.
//!
//! Promises: only paths are read, so no container runtime is asked and none can delay this. The
//! forms are those of systemd.resource-control(5), Docker, containerd, CRI-O and podman, with the
//! systemd driver (`crio-ID.scope`) and the cgroupfs driver (`pod-UID/ID`), and both hierarchies.
//!
//! Does not know names: `container_names` finds those in files that the runtimes keep.

use std::fs::File;
use std::io::Read;

use crate::model::Pid;

/// More than a path of a control group may have, for all hierarchies together.
const LONGEST: u64 = 64 << 10;
/// Characters of a container's id.
const ID: usize = 64;
/// Characters of a pod's UID, as RFC 9562 writes it.
const UID: usize = 36;

/// The control group of a process.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Cgroup {
    /// The path, as /proc/PID/cgroup has it: of the unified hierarchy, or else that of systemd.
    pub path: String,
    /// All paths, which may differ in the first version.
    paths: Vec<String>,
}

impl Cgroup {
    /// That of a process. Empty if it has ended.
    pub fn of(pid: Pid) -> Self {
        let mut text = Vec::new();
        if let Ok(file) = File::open(format!("/proc/{pid}/cgroup")) {
            // What could be read until an error is what there is.
            let _ = file.take(LONGEST).read_to_end(&mut text);
        }
        Self::parse(&String::from_utf8_lossy(&text))
    }

    /// From the lines `ID:CONTROLLERS:PATH` of cgroups(7).
    pub fn parse(text: &str) -> Self {
        let lines: Vec<(&str, &str)> = text
            .lines()
            .filter_map(|line| line.split_once(':')?.1.split_once(':'))
            .map(|(controllers, path)| (controllers, path.trim_end_matches(" (deleted)")))
            .collect();
        let of = |wanted: &str| lines.iter().find(|(name, path)| *name == wanted && *path != "/");
        let path = of("").or_else(|| of("name=systemd")).or_else(|| lines.first()).map_or("", |(_, path)| path);
        Self { path: path.into(), paths: lines.iter().map(|(_, path)| (*path).into()).collect() }
    }

    /// The systemd unit: the innermost component that is one, other than a slice.
    pub fn unit(&self) -> Option<&str> {
        let is_unit =
            |part: &&str| [".service", ".scope", ".socket", ".mount", ".swap"].iter().any(|end| part.ends_with(end));
        self.path.split('/').rev().find(is_unit)
    }

    /// Whether it lies in this unit, at whatever depth: a service may have groups below its own,
    /// and a slice has units.
    pub fn is_in_unit(&self, unit: &str) -> bool {
        self.path.split('/').any(|part| part == unit)
    }

    /// Whether it is the group of this path, or one below it. `path` is with or without the mount
    /// point of the hierarchy.
    pub fn is_below(&self, path: &str) -> bool {
        let path = path.strip_prefix("/sys/fs/cgroup").unwrap_or(path).trim_matches('/');
        let below = |own: &String| {
            let rest = own.trim_start_matches('/').strip_prefix(path);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || path.is_empty())
        };
        self.paths.iter().any(below)
    }

    /// The id of the container: 64 hexadecimal digits.
    pub fn container(&self) -> Option<&str> {
        self.paths.iter().find_map(|path| path.split('/').rev().find_map(container_in))
    }

    /// The UID of the pod, in the form with hyphens.
    pub fn pod(&self) -> Option<String> {
        self.paths.iter().find_map(|path| path.split('/').rev().find_map(pod_in))
    }
}

/// `ID`, `RUNTIME-ID.scope`, and those of podman that say `ID` again below. The monitor of a
/// container has a scope of its own beside it, which is not the container's.
fn container_in(part: &str) -> Option<&str> {
    let name = part.strip_suffix(".scope").unwrap_or(part);
    let (runtime, id) = name.rsplit_once('-').unwrap_or(("", name));
    let is_id = id.len() == ID && id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    (is_id && !runtime.ends_with("conmon")).then_some(id)
}

/// `podUID`, `kubepods-burstable-podUID.slice` with underscores for hyphens.
fn pod_in(part: &str) -> Option<String> {
    let name = part.strip_suffix(".slice").unwrap_or(part);
    let (_, uid) = name.rsplit_once("pod").filter(|(before, _)| before.is_empty() || before.ends_with('-'))?;
    let uid = uid.replace('_', "-");
    let is_uid = uid.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-') && uid.len() >= UID - 4;
    is_uid.then_some(uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTAINER: &str = "3f4dc7ed9ebd9ba0bcd2a7a7d7f38a0e6b7cb2ed9f1d0b6a5d1c0f1b2a3c4d5e";
    const POD: &str = "8a0e3c5d-1b2c-4d5e-8f90-a1b2c3d4e5f6";

    #[test]
    fn paths_of_all_runtimes_name_the_container_and_the_pod() {
        let slice = format!("kubepods-burstable-pod{}.slice", POD.replace('-', "_"));
        for (path, pod) in [
            (format!("/docker/{CONTAINER}"), None),
            (format!("/system.slice/docker-{CONTAINER}.scope"), None),
            (format!("/machine.slice/libpod-{CONTAINER}.scope/container"), None),
            (format!("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{CONTAINER}.scope"), None),
            (format!("/kubepods.slice/kubepods-burstable.slice/{slice}/cri-containerd-{CONTAINER}.scope"), Some(POD)),
            (format!("/kubepods.slice/kubepods-burstable.slice/{slice}/crio-{CONTAINER}.scope"), Some(POD)),
            (format!("/kubepods/burstable/pod{POD}/{CONTAINER}"), Some(POD)),
            (format!("/kubepods/pod{POD}/{CONTAINER}"), Some(POD)),
            (format!("/../../pod{POD}/{CONTAINER}"), Some(POD)),
        ] {
            let group = Cgroup::parse(&format!("0::{path}\n"));
            assert_eq!(group.container(), Some(CONTAINER), "{path}");
            assert_eq!(group.pod().as_deref(), pod, "{path}");
        }
        for path in [format!("/machine.slice/libpod-conmon-{CONTAINER}.scope"), "/system.slice/nginx.service".into()] {
            assert_eq!(Cgroup::parse(&format!("0::{path}\n")).container(), None, "{path}");
        }
    }

    #[test]
    fn the_first_version_has_a_path_for_each_hierarchy() {
        let text = format!("12:pids:/docker/{CONTAINER}\n1:name=systemd:/system.slice/ssh.service\n0::/\n");
        let group = Cgroup::parse(&text);
        assert_eq!(group.path, "/system.slice/ssh.service");
        assert_eq!((group.unit(), group.container()), (Some("ssh.service"), Some(CONTAINER)));
        assert!(group.is_below("/docker") && group.is_below("/sys/fs/cgroup/docker/") && !group.is_below("/dock"));
    }

    #[test]
    fn a_unit_holds_groups_below_its_own() {
        let group = Cgroup::parse("0::/system.slice/system-getty.slice/getty@tty1.service/inner\n");
        assert_eq!(group.unit(), Some("getty@tty1.service"));
        assert!(group.is_in_unit("getty@tty1.service") && group.is_in_unit("system.slice"));
        assert!(!group.is_in_unit("tty1.service"));
    }

    #[test]
    fn hostile_text_names_nothing() {
        for text in ["", ":", "::", "0:", "0::", "\u{0}", "0::/pod/pod-", "0::/-----.scope", "a:b:c:d\n:::\n"] {
            let group = Cgroup::parse(text);
            assert_eq!((group.container(), group.pod()), (None, None), "{text:?}");
        }
    }
}
