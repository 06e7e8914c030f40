//! Threads caught where unwinding is hard: in signal handlers, at single instructions of prologues
//! and epilogues, in stubs, in the vdso, on stacks of their own.

use super::build::compile;
use super::{Case, Table};

const SIGNALS: [&str; 11] = [
    "plain",
    "information",
    "alternate",
    "nested",
    "nested-alternate",
    "fault",
    "fault-alternate",
    "null-call",
    "null-call-alternate",
    "unmapped-call-alternate",
    "overflow",
];

fn signals(table: &mut Table, compiler: &[&str], flags: &[&str]) {
    let what = format!("{} {}", compiler.join(" "), flags.join(" "));
    let flags = [flags, &["-pthread"]].concat();
    if let Some(program) = compile(&format!("signals {what}"), compiler, &["signals.c"], &flags) {
        for kind in SIGNALS {
            let title = format!("signal {kind}, {what}");
            let case = Case::new(&title);
            let case = if kind == "overflow" { case.deep() } else { case };
            table.run(&case, &program, &[kind]);
        }
    }
}

#[test]
fn handlers_of_glibc() {
    let mut table = Table::new("signal handlers");
    signals(&mut table, &["gcc"], &["-O2"]);
    signals(&mut table, &["gcc"], &["-O0"]);
    table.finish();
}

#[test]
fn handlers_of_musl() {
    let mut table = Table::new("signal handlers with musl");
    signals(&mut table, &["musl-gcc"], &["-O0", "-static"]);
    table.finish();
}

#[test]
fn instructions() {
    let mut table = Table::new("single instructions");
    if let Some(program) = compile("places", &["gcc"], &["places.c"], &["-O2", "-pthread"]) {
        for kind in [
            "at_entry",
            "after_push",
            "after_frame_pointer",
            "after_pop",
            "between_pushes",
            "with_frame_pointer_only",
            "leaf_in_red_zone",
            "aligned_by_hand",
            "leaf",
        ] {
            table.run(&Case::new(kind).spinning(3), &program, &[kind]);
        }
        // These are somewhere else each time.
        for kind in ["vdso", "string"] {
            table.run(&Case::new(&format!("{kind}, 200 snapshots")).spinning(200), &program, &[kind]);
        }
    }
    table.finish();
}

#[test]
fn stubs() {
    let mut table = Table::new("stubs of the procedure linkage table");
    let lazy = ["-O2", "-pthread", "-Wl,-z,lazy", "-Wl,-z,norelro"];
    let kinds: [(&str, &[&str], &str); 4] = [
        ("stub", &[], "entry"),
        ("stub, bound at once", &["-Wl,-z,now"], "entry"),
        ("stub behind a landing pad", &["-fcf-protection", "-Wl,-z,ibtplt"], "entry"),
        ("first stub, one word pushed, jumping", &[], "resolver"),
    ];
    for (name, flags, kind) in kinds {
        if let Some(program) = compile(name, &["gcc"], &["stubs.c"], &[&lazy[..], flags].concat()) {
            table.run(&Case::new(name).spinning(3), &program, &[kind]);
        }
    }
    table.finish();
}

#[test]
fn coroutines() {
    let mut table = Table::new("coroutines");
    for level in ["-O0", "-O2"] {
        if let Some(program) =
            compile(&format!("coroutines {level}"), &["gcc"], &["coroutines.c"], &[level, "-pthread"])
        {
            for kind in ["context", "switch"] {
                table.run(&Case::new(&format!("coroutine by {kind}, {level}")), &program, &[kind]);
            }
        }
    }
    table.finish();
}

/// The newest and the oldest frames must be there, with the function that calls itself between
/// them. How many of its frames are kept is not asked: hangsnap may leave out the middle, if it
/// says so.
#[test]
fn deep_recursion() {
    let mut table = Table::new("deep recursion");
    for level in ["-O0", "-O2"] {
        if let Some(program) = compile(&format!("deep {level}"), &["gcc"], &["deep.c"], &[level, "-pthread"]) {
            for depth in ["1000", "100000"] {
                table.run(&Case::new(&format!("{depth} frames, {level}")).deep(), &program, &[depth]);
            }
        }
    }
    table.finish();
}
