//! Sidecars in real containers: what the doctor says inside one is what can be done from there.
//! Takes podman and runc.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::{HELD_UP, Programs, is_root};
use crate::support::{limited, long_form, run, succeed};

const CONFIGURATION: &str = "\
[engine]
cgroup_manager=\"cgroupfs\"
events_logger=\"none\"
[containers]
default_ulimits=[\"nofile=1024:1024\",\"nproc=1024:1024\"]
log_driver=\"none\"
";

/// podman with storage of its own, and a container in which the victim runs.
struct Pod {
    programs: Programs,
    directory: tempfile::TempDir,
}

impl Pod {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::write(directory.path().join("containers.conf"), CONFIGURATION).expect("our own directory");
        for name in ["proc", "sys", "dev", "etc", "tmp", "usr", "bin", "lib", "lib64", "programs"] {
            fs::create_dir_all(directory.path().join("rootfs").join(name)).expect("our own directory");
        }
        let pod = Self { programs: Programs::new(), directory };
        succeed(pod.container(&["-d", "--name", "target", "--user", "10001:10001"]).arg("/programs/sleeper"));
        pod
    }

    fn podman(&self) -> Command {
        let path = |name: &str| self.directory.path().join(name);
        let mut command = limited("podman");
        command.args(["--storage-driver", "vfs", "--runtime", "runc"]);
        command.env("CONTAINERS_CONF", path("containers.conf"));
        command.arg("--root").arg(path("root")).arg("--runroot").arg(path("run"));
        command
    }

    /// A container with this machine's libraries, and the programs under /programs.
    fn container(&self, options: &[&str]) -> Command {
        let mut command = self.podman();
        command.args(["run", "--network", "none"]).args(options);
        for name in ["usr", "bin", "lib", "lib64"] {
            command.args(["-v", &format!("/{name}:/{name}:ro")]);
        }
        command.args(["-v", &format!("{}:/programs:ro", self.programs.directory.path().display())]);
        command.arg("--rootfs").arg(self.directory.path().join("rootfs"));
        command
    }

    /// What hangsnap prints in a container that sees the victim's processes: the exit code and the
    /// JSON, if it is any.
    fn sidecar(&self, options: &[&str], arguments: &[&str]) -> (Option<i32>, Value) {
        let options = [&["--rm", "--pid", "container:target"], options].concat();
        let output = run(self.container(&options).arg("/programs/hangsnap").args(arguments));
        (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or(Value::Null))
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        // A test that failed before it was there leaves none to remove.
        let _ = run(self.podman().args(["rm", "--force", "--time", "0", "target"]));
        // podman does not remove the control group above its containers, and its monitor may be in
        // it for a moment more.
        for _ in 0..100 {
            if remove_control_groups() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        eprintln!("a control group of podman's, libpod_parent, is in use and stays");
    }
}

/// Whether podman's control groups are gone.
fn remove_control_groups() -> bool {
    let controllers = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    let groups: Vec<PathBuf> = controllers.map(|controller| controller.path().join("libpod_parent")).collect();
    for group in &groups {
        // There is none under some of the controllers.
        let _ = fs::remove_dir(group.join("conmon"));
        let _ = fs::remove_dir(group);
    }
    groups.iter().all(|group| !group.exists())
}

fn is_ok(document: &Value, name: &str) -> bool {
    let checks = document["checks"].as_array().unwrap_or_else(|| panic!("checks: {document}"));
    let check = checks.iter().rfind(|check| check["name"] == name);
    check.unwrap_or_else(|| panic!("no {name}: {document}"))["status"] == "ok"
}

/// The rows of what was measured in containers: options, and whether the process may be attached
/// to, its memory file, its threads' system calls and their kernel stacks be read.
const SIDECARS: [(&[&str], [bool; 4], &str); 7] = [
    (&[], [false, false, false, false], "impossible"),
    (&["--cap-add", "SYS_PTRACE"], [true, true, true, false], "complete"),
    (&["--cap-drop", "ALL", "--cap-add", "SYS_PTRACE"], [true, false, false, false], "limited"),
    (
        &["--cap-drop", "ALL", "--cap-add", "SYS_PTRACE", "--cap-add", "DAC_READ_SEARCH"],
        [true, true, true, false],
        "complete",
    ),
    (&["--cap-drop", "ALL", "--user", "10001:10001"], [true, true, true, false], "complete"),
    (&["--cap-drop", "ALL", "--user", "10002:10002"], [false, false, false, false], "impossible"),
    (&["--cap-add", "SYS_PTRACE", "--cap-add", "SYS_ADMIN"], [true, true, true, true], "complete"),
];

#[test]
fn sidecars() {
    if !long_form() {
        eprintln!("SKIPPED doctor::containers::sidecars: only in the long form");
        return;
    }
    if !is_root() || Command::new("podman").arg("--version").output().is_err() {
        eprintln!("SKIPPED doctor::containers::sidecars: needs root, podman and runc (apt-get install podman runc)");
        return;
    }
    let pod = Pod::new();
    for (options, allowed, snapshot) in SIDECARS {
        let (code, said) = pod.sidecar(options, &["doctor", "--pid", "1", "--json"]);
        let found = ["attach", "memory-file", "call-file", "kernel-stack"];
        // call-file is asked about the host first and about the process last.
        assert_eq!(found.map(|name| is_ok(&said, name)), allowed, "{options:?}: {said}");
        assert_eq!(said["snapshot"], snapshot, "{options:?}: {said}");
        assert_eq!(code, Some(i32::from(snapshot != "complete")), "{options:?}");
        let (code, taken) = pod.sidecar(options, &["--pid", "1", "--json"]);
        assert_eq!(code, Some(if snapshot == "impossible" { 2 } else { 0 }), "{options:?}: {taken}");
        if snapshot == "complete" {
            let notices = taken["notices"].as_array().unwrap_or_else(|| panic!("notices: {taken}"));
            let held_up = |notice: &&Value| notice["text"].to_string().contains(HELD_UP) && !is_ok(&said, "real-time");
            assert!(notices.iter().all(|notice| held_up(&notice)), "{options:?}: {taken}");
        }
    }
    // What it says is to be added to podman's options gives what was missing.
    let mut options: Vec<String> = vec!["--cap-drop".into(), "ALL".into(), "--user".into(), "10002:10002".into()];
    for name in ["attach", "call-file", "kernel-stack"] {
        let ask = |options: &[String]| {
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            pod.sidecar(&options, &["doctor", "--pid", "1", "--json"]).1
        };
        let said = ask(&options);
        assert!(!is_ok(&said, name), "{options:?}: {said}");
        let checks = said["checks"].as_array().expect("checks");
        let check = checks.iter().rfind(|check| check["name"] == name).expect("it was there");
        let grant = check["grant"]["podman"].as_str().unwrap_or_else(|| panic!("a grant: {check}"));
        options.extend(grant.split_whitespace().map(ToOwned::to_owned));
        let said = ask(&options);
        assert!(is_ok(&said, name), "{options:?}: {said}");
    }
}
