//! Stacks in segments, which gcc makes with -fsplit-stack: each function that finds too little room
//! goes on in another one.

use super::build::compile;
use super::{Case, Table};

/// Where the threads sleep, how their segments lie, and whether a handler is on top.
const KINDS: [(&str, &str); 12] = [
    ("2", "pause"),
    ("5", "pause"),
    ("40", "pause"),
    ("5", "futex"),
    ("5", "read"),
    ("40", "nanosleep"),
    ("2", "zigzag pause"),
    ("21", "zigzag futex"),
    ("5", "signal"),
    ("5", "not-split signal"),
    ("5", "alternate"),
    ("40", "not-split alternate"),
];

#[test]
fn segments() {
    let mut table = Table::new("split stacks");
    let kinds: [(&str, &[&str]); 3] = [
        ("gold", &["-O2", "-fuse-ld=gold"]),
        ("gold, -O0", &["-O0", "-fuse-ld=gold"]),
        ("lld", &["-O2", "-fuse-ld=lld"]),
    ];
    for (what, flags) in kinds {
        let flags = [flags, &["-fsplit-stack", "-pthread"]].concat();
        if let Some(program) = compile(&format!("split {what}"), &["gcc"], &["split.c"], &flags) {
            for (segments, kind) in KINDS {
                table.run(&Case::new(&format!("{segments} segments, {kind}, {what}")), &program, &[segments, kind]);
            }
            let title = format!("200 segments, {what}");
            table.run(&Case::new(&title), &program, &["200", "deep nanosleep"]);
            if what == "gold" {
                // It is somewhere else each time. In 99 of 100 snapshots it is there, as the table
                // of calls demands.
                let title = format!("20 segments up and down, 200 times, {what}");
                table.run(&Case::new(&title).spinning(200).missing(2), &program, &["20", "moves"]);
            }
        }
    }
    table.finish();
}
