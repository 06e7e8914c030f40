//! Names of containers and pods, from the files that runtimes and the kubelet keep of them.
//!
//! Promises: nothing is asked over a socket, so a runtime that hangs does not delay this. What is
//! read is bounded. Where no such file is there (a sidecar, another place), a container is known by
//! its id only, and a pod by its UID.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use serde_json::Value;

/// More than a runtime's file of containers has.
const LARGEST: u64 = 16 << 20;
/// More containers than a host runs.
const MOST: usize = 10_000;

/// The ids of containers of this name.
pub(super) fn ids_of_container(name: &str) -> Vec<String> {
    let mut ids = of_docker(Path::new("/var/lib/docker/containers"), name);
    ids.extend(of_podman(Path::new("/var/lib/containers/storage/overlay-containers/containers.json"), name));
    ids.extend(of_kubelet(Path::new("/var/log/containers"), name));
    ids
}

/// The UIDs of pods of this name: the kubelet calls the directory of a pod's logs
/// `NAMESPACE_NAME_UID`.
pub(super) fn uids_of_pod(namespace: &str, name: &str) -> Vec<String> {
    let wanted = |entry: String| {
        let mut parts = entry.splitn(3, '_');
        (parts.next() == Some(namespace) && parts.next() == Some(name)).then(|| parts.next().map(Into::into))?
    };
    entries(Path::new("/var/log/pods")).filter_map(wanted).collect()
}

fn entries(directory: &Path) -> impl Iterator<Item = String> {
    let found = fs::read_dir(directory).into_iter().flatten().take(MOST);
    found.filter_map(|entry| entry.ok()?.file_name().into_string().ok())
}

fn json(path: &Path) -> Option<Value> {
    let mut text = Vec::new();
    File::open(path).ok()?.take(LARGEST).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

/// Docker has a directory for each container, and in its `config.v2.json` the name with a slash.
fn of_docker(directory: &Path, name: &str) -> Vec<String> {
    let is_called = |id: &String| {
        let config = json(&directory.join(id).join("config.v2.json"));
        config.is_some_and(|config| config["Name"].as_str().is_some_and(|found| found.trim_start_matches('/') == name))
    };
    entries(directory).filter(is_called).collect()
}

/// podman has all in one file.
fn of_podman(file: &Path, name: &str) -> Vec<String> {
    let containers = json(file).and_then(|json| json.as_array().cloned()).unwrap_or_default();
    let is_called =
        |container: &&Value| container["names"].as_array().is_some_and(|names| names.iter().any(|found| found == name));
    containers.iter().filter(is_called).filter_map(|container| Some(container["id"].as_str()?.to_owned())).collect()
}

/// The kubelet has a link for each container: `POD_NAMESPACE_CONTAINER-ID.log`.
fn of_kubelet(directory: &Path, name: &str) -> Vec<String> {
    let id = |entry: String| {
        let (before, id) = entry.strip_suffix(".log")?.rsplit_once('-')?;
        (before.rsplit('_').next() == Some(name)).then(|| id.to_owned())
    };
    entries(directory).filter_map(id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_the_files_of_each_runtime() -> std::io::Result<()> {
        let place = tempfile::tempdir()?;
        let docker = place.path().join("docker/aaa");
        fs::create_dir_all(&docker)?;
        fs::write(docker.join("config.v2.json"), r#"{"Name":"/web"}"#)?;
        assert_eq!(of_docker(&place.path().join("docker"), "web"), ["aaa"]);
        let podman = place.path().join("containers.json");
        fs::write(&podman, r#"[{"id":"bbb","names":["db"]},{"id":"ccc"}]"#)?;
        assert_eq!(of_podman(&podman, "db"), ["bbb"]);
        fs::write(place.path().join("pod-1_shop_cart-ddd.log"), "")?;
        assert_eq!(of_kubelet(place.path(), "cart"), ["ddd"]);
        Ok(())
    }
}
