//! Other programs that print or dump every stack, on the same targets: how long the target stood
//! still, and how long they took. Each runs where it is installed; minidump-writer is a library and
//! becomes a program here.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::figures::percentile;
use crate::heartbeat::Heartbeat;
use crate::takers::scratch;
use crate::target;

/// Longer than gdb takes for a thousand threads.
const PATIENCE: &str = "120";

/// Rows for a target with this many threads, and with a hundred for those of Python.
pub fn compare(threads: &[usize], rounds: usize) {
    let parked = target::compile("parked", &[]);
    let minidump = target::build_minidump();
    println!(
        "\npeers: milliseconds, median of {rounds} rounds; the heartbeat's gap is how long the target stood still"
    );
    println!("{:>7}  {:<28} {:>13} {:>13}", "threads", "", "heartbeat gap", "wall time");
    for &threads in threads {
        let heartbeat = Heartbeat::new();
        let running = match target::start(Command::new(&parked).arg(threads.to_string()).arg(heartbeat.path())) {
            Ok(running) => running,
            Err(why) => {
                eprintln!("SKIPPED: {threads} threads: {why}");
                continue;
            }
        };
        let pid = running.pid().to_string();
        let row = |name: &str, words: &[&str]| row(threads, rounds, &heartbeat, name, words);
        ours(&pid, row);
        row("eu-stack", &["eu-stack", "-n", "0", "-p", &pid]);
        row(
            "gdb thread apply all bt",
            &["gdb", "-batch", "-nx", "-iex", "set debuginfod enabled off", "-p", &pid, "-ex", "thread apply all bt"],
        );
        if let Some(program) = minidump.as_deref().and_then(Path::to_str) {
            row("minidump-writer", &[program, &pid, scratch("minidump.dmp").to_str().expect("a path that is text")]);
        }
    }
    python(rounds);
}

fn ours(pid: &str, row: impl Fn(&str, &[&str])) {
    for stop in ["auto", "all"] {
        row(&format!("hangsnap --stop {stop}"), &[env!("CARGO_BIN_EXE_hangsnap"), "--stop", stop, "--pid", pid]);
    }
}

fn python(rounds: usize) {
    let heartbeat = Heartbeat::new();
    let library = target::compile("parked", &["-shared", "-fPIC"]);
    let script = target::source("parked.py");
    let mut command = Command::new("python3");
    command.arg(script).arg("100").arg(heartbeat.path()).arg(library);
    let running = match target::start(&mut command) {
        Ok(running) => running,
        Err(why) => return eprintln!("SKIPPED: a Python target: {why}"),
    };
    let pid = running.pid().to_string();
    println!("a Python program:");
    let row = |name: &str, words: &[&str]| row(100, rounds, &heartbeat, name, words);
    ours(&pid, row);
    row("py-spy dump", &["py-spy", "dump", "--pid", &pid]);
    row("py-spy dump --nonblocking", &["py-spy", "dump", "--nonblocking", "--pid", &pid]);
}

/// Runs a program some times and prints what the target and the clock saw.
fn row(threads: usize, rounds: usize, heartbeat: &Heartbeat, name: &str, words: &[&str]) {
    let installed = Command::new(words[0]).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if installed.is_err() {
        return eprintln!("SKIPPED: {} is not installed", words[0]);
    }
    let mut times = Vec::new();
    let mut failure = None;
    let gap = heartbeat.gap(rounds, || {
        let output = File::create(scratch("peer.out")).expect("a file");
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", PATIENCE]).args(words);
        let begun = Instant::now();
        let status = command.stdin(Stdio::null()).stdout(output).stderr(Stdio::null()).status();
        times.push(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
        failure = failure.or(status.ok().filter(|status| !status.success()));
    });
    match failure {
        None => {
            println!("{threads:>7}  {name:<28} {:>13.2} {:>13.1}", gap / 1000.0, percentile(&mut times, 50) / 1000.0);
        }
        Some(status) => println!("{threads:>7}  {name:<28} failed: {status}"),
    }
}
