//! `hangsnap demo`: the whole way of the data in five seconds, on a program that hangs.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::Context;

use super::configuration::DEFAULT_DUTY;
use super::output::{self, output};
use super::progress::{Progress, Voice};
use crate::model::Pid;
use crate::process::{Target, Wanted};
use crate::record::{self, CaptureOptions, Output, RecordingPlan};
use crate::render::Selection;
use crate::store::Policy;
use crate::symbols::Finder;
use crate::view::{self, At, Compared, Format};

/// A child process that does not outlive this value.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        // Fails only if it has ended already, which is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A directory that is removed with everything in it.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is a file in the directory for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) fn run() -> anyhow::Result<()> {
    let program = std::env::current_exe().context("cannot find hangsnap's own program file")?;
    let mut child = Command::new(program)
        .arg("demo-target")
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start the program to look at")?;
    let stdout = child.stdout.take().context("the program to look at has no output")?;
    let victim = Victim(child);
    let mut ready = String::new();
    BufReader::new(stdout).read_line(&mut ready).context("the program to look at does not answer")?;
    let pid = i32::try_from(victim.0.id()).context("its process id is no process id")?;
    let scratch = Scratch(std::env::temp_dir().join(format!("hangsnap-demo-{}", std::process::id())));
    let file = scratch.0.join("demo.hangsnap");

    let mut out = output();
    let mut say = |line: &str| -> std::io::Result<()> {
        writeln!(out, "{line}")?;
        out.flush()
    };
    say(&format!("$ hangsnap --pid {pid} --every 500ms --count 4 -o demo.hangsnap"))?;
    let options = CaptureOptions::default();
    let plan = RecordingPlan {
        targets: vec![Target::open(&Wanted::Pid(Pid(pid)), options.stop)?],
        interval: Duration::from_millis(500),
        options,
        max_duty: DEFAULT_DUTY,
        count: Some(4),
        length: None,
        output: Output::File(file.clone()),
        policy: Policy::default(),
    };
    let (spoken, complaints) = (Box::new(std::io::stdout()), Box::new(std::io::stderr()));
    let voice = Voice { out: spoken, is_terminal: false, complaints };
    record::run(plan, Box::new(Progress::new(voice)), &crossbeam_channel::never(), || {})?;

    let finder = Finder::new(Vec::new());
    say("\n$ hangsnap stuck demo.hangsnap")?;
    view::stuck(&mut out, &file, &At::Last, &finder, Format::Text(output::width()))?;
    writeln!(out, "\n$ hangsnap show demo.hangsnap")?;
    view::show(&mut out, &file, &At::Last, &finder, &Selection::default(), Format::Text(output::width()))?;
    writeln!(out, "\n$ hangsnap diff demo.hangsnap")?;
    view::diff(&mut out, &file, &Compared::LastTwo, &finder, Format::Text(output::width()))?;
    out.flush()?;
    Ok(())
}
