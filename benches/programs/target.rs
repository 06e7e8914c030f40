//! The process that benches look at: compiled, started, and ended with them.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use hangsnap::model::Pid;

/// A running target that is killed when this is dropped.
pub struct Running(Child);

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

/// Compiles benches/programs/NAME.c.
pub fn compile(name: &str) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/programs").join(name).with_extension("c");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let status = Command::new("gcc")
        .args(["-O2", "-fno-optimize-sibling-calls", "-pthread", "-o"])
        .args([&program, &source])
        .status()
        .expect("gcc is needed");
    assert!(status.success(), "{} does not compile", source.display());
    program
}

/// Starts `parked` with so many threads and waits until they are.
pub fn start(program: &Path, threads: usize, heartbeat: Option<&Path>) -> Running {
    let mut command = Command::new(program);
    command.arg(threads.to_string()).args(heartbeat).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the target starts");
    let mut line = String::new();
    let output = child.stdout.take().expect("piped");
    BufReader::new(output).read_line(&mut line).expect("it prints a line");
    assert_eq!(line, "ready\n");
    Running(child)
}
