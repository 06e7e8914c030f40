//! Go's programs: with everything, without debug information, without symbols, and with C in them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::{array, assert_stack, functions, look, read};
use crate::support::{PATIENCE, Victim, hangsnap, succeed, until, victim_source};

/// What must be on the stacks of the three goroutines that have threads. The outermost function of
/// each is the one that Go's runtime lets a goroutine return to.
const READS: [&str; 5] = ["syscall.read", "main.blocksInRead", "main.callsRead", "main.readsForEver", "runtime.goexit"];
const LOCKED: [&str; 5] = ["syscall.read", "main.blocksInRead", "main.callsRead", "main.readsLocked", "runtime.goexit"];
const SPINS: [&str; 3] = ["main.spinsAround", "main.spinsForEver", "runtime.goexit"];

/// Builds the victim with its part of this name.
fn build(part: &str, flags: &[&str]) -> PathBuf {
    let sources = [victim_source("goroutines.go"), victim_source(&format!("goroutines_{part}.go"))];
    let variant: String = flags.iter().flat_map(|flag| flag.chars()).filter(char::is_ascii_alphanumeric).collect();
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("goroutines-{part}-{variant}"));
    let mut command = Command::new("go");
    command.env("GO111MODULE", "off").env("GOTOOLCHAIN", "local").arg("build").args(flags).arg("-o").arg(&program);
    // Go builds what has changed, and nothing else.
    succeed(command.args(sources));
    program
}

/// Starts the victim and waits until both readers sleep in their calls.
fn start(program: &Path) -> Victim {
    // Go's runtime interrupts who spins with signals, and such a thread would be in the handler now
    // and then. There have to be more places to run in than goroutines that spin.
    let victim = Victim::start(Command::new(program).env("GODEBUG", "asyncpreemptoff=1").env("GOMAXPROCS", "8"));
    // 0: read.
    until("two threads read", PATIENCE, || threads_in(&victim, "0 ") == 2);
    victim
}

/// How many threads sleep in a system call whose entry in /proc begins so.
fn threads_in(victim: &Victim, call: &str) -> usize {
    let tasks = fs::read_dir(format!("/proc/{}/task", victim.pid())).expect("the victim is alive");
    let calls = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("syscall")).ok());
    calls.filter(|text| text.starts_with(call)).count()
}

/// The thread that has this function on its stack.
fn with_function<'a>(document: &'a Value, name: &str) -> &'a Value {
    let threads = array(&document["threads"]);
    let found = threads.iter().find(|thread| functions(thread).iter().any(|function| function == name));
    let all: Vec<Vec<String>> = threads.iter().map(functions).collect();
    found.unwrap_or_else(|| panic!("{name} is on no stack: {all:#?}"))
}

/// Asserts that the three goroutines are where the source says, and that every thread's stack is
/// whole.
fn check(what: &str, document: &Value) {
    assert_stack(what, with_function(document, "main.readsForEver"), &READS);
    assert_stack(what, with_function(document, "main.readsLocked"), &LOCKED);
    assert_stack(what, with_function(document, "main.spinsForEver"), &SPINS);
    for thread in array(&document["threads"]) {
        let functions = functions(thread);
        // One that runs may be just where Go changes from one stack to another.
        if thread["state"] == "sleeping" && !functions.iter().any(|name| name == "runtime.asmcgocall") {
            assert_eq!(thread["incomplete"], Value::Null, "{what}: {functions:#?}");
        }
    }
    // The line of the call, as the source has it.
    let source = victim_source("goroutines.go");
    let text = fs::read_to_string(&source).expect("the victim's source");
    let line = 1 + text.lines().position(|line| line.contains("return blocksInRead(")).expect("the call");
    let caller = array(&with_function(document, "main.readsForEver")["frames"])
        .iter()
        .flat_map(|frame| array(&frame["functions"]))
        .find(|function| function["name"] == "main.callsRead")
        .expect("it is on the stack");
    assert_eq!(caller["line"], line, "{what}: {caller}");
    assert_eq!(caller["file"], source.to_str().expect("a path of text"), "{what}");
    // A function that was inlined has its own line, with or without its name, and not that of the
    // one around it.
    let inlined = array(&with_function(document, "main.readsForEver")["frames"])
        .iter()
        .map(|frame| array(&frame["functions"]))
        .find(|functions| functions.last().is_some_and(|function| function["name"] == "main.blocksInRead"))
        .expect("it is on the stack");
    assert_eq!(inlined.len(), 2, "{what}: {inlined:?}");
    assert!(inlined[0]["file"].as_str().is_some_and(|file| file.ends_with("syscall_unix.go")), "{what}: {inlined:?}");
    let threads = array(&document["threads"]).len();
    println!("{what}: {threads} threads, {:?}", functions(with_function(document, "main.readsLocked")));
}

#[test]
fn with_and_without_debug_information_and_symbols() {
    for flags in [&[][..], &["-ldflags=-w"], &["-ldflags=-s -w"], &["-buildmode=pie", "-ldflags=-s -w"]] {
        let victim = start(&build("pure", flags));
        check(&format!("go build {flags:?}"), &look(&victim.pid()));
    }
}

