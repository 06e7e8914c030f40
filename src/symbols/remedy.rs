//! What would supply what is missing of a module: the exact command or setting, as far as this
//! machine knows it.
//!
//! It reads which distribution this is and whose file a path is. It does not use the network.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;

use super::report::{Lack, ModuleReport};

/// Debian's list of the files of each installed package.
const PACKAGES: &str = "/var/lib/dpkg/info";
const RELEASE: &str = "/etc/os-release";
/// Lists of files that are read at most, and of each this much.
const MOST_LISTS: usize = 10_000;
const MOST_OF_A_LIST: u64 = 16 << 20;

/// What would supply something, the surest first.
pub type Remedy = Vec<String>;

/// What would supply what a module lacks.
pub fn remedy(module: &ModuleReport, lack: &Lack) -> Remedy {
    match lack {
        Lack::Split { paths } => split(module, paths),
        Lack::Supplementary { path, id } => {
            let name = path.rsplit('/').next().unwrap_or(path);
            let mut ways = vec![format!("--symbols DIR with {name} in it")];
            ways.extend(package_of(&module.path).and_then(|package| debug_package(&package)));
            ways.extend(by_debuginfod("debuginfo", &id.to_string()));
            ways
        }
        Lack::File | Lack::Names | Lack::DebugInfo => {
            let mut ways = Vec::new();
            if *lack != Lack::File {
                ways.extend(package_of(&module.path).and_then(|package| debug_package(&package)));
            }
            if let Some(id) = &module.build_id {
                ways.extend(by_debuginfod("debuginfo", &id.to_string()));
                ways.push("--symbols FILE or DIR, the file itself or its debug file".into());
            }
            ways.push("--sysroot DIR, the tree that holds the process's files".into());
            ways
        }
    }
}

fn split(module: &ModuleReport, paths: &[String]) -> Remedy {
    let mut ways = Vec::new();
    if let Some(first) = paths.first() {
        let name = first.rsplit('/').next().unwrap_or(first);
        ways.push(match paths.len() {
            1 => format!("{first}, or --symbols DIR with {name} in it"),
            count => format!("{first} and {} more, or --symbols DIR with them in it", count - 1),
        });
    }
    ways.push(format!("{}.dwp beside it: dwp -e {} -o {0}.dwp, where it was built", module.path, module.path));
    ways
}

/// Of a build-id, how debuginfod has it: by setting where servers are, if that is not set.
fn by_debuginfod(kind: &str, id: &str) -> Option<String> {
    let servers = match release("ID")?.as_str() {
        "debian" => "https://debuginfod.debian.net",
        "ubuntu" => "https://debuginfod.ubuntu.com",
        "fedora" => "https://debuginfod.fedoraproject.org",
        "arch" => "https://debuginfod.archlinux.org",
        "opensuse-tumbleweed" | "opensuse-leap" => "https://debuginfod.opensuse.org",
        "centos" => "https://debuginfod.centos.org",
        _ => "https://debuginfod.elfutils.org",
    };
    Some(format!("DEBUGINFOD_URLS={servers} debuginfod-find {kind} {id}, which puts it where hangsnap looks"))
}

fn release(field: &str) -> Option<String> {
    let text = fs::read_to_string(RELEASE).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix('='))?;
    Some(line.trim_matches('"').to_owned())
}

/// How a distribution of Debian's kind has the debug information of a package.
fn debug_package(package: &str) -> Option<String> {
    let (name, _) = package.split_once(':').unwrap_or((package, ""));
    Some(match name {
        "libc6" => "apt install libc6-dbg".into(),
        name => format!("apt install {name}-dbgsym (from debian-debug, or ddebs.ubuntu.com)"),
    })
    .filter(|_| release("ID").is_some_and(|id| ["debian", "ubuntu"].contains(&id.as_str())))
}

/// The package that a file is of, where dpkg says.
fn package_of(path: &str) -> Option<String> {
    if !Path::new(path).exists() {
        return None;
    }
    // A package may have been built when /lib was no link to /usr/lib.
    let names = [path, path.strip_prefix("/usr").unwrap_or(path)];
    let lists = fs::read_dir(PACKAGES).ok()?.take(MOST_LISTS).filter_map(|entry| Some(entry.ok()?.path()));
    let mut lists: Vec<_> = lists.filter(|path| path.extension().is_some_and(|kind| kind == "list")).collect();
    lists.sort_unstable();
    for list in lists {
        let Ok(file) = fs::File::open(&list) else { continue };
        let lines = BufReader::new(std::io::Read::take(file, MOST_OF_A_LIST)).lines();
        if lines.map_while(Result::ok).any(|line| names.contains(&line.as_str())) {
            return Some(list.file_stem()?.to_str()?.to_owned());
        }
    }
    None
}
