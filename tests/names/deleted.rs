//! Files to which their paths do not lead: deleted, replaced, in memory alone, unmounted, in
//! another mount namespace, of odd names. Names and lines are there live, and in a recording when
//! all is gone.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hangsnap::store::Reader;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::{array, assert_stack, functions, read};
use crate::support::{PATIENCE, Victim, compile, first_column, hangsnap, succeed, until};

/// What the old version waits in, with lines.
const CHAIN: [&str; 7] = ["waits_old", "inlined_old", "retries_old", "handles_old", "handles", "serves_old", "main"];
/// What is exported of that: a function that was inlined is not.
const EXPORTED: [&str; 6] = ["waits_old", "retries_old", "handles_old", "handles", "serves_old", "main"];

/// A program and its plugin.
struct Files {
    directory: tempfile::TempDir,
    program: PathBuf,
    plugin: PathBuf,
}

/// Compiles a version of both.
fn version(name: &str, flags: &[&str]) -> [PathBuf; 2] {
    let version = format!("-DV=_{name}");
    let both = [&["-O2", "-g", "-fno-optimize-sibling-calls", &version], flags].concat();
    let program = compile("gcc", "upgraded.c", &[&both[..], &["-rdynamic"]].concat());
    let plugin = compile("gcc", "upgraded.c", &[&both[..], &["-DPLUGIN", "-shared", "-fPIC"]].concat());
    [program, plugin]
}

impl Files {
    /// Copies of the old version, below a directory of their own: `at` in it.
    fn copied(at: &str, flags: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        let [program, plugin] = ["program", "plugin"].map(|name| directory.path().join(at).join(name));
        let files = Self { directory, program, plugin };
        files.fill(flags);
        files
    }

    fn fill(&self, flags: &[&str]) {
        fs::create_dir_all(self.program.parent().expect("a directory")).expect("a directory");
        for (from, to) in version("old", flags).iter().zip([&self.program, &self.plugin]) {
            fs::copy(from, to).expect("a copy");
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(&self.plugin);
        command
    }

    fn start(&self) -> Victim {
        Victim::start(&mut self.command())
    }

    fn remove(&self) {
        for file in [&self.program, &self.plugin] {
            fs::remove_file(file).expect("it is there");
        }
    }
}

/// Each of the functions has the line that the source has it on.
fn assert_lines(what: &str, thread: &Value, chain: &[&str]) {
    let source = fs::read_to_string(crate::support::victim_source("upgraded.c")).expect("the victim's source");
    let all: Vec<&Value> = array(&thread["frames"]).iter().flat_map(|frame| array(&frame["functions"])).collect();
    for name in chain {
        let function = all.iter().find(|function| function["name"] == *name);
        let function = function.unwrap_or_else(|| panic!("{what}: {name} is not in {:#?}", functions(thread)));
        assert!(function["file"].as_str().is_some_and(|file| file.ends_with("upgraded.c")), "{what}: {function}");
        let line = function["line"].as_u64().unwrap_or_else(|| panic!("{what}: {function}")) as usize;
        // All but three functions of the source have one line each.
        let defined = name.trim_end_matches("_old");
        let text = source.lines().nth(line - 1).expect("the source has that line");
        let expected = match defined {
            "waits" => "pause()",
            "serves" => "= handles(NAME(waits)",
            "main" => "= NAME(serves)",
            "handles" if *name == "handles" => "int handles(",
            defined => &format!("int NAME({defined})("),
        };
        assert!(text.contains(expected), "{what}: {name} is not at {text}");
    }
}

fn assert_named(what: &str, document: &Value, chain: &[&str], has_lines: bool) {
    let thread = &array(&document["threads"])[0];
    assert_stack(what, thread, chain);
    if has_lines {
        assert_lines(what, thread, chain);
    }
    for missing in ["files_not_found", "files_without_names"] {
        assert!(document[missing].as_array().is_none_or(Vec::is_empty), "{what}: {document:#}");
    }
    let losses: Vec<&Value> = array(&document["notices"]).iter().filter(|notice| notice["loss"] == true).collect();
    assert!(losses.is_empty(), "{what}: {losses:?}");
}

/// Looks at the process live and from recordings, held, all held and in place, before and after it
/// has ended.
fn assert_all_named(what: &str, victim: Victim, pid: &str, chain: &[&str], has_lines: bool) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let stops = ["auto", "all", "none"];
    let at = |name: String| directory.path().join(name).display().to_string();
    let mut printed = Vec::new();
    for stop in stops {
        for way in [&["--json"][..], &[]] {
            let file = at(format!("{stop}{}", way.len()));
            let text = succeed(hangsnap().args([pid, "--stop", stop, "-o", &file]).args(way));
            if way == ["--json"] {
                let live = serde_json::from_str(&text).expect("hangsnap prints JSON");
                assert_named(&format!("{what}, --stop {stop}"), &live, chain, has_lines);
            }
            printed.push((file, way, text));
        }
        let recorded = at(format!("{stop} recorded"));
        let mut record = hangsnap();
        succeed(record.args([pid, "--stop", stop, "--every", "20ms", "--count", "3", "-o", &recorded]));
    }
    drop(victim);
    for (file, way, text) in printed {
        let later = succeed(hangsnap().args(["show", &file]).args(way));
        assert_eq!(later, text, "{what}: what is printed live is what the file prints later");
    }
    for stop in stops {
        let recorded = at(format!("{stop} recorded"));
        let cut = at(format!("{stop} cut"));
        succeed(hangsnap().args(["cut", &recorded, "-o", &cut]));
        for (file, which) in [(&recorded, "first"), (&recorded, "last"), (&cut, "last")] {
            let shown = read(hangsnap().args(["show", file, "--at", which, "--json"]));
            assert_named(&format!("{what}, {which} of {file}"), &shown, chain, has_lines);
        }
    }
}

