//! The stacks that gdb and eu-stack see.
//!
//! Both are asked for names as the linker knows them, so that a name stands for one function
//! however a tool likes to write it. `c++filt`, which shares no code with hangsnap, then turns them
//! into what people write.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use super::stacks::{Frame, Stacks};
use crate::support::{run_unless_it_hangs, succeed};

/// A peer's stacks, and the lines in which it says that it could not go on.
pub struct Peer {
    pub name: &'static str,
    pub stacks: Stacks,
    pub complaints: Vec<String>,
}

/// What `thread apply all bt` shows: frames with the functions inlined into them.
pub fn gdb(pid: &str) -> Peer {
    let mut command = Command::new("gdb");
    // Scripts of the target's would draw its stack in another way; a debuginfod would make the
    // result depend on a network.
    command.args(["-batch", "-nx", "-iex", "set auto-load no", "-iex", "set debuginfod enabled off"]);
    for setting in [
        "backtrace past-main on",
        "backtrace past-entry on",
        "backtrace limit unlimited",
        "print frame-arguments none",
        "print demangle off",
        "print thread-events off",
        "width 0",
    ] {
        command.args(["-ex", &format!("set {setting}")]);
    }
    command.args(["-p", pid, "-ex", "thread apply all bt"]);
    // It may hang: it opens what a library is called, be it `/proc/self/fd/4`, a descriptor of its
    // own.
    let output = run_unless_it_hangs(&mut command);
    assert!(output.status.success(), "gdb: {}: {}", output.status, String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("it prints text");
    let mut stacks = Stacks::new();
    let mut thread = None;
    let mut complaints = Vec::new();
    for line in text.lines() {
        if let Some(tid) = thread_of_gdb(line) {
            thread = Some(tid);
        } else if line.starts_with('#') {
            push_line_of_gdb(stacks.entry(thread.expect("a frame belongs to a thread")).or_default(), line);
        } else if line.starts_with("Backtrace stopped") {
            complaints.push(format!("{line} (thread {})", thread.expect("a stack belongs to a thread")));
        }
    }
    demangle(&mut stacks);
    Peer { name: "gdb", stacks, complaints }
}

/// `Thread 3 (Thread 0x7f0c6d9ff6c0 (LWP 4711) "name"):`, or `Thread 3 (LWP 4711 "name"):` where
/// gdb does not know the C library, or `Thread 1 (process 4711):` where there is one only.
fn thread_of_gdb(line: &str) -> Option<i32> {
    let rest = line.strip_prefix("Thread ")?;
    let (_, rest) = rest.split_once("(LWP ").or_else(|| rest.split_once("(process "))?;
    rest.split([')', ' ']).next()?.parse().ok()
}

/// `#1  0x000055d1a09cb7a9 in wait (number=...) at wait.c:125`. Without an address it is the
/// function that the one before is inlined into, or the innermost of a frame that stands at the
/// beginning of a line.
fn push_line_of_gdb(frames: &mut Vec<Frame>, line: &str) {
    let (number, rest) = line[1..].split_once(' ').expect("a frame has a number");
    let number = number.parse().expect("a frame's number is one");
    let rest = rest.trim_start();
    if rest.starts_with("<signal handler called>") {
        frames.push(Frame { is_signal: true, functions: vec![None], number, ..Frame::default() });
        return;
    }
    let (address, rest) = match rest.strip_prefix("0x").and_then(|rest| rest.split_once(" in ")) {
        Some((digits, rest)) => (Some(u64::from_str_radix(digits, 16).expect("hexadecimal digits")), rest),
        None => (None, rest),
    };
    // Names of C++ have parentheses of their own; the last ones are the arguments, which are not
    // shown.
    let end = [" (", " ()"].iter().filter_map(|mark| arguments(rest, mark)).max().unwrap_or(rest.len());
    let name = &rest[..end];
    let function = (name != "??").then(|| name.to_owned());
    match frames.last_mut() {
        Some(frame) if address.is_none() && !frame.is_signal => frame.functions.push(function),
        _ => frames.push(Frame { address, functions: vec![function], number, is_signal: false }),
    }
}

/// Where the argument list begins: before the place that follows it, if one does.
fn arguments(text: &str, mark: &str) -> Option<usize> {
    let place = [") at ", ") from "].iter().filter_map(|mark| text.rfind(mark)).max().unwrap_or(text.len());
    text[..place].rfind(mark)
}

/// What eu-stack shows without inlined functions: the symbol of each frame.
pub fn eu_stack(pid: &str) -> Peer {
    let output = run_unless_it_hangs(Command::new("eu-stack").args(["--raw", "-n", "0", "-p", pid]));
    // It exits with 1 when a stack ended early, which the comparison will show.
    assert!(output.status.code().is_some_and(|code| code < 2), "eu-stack: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("it prints text");
    let mut stacks = Stacks::new();
    let mut frames: Option<&mut Vec<Frame>> = None;
    for line in text.lines() {
        if let Some(tid) = line.strip_prefix("TID ") {
            let tid = tid.trim_end_matches(':').parse().expect("a thread's id");
            frames = Some(stacks.entry(tid).or_default());
        } else if let Some(rest) = line.strip_prefix('#') {
            let mut words = rest.split_ascii_whitespace();
            let number = words.next().and_then(|number| number.parse().ok()).expect("a frame has a number");
            let digits = words.next().and_then(|word| word.strip_prefix("0x")).expect("a frame has an address");
            let address = u64::from_str_radix(digits, 16).expect("hexadecimal digits");
            let functions = vec![words.next().map(str::to_owned)];
            let frame = Frame { address: Some(address), functions, is_signal: false, number };
            frames.as_mut().expect("a frame belongs to a thread").push(frame);
        }
    }
    demangle(&mut stacks);
    let complaints = String::from_utf8_lossy(&output.stderr).lines().map(str::to_owned).collect();
    Peer { name: "eu-stack", stacks, complaints }
}

fn demangle(stacks: &mut Stacks) {
    let names = || stacks.values().flatten().flat_map(|frame| &frame.functions).flatten();
    let mangled: Vec<&str> = names().map(String::as_str).collect::<BTreeSet<_>>().into_iter().collect();
    let mut plain: BTreeMap<String, String> = BTreeMap::new();
    // This many at once, because a command line has an end.
    for some in mangled.chunks(500) {
        // A version is no part of a mangled name.
        let bare = some.iter().map(|name| name.split('@').next().unwrap_or(name));
        let text = succeed(Command::new("c++filt").args(bare));
        assert_eq!(text.lines().count(), some.len(), "c++filt answers each name with a line");
        plain.extend(some.iter().map(|name| (*name).to_owned()).zip(text.lines().map(str::to_owned)));
    }
    let functions = stacks.values_mut().flatten().flat_map(|frame| &mut frame.functions);
    for name in functions.flatten() {
        *name = plain[name].clone();
    }
}
