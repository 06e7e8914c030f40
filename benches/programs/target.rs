//! The process that benches look at: compiled, started, and ended with them.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use hangsnap::model::Pid;

/// A running target that is killed when this is dropped.
#[allow(dead_code, reason = "each bench uses a part of this")]
pub struct Running(Child);

#[allow(dead_code, reason = "each bench uses a part of this")]
impl Running {
    pub fn pid(&self) -> Pid {
        Pid(i32::try_from(self.0.id()).expect("a process id"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// benches/programs/NAME.
pub fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/programs").join(name)
}

/// Compiles benches/programs/NAME.c; with other flags it is another program.
pub fn compile(name: &str, flags: &[&str]) -> PathBuf {
    let source = source(name).with_extension("c");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}{}", flags.concat()));
    let status = Command::new("gcc")
        .args(["-O2", "-fno-optimize-sibling-calls", "-pthread"])
        .args(flags)
        .arg("-o")
        .args([&program, &source])
        .status()
        .expect("gcc is needed");
    assert!(status.success(), "{} does not compile", source.display());
    program
}

/// Assembles benches/programs/NAME.S, which needs no library.
#[allow(dead_code, reason = "each bench uses a part of this")]
pub fn assemble(name: &str) -> PathBuf {
    let source = source(name).with_extension("S");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let mut gcc = Command::new("gcc");
    gcc.args(["-nostdlib", "-static-pie", "-Wl,--build-id", "-o"]).args([&program, &source]);
    let status = gcc.status().expect("gcc is needed");
    assert!(status.success(), "{} does not assemble", source.display());
    program
}

/// Builds the program that writes a minidump by minidump-writer. None, which it says, if that
/// cannot be.
#[allow(dead_code, reason = "each bench uses a part of this")]
pub fn build_minidump() -> Option<PathBuf> {
    let package = source("minidump");
    let into = Path::new(env!("CARGO_TARGET_TMPDIR")).join("minidump");
    let built = Command::new("cargo")
        .args(["build", "--quiet", "--release", "--locked", "--target-dir"])
        .arg(&into)
        .arg("--manifest-path")
        .arg(package.join("Cargo.toml"))
        .status();
    match built {
        Ok(status) if status.success() => Some(into.join("release/minidump")),
        _ => {
            eprintln!("SKIPPED: minidump-writer cannot be built");
            None
        }
    }
}

/// Starts a target and waits until it is ready; if it cannot be, as where the host does not allow
/// this many threads, the error says why.
#[allow(dead_code, reason = "each bench uses a part of this")]
pub fn start(command: &mut Command) -> Result<Running, String> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(|error| error.to_string())?;
    let mut line = String::new();
    let output = child.stdout.take().expect("piped");
    let mut complaints = child.stderr.take().expect("piped");
    let running = Running(child);
    BufReader::new(output).read_line(&mut line).expect("it prints a line");
    if line == "ready\n" {
        return Ok(running);
    }
    let mut why = String::new();
    complaints.read_to_string(&mut why).expect("text");
    let limit = |name: &str| fs::read_to_string(Path::new("/proc/sys").join(name)).unwrap_or_default();
    let limits = ["kernel/threads-max", "kernel/pid_max", "vm/max_map_count"]
        .map(|name| format!("{name} is {}", limit(name).trim()))
        .join(", ");
    Err(format!("{} ({limits}, and there may be a cgroup's pids.max)", why.trim()))
}
