//! What it takes to name 10,000 distinct addresses of one program: time and peak memory, beside
//! other programs in the same run.
//!
//!     cargo bench --bench symbols                        the program of this bench itself
//!     cargo bench --bench symbols -- --program PATH      another, with its debug information in it
//!     cargo bench --bench symbols -- --addresses 1000
//!
//! Addresses are spread over all functions in the table of symbols, each in the middle of one.
//! Every program is run by a process of its own, so that the kernel says what that one took;
//! addresses come from a file. Programs that are not installed are SKIPPED: gdb, addr2line
//! (binutils), llvm-symbolizer, eu-addr2line, and as gimli-addr2line the example program of the
//! crate addr2line.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use hangsnap::capture::Tracer;
use hangsnap::model::{
    Bias, BuildId, CodeAddress, FileAddress, FoundBy, Frame, Module, ModuleIndex, Pid, Place, RuntimeAddress, Snapshot,
    Stack, StopMode, WalkEnd,
};
use hangsnap::process::{Target, Wanted};
use hangsnap::record::{CaptureOptions, once};
use hangsnap::symbols::{Finder, Names};
use nix::sys::resource::{UsageWho, getrusage};
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some("--resolve") => return resolve(Path::new(&arguments[2]), Path::new(&arguments[3])),
        Some("--measure") => return measure(&arguments[2], &arguments[3..]),
        _ => {}
    }
    let option = |name: &str| arguments.windows(2).find(|pair| pair[0] == name).map(|pair| pair[1].clone());
    let own = std::env::current_exe().expect("the bench's own program");
    let program = option("--program").map_or_else(|| own.clone(), PathBuf::from);
    let count = option("--addresses").map_or(10_000, |text| text.parse().expect("a number"));
    let scratch = tempfile::tempdir().expect("a temporary directory");
    let (list, commands) = (scratch.path().join("addresses"), scratch.path().join("commands"));
    let addresses = addresses(&program, count);
    let lines = |before: &str| addresses.iter().map(|at| format!("{before}{at:#x}\n")).collect::<String>();
    std::fs::write(&list, lines("")).expect("a list of addresses");
    std::fs::write(&commands, lines("info symbol ") + &lines("info line *")).expect("a list of commands");
    let path = program.display().to_string();
    println!("{} addresses in {path}, {} MB of debug information", addresses.len(), debug_size(&program) >> 20);
    println!("{:<18} {:>9} {:>9}", "", "time", "peak");
    let rows: [(&str, Vec<String>); 6] = [
        ("hangsnap", vec![own.display().to_string(), "--resolve".into(), path.clone(), list.display().to_string()]),
        ("addr2line", vec!["addr2line".into(), "-f".into(), "-i".into(), "-e".into(), path.clone()]),
        ("eu-addr2line", vec!["eu-addr2line".into(), "-f".into(), "-i".into(), "-e".into(), path.clone()]),
        ("llvm-symbolizer", vec!["llvm-symbolizer".into(), format!("--obj={path}")]),
        ("gimli-addr2line", vec!["gimli-addr2line".into(), "-f".into(), "-i".into(), "-e".into(), path.clone()]),
        ("gdb", ["gdb", "-nx", "-batch", "-x", &commands.display().to_string(), &path].map(Into::into).into()),
    ];
    for (name, command) in rows {
        let mut measured = Command::new(&own);
        measured.arg("--measure").arg(&list).args(&command);
        let output = measured.output().expect("the bench runs itself");
        match output.status.success() {
            true => print!("{name:<18} {}", String::from_utf8_lossy(&output.stdout)),
            false => println!("SKIPPED: {name}: {}", String::from_utf8_lossy(&output.stderr).trim()),
        }
    }
}

