//! Victims: small programs that are compiled when a test first needs them, and end with it.

pub mod held;
mod patient;

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

pub use patient::{PATIENCE, floor, limited, run_unless_it_hangs, thread_time};

/// The program under test.
pub fn hangsnap() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hangsnap"));
    // Times are printed in the reader's zone; tests read them in one.
    command.env("TZ", "UTC").env_remove("NO_COLOR").env_remove("DEBUGINFOD_URLS");
    command
}

/// The same, recording a process at this interval, whatever share of the time its threads are held
/// for.
pub fn recorder(pid: &str, every: &str) -> Command {
    let mut command = hangsnap();
    command.args(["--pid", pid, "--every", every, "--max-duty", "100%"]);
    command
}

/// Whether the long forms of tests were asked for.
pub fn long_form() -> bool {
    std::env::var_os("HANGSNAP_LONG").is_some_and(|value| value == "1")
}

/// The source of a victim: tests/victims/NAME.
pub fn victim_source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/victims").join(name)
}

/// Compiles a victim with this compiler and these flags, once for each set of flags, and returns
/// the program.
///
/// `compiler` is `gcc`, `g++`, `rustc` or whatever takes `FLAGS -o PROGRAM SOURCE...`. A victim
/// NAME.c that has a directory NAME is made of the C files in there, too.
pub fn compile(compiler: &str, source: &str, flags: &[&str]) -> PathBuf {
    // Two tests may want the same victim at the same time.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let source = victim_source(source);
    let stem = source.file_stem().and_then(OsStr::to_str).expect("a victim has a name");
    let variant: String =
        flags.iter().flat_map(|flag| flag.chars()).filter(char::is_ascii_alphanumeric).collect::<String>();
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{stem}-{compiler}-{variant}"));
    let beside = fs::read_dir(source.with_extension(""))
        .map(|entries| entries.map(|entry| entry.expect("the sources stay where they are").path()).collect::<Vec<_>>());
    let mut sources = beside.unwrap_or_default();
    let modified = |path: &Path| fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let newest = sources.iter().chain(&parts(stem)).filter_map(|part| modified(part)).max();
    if modified(&program) > newest {
        return program;
    }
    sources.retain(|source| source.extension() == Some(OsStr::new("c")));
    let output = Command::new(compiler)
        .args(flags)
        .arg("-o")
        .arg(&program)
        .arg(&source)
        .args(&sources)
        .output()
        .unwrap_or_else(|error| panic!("{compiler} cannot be run ({error}); tests/run installs it"));
    assert!(output.status.success(), "{compiler} {}: {}", source.display(), String::from_utf8_lossy(&output.stderr));
    program
}

/// The files that a victim of this name may be made of: its source, and the headers called after
/// it.
fn parts(stem: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(victim_source("")).expect("the victims are there");
    let paths = files.map(|file| file.expect("an entry").path());
    paths.filter(|path| path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with(stem))).collect()
}

/// A running process that is killed when the test ends, however it ends.
pub struct Victim {
    pub child: Child,
    pub output: BufReader<ChildStdout>,
}

impl Victim {
    /// Starts a program and waits until it has printed the line `ready`.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
        let output = BufReader::new(child.stdout.take().expect("its output is piped"));
        let mut victim = Self { child, output };
        loop {
            let line = victim.line();
            assert!(!line.is_empty(), "{command:?} ended before it was ready");
            if line.trim() == "ready" {
                return victim;
            }
        }
    }

    /// The next line it prints; empty when it has closed its output.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the victim prints text");
        line
    }

    pub fn pid(&self) -> String {
        self.child.id().to_string()
    }

    /// The state letter of each thread, as /proc says.
    pub fn states(&self) -> Vec<char> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("the victim is alive");
        tasks
            .filter_map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok())
            .filter_map(|stat| stat.rsplit(')').next()?.trim_start().chars().next())
            .collect()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process whose threads sleep.
pub fn sleeper() -> Victim {
    Victim::start(&mut Command::new(compile("gcc", "sleeper.c", &["-O1", "-g", "-pthread"])))
}

/// The numbers with which lines begin: those of the snapshots in what `list` prints.
pub fn first_column(printed: &str) -> Vec<u64> {
    printed.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect()
}

/// Runs a command that must succeed, and returns what it printed.
pub fn succeed(command: &mut Command) -> String {
    let output = run(command);
    assert!(
        output.status.success(),
        "{command:?} exited with {}: {}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("it prints text")
}

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}"))
}

/// Waits until a condition holds; panics, saying which, when it does not come to hold.
pub fn until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < limit, "waited {limit:?} in vain until {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
