//! Building the programs of the corpus with the compilers that this machine has, and running them.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::SystemTime;

use super::chain::Chain;
use crate::support::{PATIENCE, Victim, run, victim_source};

/// Where the sources are.
pub fn source(name: &str) -> PathBuf {
    victim_source("corpus").join(name)
}

/// Where what is built is put, in a directory of the case's own.
pub fn place(case: &str) -> PathBuf {
    let plain: String = case.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("corpus").join(plain);
    fs::create_dir_all(&directory).expect("a directory for the programs");
    directory
}

/// Compiles a program of the corpus: `COMPILER FLAGS -o PROGRAM SOURCE`. None, having said so,
/// where there is no such compiler or it does not know a flag that a case is about.
pub fn compile(case: &str, compiler: &[&str], sources: &[&str], flags: &[&str]) -> Option<PathBuf> {
    let program = place(case).join("program");
    let mut command = Command::new(compiler[0]);
    command.args(&compiler[1..]).arg("-o").arg(&program);
    // Libraries count only for what is named before them.
    command.args(sources.iter().map(|name| source(name))).args(flags);
    made(case, &mut command, &program).then_some(program)
}

/// Runs what makes `product`, unless it is newer than all sources. False, having said so, if it
/// cannot.
pub fn made(case: &str, command: &mut Command, product: &Path) -> bool {
    // The command, too, may have changed since.
    let recipe = product.with_extension("recipe");
    let text = format!("{command:?}");
    if fs::read_to_string(&recipe).is_ok_and(|old| old == text) && modified(product) > newest_source() {
        return true;
    }
    let output = match command.stdin(Stdio::null()).output() {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            skip(case, &format!("{} is not installed; tests/run installs it", command.get_program().display()));
            return false;
        }
        Err(error) => panic!("{command:?} cannot be run: {error}"),
    };
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    fs::write(recipe, text).expect("the directory can be written to");
    true
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

fn newest_source() -> Option<SystemTime> {
    let files = fs::read_dir(source("")).expect("the sources are there");
    files.filter_map(|file| modified(&file.expect("an entry").path())).max()
}

/// Says loudly that a case was not tried.
pub fn skip(case: &str, why: &str) {
    eprintln!("SKIPPED: {case}: {why}");
}

/// Runs objcopy, strip or the like on files of a case.
pub fn tool(name: &str, arguments: &[&OsStr]) {
    let output = run(Command::new(name).args(arguments));
    assert!(output.status.success(), "{name} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Takes the section headers off a file, as packers do: what is loaded does not need them.
pub fn remove_section_headers(path: &Path) {
    let mut bytes = fs::read(path).expect("the file was built");
    // e_shoff, and e_shnum with e_shstrndx, of Elf64_Ehdr.
    bytes[0x28..0x30].fill(0);
    bytes[0x3c..0x40].fill(0);
    fs::write(path, bytes).expect("the file can be written to");
}

/// A program that has printed the stacks of its threads, which all stay where they are.
pub struct Running {
    pub victim: Victim,
    pub chains: Vec<Chain>,
}

impl Running {
    /// Starts a program and reads what it prints until it is `ready`.
    pub fn start(program: &Path, arguments: &[&str]) -> Self {
        // It ends with the test even if that is killed.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(arguments);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("setpriv cannot be run ({error}); tests/run installs it"));
        let mut output = BufReader::new(child.stdout.take().expect("its output is piped"));
        let (sender, lines) = mpsc::channel();
        let reader = thread::spawn(move || {
            let mut line = String::new();
            while output.read_line(&mut line).is_ok_and(|length| length > 0) {
                let is_last = line.trim() == "ready";
                // The reader has gone if it came too late.
                let _ = sender.send(std::mem::take(&mut line));
                if is_last {
                    break;
                }
            }
            output
        });
        let mut chains = Vec::new();
        let is_ready = loop {
            match lines.recv_timeout(PATIENCE) {
                Ok(line) if line.trim() == "ready" => break true,
                Ok(line) => chains.extend(Chain::parse(&line)),
                Err(_) => break false,
            }
        };
        if !is_ready {
            // It may have ended by itself; the reader ends with it.
            let _ = child.kill();
        }
        let victim = Victim { child, output: reader.join().expect("the reader does not panic") };
        assert!(is_ready, "{command:?} ended, or took longer than {PATIENCE:?}, before it was ready");
        Self { victim, chains }
    }
}
