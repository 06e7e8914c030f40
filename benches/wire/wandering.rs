//! The target whose threads go elsewhere on command.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use hangsnap::model::Pid;

use crate::target;

/// Killed when this is dropped.
pub struct Wandering {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Wandering {
    /// An error says why there cannot be this many threads.
    pub fn start(threads: usize) -> Result<Self, String> {
        let program = target::compile("wandering", &[]);
        let mut command = Command::new(program);
        command.arg(threads.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        let input = child.stdin.take().expect("piped");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let mut wandering = Self { child, input, output };
        if wandering.is_ready() { Ok(wandering) } else { Err("the host does not allow them".into()) }
    }

    pub fn pid(&self) -> Pid {
        Pid(i32::try_from(self.child.id()).expect("a process id"))
    }

    /// Makes this many threads go elsewhere, and waits until they are there.
    pub fn go(&mut self, threads: usize) {
        if threads > 0 {
            writeln!(self.input, "{threads}").expect("it reads");
            assert!(self.is_ready(), "it has ended");
        }
    }

    fn is_ready(&mut self) -> bool {
        let mut line = String::new();
        self.output.read_line(&mut line).is_ok() && line == "ready\n"
    }
}

impl Drop for Wandering {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
