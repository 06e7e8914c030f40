//! What others would store of the same target: gdb's text and a minidump, each compressed by gzip.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use hangsnap::model::Pid;

use crate::target;

/// gdb takes minutes for more threads than this.
const MOST_THREADS: usize = 1000;

/// Prints a row for each that is there.
pub fn rows(threads: usize, pid: Pid) {
    if threads > MOST_THREADS {
        return;
    }
    let mut gdb = Command::new("gdb");
    gdb.args(["-batch", "-nx", "-iex", "set debuginfod enabled off", "-p", &pid.to_string()]);
    gdb.args(["-ex", "thread apply all bt", "-ex", "thread apply all info registers"]).stderr(Stdio::null());
    match gdb.output() {
        Ok(output) => row(threads, "gdb's text", &output.stdout),
        Err(why) => eprintln!("SKIPPED: gdb: {why}"),
    }
    let dump = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("wire.dmp");
    if let Some(program) = target::build_minidump() {
        let status = Command::new(program).arg(pid.to_string()).arg(&dump).stdout(Stdio::null()).status();
        match (status.is_ok_and(|status| status.success()), fs::read(&dump)) {
            (true, Ok(bytes)) => row(threads, "a minidump", &bytes),
            _ => eprintln!("SKIPPED: minidump-writer could not dump the target"),
        }
    }
}

fn row(threads: usize, name: &str, bytes: &[u8]) {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    let packed = packer.write_all(bytes).and_then(|()| packer.finish()).expect("into memory");
    println!("{threads:>7}  {name:<12} {:>10}   ({} before gzip)", packed.len(), bytes.len());
}