/// Runs a program with a file as its input, and prints what it took.
fn measure(input: &str, command: &[String]) {
    let input = File::open(input).expect("a list of addresses");
    let begun = Instant::now();
    let run =
        Command::new(&command[0]).args(&command[1..]).stdin(input).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let took = begun.elapsed();
    if !run.is_ok_and(|status| status.success()) {
        eprintln!("{} cannot be run", command[0]);
        std::process::exit(1);
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("every Linux has it");
    println!("{:>7.2} s {:>6} MB", took.as_secs_f64(), usage.max_rss() >> 10);
}

/// What a viewer does: all addresses of one module at once.
fn resolve(program: &Path, list: &Path) {
    let text = std::fs::read_to_string(list).expect("a list of addresses");
    let number = |line: &str| u64::from_str_radix(line.trim_start_matches("0x"), 16).expect("an address");
    let frames = text.lines().map(|line| {
        let place = Place::InModule { module: ModuleIndex(0), address: FileAddress(number(line)) };
        Frame::new(CodeAddress::Pc(place), FoundBy::Context)
    });
    let stack = Stack { frames: frames.collect(), gap: None, end: WalkEnd::Root };
    let bytes = object::ReadCache::new(File::open(program).expect("the program"));
    let elf = object::File::parse(&bytes).expect("an ELF file");
    let module = Module {
        path: program.display().to_string(),
        build_id: elf.build_id().ok().flatten().map(|id| BuildId(id.to_vec())),
        bias: Bias(0),
        range: RuntimeAddress(0)..RuntimeAddress(u64::MAX),
        image: None,
    };
    drop(elf);
    let snapshot = snapshot(module, stack);
    let names = Names::resolve(&Finder::new(Vec::new()), [&snapshot]);
    let frames = &snapshot.threads[0].stack.frames;
    let named = frames.iter().filter(|frame| !names.of(&snapshot, frame).is_empty()).count();
    assert!(named * 10 > frames.len() * 9, "only {named} of {} have names", frames.len());
}

/// A snapshot of some process, with this stack in this module instead of its own.
fn snapshot(module: Module, stack: Stack) -> Snapshot {
    let mut child = Command::new("sleep").arg("60").spawn().expect("a process that sleeps");
    let pid = Pid(i32::try_from(child.id()).expect("a process id"));
    let target = Target::open(&Wanted::Pid(pid), StopMode::None).expect("it is ours");
    let options = CaptureOptions { stop: StopMode::None, ..CaptureOptions::default() };
    let mut tracer = Tracer::of_program(env!("CARGO_BIN_EXE_hangsnap").into()).expect("shared memory");
    let taken = once(&target, &options, &mut tracer);
    child.kill().and_then(|()| child.wait()).expect("it is ours");
    let mut snapshot = taken.expect("a snapshot").snapshot;
    snapshot.modules = vec![module];
    snapshot.threads.truncate(1);
    snapshot.threads[0].stack = Arc::new(stack);
    snapshot
}

/// Addresses in the middle of functions, as many of them as there are or are wanted, spread evenly.
fn addresses(program: &Path, count: usize) -> BTreeSet<u64> {
    let bytes = object::ReadCache::new(File::open(program).expect("the program"));
    let elf = object::File::parse(&bytes).expect("an ELF file");
    let functions = elf.symbols().filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.size() > 0);
    let all: BTreeSet<u64> = functions.map(|symbol| symbol.address() + symbol.size() / 2).collect();
    assert!(all.len() >= count, "only {} functions in {}", all.len(), program.display());
    all.iter().copied().step_by(all.len() / count).take(count).collect()
}

/// Bytes of debug information, uncompressed.
fn debug_size(program: &Path) -> u64 {
    let bytes = object::ReadCache::new(File::open(program).expect("the program"));
    let elf = object::File::parse(&bytes).expect("an ELF file");
    let is_debug = |name: &str| name.starts_with(".debug_");
    elf.sections().filter(|section| section.name().is_ok_and(is_debug)).map(|section| section.size()).sum()
}