fn assert_all(what: &str, victim: Victim) {
    let pid = victim.pid();
    assert_all_named(what, victim, &pid, &CHAIN, true);
}

#[test]
fn files_that_were_deleted() {
    let files = Files::copied("", &[]);
    let victim = files.start();
    files.remove();
    // A variable is found in them, too.
    let document = read(hangsnap().args([&victim.pid(), "--memory", "path:8", "--json"]));
    assert_eq!(array(&document["memory"])[0]["what"], "--memory path:8", "{document:#}");
    assert_all("deleted", victim);
}

/// What stands at the paths now has other names for other code.
#[test]
fn files_that_were_replaced_by_another_version() {
    let files = Files::copied("", &[]);
    let victim = files.start();
    for (new, old) in version("new", &["-DOTHER"]).iter().zip([&files.program, &files.plugin]) {
        let beside = files.directory.path().join("beside");
        fs::copy(new, &beside).expect("a copy");
        fs::rename(&beside, old).expect("both are on one file system");
    }
    assert_all("replaced", victim);
}

#[test]
fn a_plugin_and_a_program_in_memory() {
    for kind in ["memory", "all"] {
        let files = Files::copied("", &[]);
        let victim = Victim::start(files.command().arg(kind));
        files.remove();
        assert_all(kind, victim);
    }
}

/// A file system that was mounted, until this goes out of scope.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn mount(at: &'a Path, arguments: &[&str]) -> Option<Self> {
        let mut mount = Command::new("mount");
        let mounted = mount.args(arguments).arg(at).status().is_ok_and(|status| status.success());
        if !mounted {
            eprintln!("SKIPPED: mount {arguments:?} is not possible here");
        }
        mounted.then_some(Self(at))
    }

    fn unmount_lazily(self) {
        drop(self);
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        succeed(Command::new("umount").arg("--lazy").arg(self.0));
    }
}

#[test]
fn files_whose_file_system_was_unmounted() {
    let outside = tempfile::tempdir().expect("a temporary directory");
    let image = outside.path().join("image").display().to_string();
    succeed(Command::new("truncate").args(["--size", "16M", &image]));
    succeed(Command::new("mkfs.ext2").args(["-q", &image]));
    for arguments in [&["-t", "tmpfs", "none"][..], &["-o", "loop", &image]] {
        let files = Files::copied("mounted", &[]);
        files.remove();
        let at = files.directory.path().join("mounted");
        let Some(mounted) = Mounted::mount(&at, arguments) else {
            continue;
        };
        files.fill(&[]);
        let victim = files.start();
        mounted.unmount_lazily();
        assert!(!files.program.exists(), "nothing is mounted there any more");
        assert_all(&format!("mount {arguments:?}"), victim);
    }
}

/// The kernel marks files that were deleted in the same way, and writes a newline as four
/// characters that a name may have, too.
#[test]
fn files_of_odd_names_that_are_there() {
    for at in ["a (deleted)", "of two\nlines", "\\012", "gone\n (deleted)"] {
        let mut files = Files::copied(at, &[]);
        for file in [&mut files.program, &mut files.plugin] {
            let odd =
                file.with_file_name(format!("{} {at}", file.file_name().and_then(|name| name.to_str()).expect("text")));
            fs::rename(&*file, &odd).expect("it is there");
            *file = odd;
        }
        let victim = files.start();
        let pid = victim.pid();
        let document = read(hangsnap().args([&pid, "--json"]));
        assert_eq!(document["notices"], serde_json::json!([]), "the files are where their paths say");
        assert_all(at, victim);
    }
}

#[test]
fn files_without_a_build_id_that_were_deleted() {
    let files = Files::copied("", &["-Wl,--build-id=none"]);
    let victim = files.start();
    files.remove();
    assert_all("without build-id", victim);
}

#[test]
fn files_with_the_names_that_they_export_alone() {
    let files = Files::copied("", &[]);
    for file in [&files.program, &files.plugin] {
        succeed(Command::new("strip").arg(file));
    }
    let victim = files.start();
    files.remove();
    let pid = victim.pid();
    assert_all_named("stripped", victim, &pid, &EXPORTED, false);
}