/// Where the section is not called what it is called, or nothing is called anything, the table is
/// found by its beginning.
#[test]
fn without_a_section_of_that_name() {
    let program = build("pure", &["-ldflags=-s -w"]);
    let renamed = program.with_extension("renamed");
    succeed(Command::new("objcopy").args(["--rename-section", ".gopclntab=.other"]).args([&program, &renamed]));
    check("renamed", &look(&start(&renamed).pid()));
    let mut bytes = fs::read(&program).expect("the program");
    // e_shoff, and e_shnum with e_shstrndx: where the table of sections is, and how long.
    bytes[40..48].fill(0);
    bytes[60..64].fill(0);
    let bare = program.with_extension("bare");
    fs::copy(&program, &bare).and_then(|_| fs::write(&bare, bytes)).expect("a program without sections");
    check("no sections", &look(&start(&bare).pid()));
}

/// Without its file nothing has names, but the table is in the process's memory, and stacks are
/// whole.
#[test]
fn whose_file_is_gone() {
    let program = build("pure", &["-ldflags=-s -w"]);
    let gone = program.with_extension("gone");
    fs::copy(&program, &gone).expect("a copy");
    let victim = start(&gone);
    let with_file = look(&victim.pid());
    fs::remove_file(&gone).expect("it is there");
    let without = look(&victim.pid());
    let reader = with_function(&with_file, "main.readsLocked");
    let same = array(&without["threads"]).iter().find(|thread| thread["tid"] == reader["tid"]).expect("it is there");
    assert_eq!(same["incomplete"], Value::Null);
    let addresses = |thread: &Value| -> Vec<Value> {
        array(&thread["frames"]).iter().map(|frame| frame["address"].clone()).collect()
    };
    assert_eq!(addresses(same), addresses(reader));
}

/// A goroutine that calls C does so on the thread's stack, and what called it is on its own.
#[test]
fn with_c_in_it() {
    let c = ["sleeps_in_c", "called_by_go"];
    for (flags, named) in
        [(&[][..], true), (&["-ldflags=-s -w"], false), (&["-buildmode=pie", "-ldflags=-s -w"], false)]
    {
        let victim = start(&build("cgo", flags));
        // 34: pause.
        until("a thread sleeps in C", PATIENCE, || threads_in(&victim, "34 ") == 1);
        let document = look(&victim.pid());
        check(&format!("cgo {flags:?}"), &document);
        let thread = with_function(&document, "runtime.asmcgocall");
        let functions = functions(thread);
        println!("    in C: {functions:?}, {}", thread["incomplete"]);
        let switch = functions.iter().position(|name| name == "runtime.asmcgocall").expect("it is there");
        assert_eq!(functions.get(switch + 1).map(String::as_str), Some("runtime.cgocall"));
        assert_eq!(functions.last().map(String::as_str), Some("runtime.goexit"));
        assert_eq!(thread["incomplete"], Value::Null);
        assert_eq!(functions.iter().filter(|name| c.contains(&name.as_str())).count(), if named { 2 } else { 0 });
    }
}

/// Since Go 1.26 the table's header does not say where the text begins, and neither does this one
/// any more.
#[test]
fn without_the_place_of_its_text() {
    let whole = build("pure", &["-ldflags=-s -w"]);
    let program = whole.with_extension("moved");
    fs::copy(&whole, &program).expect("a copy");
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("goroutines.hangsnap");
    let file = file.to_str().expect("a path of text");
    let victim = start(&program);
    succeed(hangsnap().args(["--pid", &victim.pid(), "-o", file]));
    drop(victim);
    let mut bytes = fs::read(&program).expect("the program");
    let is_header =
        |at: &usize| (0xf0..=0xf1).contains(&bytes[*at]) && bytes[at + 1..].starts_with(&[255, 255, 255, 0, 0, 1, 8]);
    let header = (0..bytes.len() - 32).step_by(32).find(is_header).expect("a table of Go 1.18 or later");
    bytes[header + 24..header + 32].fill(0);
    fs::write(&program, bytes).expect("a program that does not run any more");
    check("without text", &read(hangsnap().args(["show", file, "--json"])));
}

/// Below a signal's handler lies what it interrupted.
#[test]
fn in_a_handler_of_a_signal() {
    let victim = start(&build("signals", &["-ldflags=-s -w"]));
    let mut stacks = Vec::new();
    until("a thread was seen in its handler", PATIENCE, || {
        let document = look(&victim.pid());
        let is_in_handler = |thread: &&Value| functions(thread).iter().any(|name| name == "runtime.sigtramp");
        stacks.extend(array(&document["threads"]).iter().find(is_in_handler).cloned());
        !stacks.is_empty()
    });
    let functions = functions(&stacks[0]);
    println!("{functions:?}, {}", stacks[0]["incomplete"]);
    let handler = functions.iter().position(|name| name == "runtime.sigtramp").expect("it was seen");
    assert_eq!(
        functions.get(handler + 1..handler + 3),
        Some(&["runtime.sigreturn".into(), "main.isInterrupted".into()][..])
    );
    let frames = array(&stacks[0]["frames"]);
    assert!(frames.iter().any(|frame| frame["found_by"] == "signal-frame"), "{functions:?}");
}
