//! What happens while a target is recorded: it ends, executes, forks, grows; or somebody ends the
//! recording.
//!
//! Each time the sampler says so, ends in order or goes on, and leaves a file that is whole.

mod ends;
mod odd;
pub mod sampler;
mod targets;

use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command};

use crate::support::{Victim, compile, hangsnap, recorder, succeed};
use sampler::{Sampler, start_told};

fn lives() -> PathBuf {
    compile("gcc", "lives.c", &["-O1", "-g", "-pthread"])
}

/// A victim that leads this kind of life.
pub fn living(life: &[&str]) -> (Victim, ChildStdin) {
    start_told(Command::new(lives()).args(life))
}

fn recording(pid: &str, file: &Path) -> Command {
    let mut command = recorder(pid, "5ms");
    command.arg("-o").arg(file);
    command
}

/// A sampler that has taken its first sample.
fn recording_begun(pid: &str, file: &Path) -> Sampler {
    let mut sampler = Sampler::start(&mut recording(pid, file));
    sampler.line_with("#1 ");
    sampler
}

/// The file can be listed, compared and shown, and holds as many snapshots as the sampler said.
fn assert_whole(file: &Path, snapshots: u64) {
    let listed = succeed(hangsnap().arg("list").arg(file));
    assert_eq!(listed.lines().count() as u64, 2 + snapshots, "{listed}");
    assert!(succeed(hangsnap().arg("show").arg(file)).contains("snapshot "));
    if snapshots > 1 {
        succeed(hangsnap().arg("diff").arg(file));
    }
}