/// The names of what had none are not made up, and that is said as of a file that is there.
#[test]
fn a_deleted_program_without_names_is_said_to_be_stripped() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let bare = directory.path().join("bare");
    let whole = compile("gcc", "moved_text.c", &["-O2", "-g"]);
    succeed(Command::new("strip").arg("-o").arg(&bare).arg(whole));
    let victim = Victim::start(Command::new(&bare).arg("page"));
    super::until_it_pauses(&victim.pid());
    fs::remove_file(&bare).expect("it is there");
    let file = directory.path().join("kept").display().to_string();
    let printed = succeed(hangsnap().args([&victim.pid(), "-o", &file]));
    assert!(printed.contains("bare (deleted): no names, its file is stripped"), "{printed}");
    assert!(!printed.contains("no file here has its build-id"), "{printed}");
    drop(victim);
    assert_eq!(succeed(hangsnap().args(["show", &file])), printed);
}

/// A program in a mount namespace of its own, with files that are nowhere else; shown from outside.
#[test]
fn files_in_another_mount_namespace() {
    let files = Files::copied("inside", &[]);
    let inside = files.directory.path().join("inside");
    let held = files.directory.path().join("held");
    fs::rename(&inside, &held).expect("it is there");
    fs::create_dir(&inside).expect("a directory");
    let script = "mount -t tmpfs none \"$0\" && cp \"$1\"/* \"$0\" && exec \"$0/program\" \"$0/plugin\"";
    let mut unshare = Command::new("unshare");
    let victim = Victim::start(unshare.args(["--mount", "sh", "-c", script]).args([&inside, &held]));
    fs::remove_dir_all(&held).expect("it is ours");
    assert!(!files.program.exists(), "they are not here");
    assert_all("in a mount namespace", victim);
}

/// Of a thread that has not run since, the frames lie in a module whose path has changed.
#[test]
fn files_that_are_deleted_while_they_are_recorded() {
    let files = Files::copied("", &[]);
    let victim = files.start();
    let recording = files.directory.path().join("recording").display().to_string();
    let mut record = hangsnap();
    record.args([&victim.pid(), "--every", "20ms", "-o", &recording]);
    let mut sampler = record.stdout(Stdio::null()).spawn().expect("hangsnap starts");
    let taken = || {
        let mut list = hangsnap();
        let listed = list.args(["list", &recording]).output().expect("hangsnap runs");
        first_column(&String::from_utf8_lossy(&listed.stdout)).len()
    };
    until("some snapshots are taken", PATIENCE, || taken() > 2);
    files.remove();
    let before = taken();
    until("more snapshots are taken", PATIENCE, || taken() > before + 2);
    kill(Pid::from_raw(sampler.id() as i32), Signal::SIGINT).expect("it is ours");
    assert!(sampler.wait().expect("it is ours").success());
    drop(victim);
    let shown = read(hangsnap().args(["show", &recording, "--at", "last", "--json"]));
    assert_named("deleted meanwhile", &shown, &CHAIN, true);
}

/// Who may not ask the kernel for what is mapped has the program's own file, and of the others what
/// they export, by what lies in memory; what is not exported is said to be missing.
#[test]
fn without_the_right_to_open_what_is_mapped_exported_names_come_from_memory() {
    let files = Files::copied("", &[]);
    let own = files.directory.path().join("hangsnap");
    fs::copy(hangsnap().get_program(), &own).expect("a copy");
    let other = |program: &Path| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(program).env("TZ", "UTC");
        command
    };
    let victim = Victim::start(other(&files.program).arg(&files.plugin));
    files.remove();
    let kept = files.directory.path().join("kept");
    fs::create_dir(&kept).expect("a directory");
    fs::set_permissions(&kept, fs::Permissions::from_mode(0o777)).expect("it is ours");
    for stop in ["auto", "none"] {
        let file = kept.join(stop).display().to_string();
        let look = || {
            let mut command = other(&own);
            command.args([&victim.pid(), "--stop", stop]);
            command
        };
        let live = read(look().arg("--json"));
        assert_stack(stop, &array(&live["threads"])[0], &EXPORTED);
        assert_lines(stop, &array(&live["threads"])[0], &["waits_old", "serves_old", "main"]);
        let text = succeed(look().args(["-o", &file]));
        assert_eq!(succeed(hangsnap().args(["show", &file])), text);
    }
    drop(victim);
    let shown = read(hangsnap().args(["show"]).arg(kept.join("none")).arg("--json"));
    assert_stack("recorded", &array(&shown["threads"])[0], &EXPORTED);
}

/// Of files that are where their paths say nothing is kept: they can be found later.
#[test]
fn of_files_in_their_places_nothing_is_kept() {
    let files = Files::copied("", &[]);
    let file = files.directory.path().join("kept");
    let named = |victim: &Victim| {
        let _ = fs::remove_file(&file);
        succeed(hangsnap().arg(victim.pid()).arg("-o").arg(&file));
        let mut reader = Reader::open(&file).expect("a recording");
        let snapshot = reader.next_snapshot().expect("readable").expect("one").expect("whole");
        snapshot.named.len()
    };
    let victim = files.start();
    assert_eq!(named(&victim), 0);
    files.remove();
    assert_eq!(named(&victim), 7, "the seven frames of the program, `_start` among them, and of its plugin");
}
