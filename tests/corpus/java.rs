//! Java's stacks, interpreted and compiled by either compiler: as many frames of code that the process made as there must be.
//!
//! Nobody names that code, so frames are counted: each call of the function is one as long as nothing is inlined, and so are
//! the main function, the stub by which the virtual machine calls it and, of a native method, what leads to its C++.

use std::process::Command;

use super::build::{Running, place, skip, source};
use crate::oracle::stacks::{Seen, Snapshot};

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

#[test]
fn java() {
    let classes = place("deep java");
    let compiled = Command::new("javac").arg("-d").arg(&classes).arg(source("Deep.java")).status();
    if !compiled.is_ok_and(|status| status.success()) {
        skip("Java", "javac is not installed; tests/run installs it");
        return;
    }
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
