//! The same C program by each compiler, at each level, with each option that changes how frames are
//! made or described.

use std::process::Command;

use super::build::{compile, made, place, tool};
use super::{Case, Table};

const LEVELS: [&str; 5] = ["-O0", "-O1", "-O2", "-O3", "-Os"];

/// Flags that change the frames, the description of the frames, or how the program is loaded.
const KINDS: [(&str, &[&str]); 20] = [
    ("no frame pointer", &["-O2", "-fomit-frame-pointer"]),
    ("frame pointer", &["-O2", "-fno-omit-frame-pointer"]),
    (
        ".debug_frame only",
        &["-O2", "-g", "-fomit-frame-pointer", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables"],
    ),
    (".debug_frame only, -O0", &["-O0", "-g", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables"]),
    ("compressed .debug_frame", &["-O2", "-g", "-gz", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables"]),
    ("-fcf-protection", &["-O2", "-fcf-protection=full"]),
    ("-flto", &["-O2", "-flto"]),
    ("no PLT", &["-O2", "-fno-plt", "-Wl,-z,now"]),
    ("lazy binding", &["-O2", "-Wl,-z,lazy"]),
    ("packed relocations", &["-O2", "-Wl,-z,pack-relative-relocs"]),
    ("no PIE", &["-O2", "-no-pie", "-fno-pie"]),
    ("at a high address", &["-O2", "-no-pie", "-fno-pie", "-Wl,-Ttext-segment=0x12340000"]),
    ("static", &["-O2", "-static"]),
    ("static-pie", &["-O2", "-static-pie"]),
    ("static, no frame pointer, -Os", &["-Os", "-static", "-fomit-frame-pointer"]),
    ("code in the first segment", &["-O2", "-Wl,-z,noseparate-code"]),
    ("no search table", &["-O2", "-Wl,--no-eh-frame-hdr"]),
    ("no build-id", &["-O2", "-Wl,--build-id=none"]),
    ("sections per function, collected", &["-O2", "-ffunction-sections", "-Wl,--gc-sections"]),
    ("stack protector and probes", &["-O2", "-fstack-protector-all", "-fstack-clash-protection"]),
];

fn run(table: &mut Table, name: &str, compiler: &str, flags: &[&str]) {
    let flags = [flags, &["-pthread"]].concat();
    if let Some(program) = compile(name, &[compiler], &["chain.c"], &flags) {
        table.run(&Case::new(name), &program, &[]);
    }
}

#[test]
fn levels() {
    let mut table = Table::new("C by level");
    for compiler in ["gcc", "clang"] {
        for level in LEVELS {
            run(&mut table, &format!("{compiler} {level}"), compiler, &[level]);
        }
    }
    table.finish();
}

#[test]
fn gcc() {
    let mut table = Table::new("C by gcc");
    for (kind, flags) in KINDS {
        run(&mut table, &format!("gcc, {kind}"), "gcc", flags);
    }
    table.finish();
}

#[test]
fn clang() {
    let mut table = Table::new("C by clang");
    for (kind, flags) in KINDS {
        // Its link-time optimisation needs its own linker.
        let flags = [flags, if kind == "-flto" { &["-fuse-ld=lld"] } else { &[] }].concat();
        run(&mut table, &format!("clang, {kind}"), "clang", &flags);
    }
    let lld: [(&str, &[&str]); 3] = [
        ("lld", &["-O2", "-fuse-ld=lld"]),
        ("lld, static-pie", &["-O2", "-fuse-ld=lld", "-static-pie"]),
        ("lld, one segment of code and data", &["-O2", "-fuse-ld=lld", "-Wl,--no-rosegment"]),
    ];
    for (kind, flags) in lld {
        run(&mut table, &format!("clang, {kind}"), "clang", flags);
    }
    table.finish();
}

#[test]
fn musl() {
    let mut table = Table::new("C with musl");
    for (kind, flags) in [
        ("musl", &["-O2"][..]),
        ("musl, -O0", &["-O0"]),
        ("musl, static", &["-O2", "-static"]),
        ("musl, static, no frame pointer", &["-Os", "-static", "-fomit-frame-pointer"]),
    ] {
        run(&mut table, kind, "musl-gcc", flags);
    }
    table.finish();
}

/// A program whose symbols were moved into the compressed section that distributions ship
/// (`.gnu_debugdata`).
#[test]
fn stripped() {
    let mut table = Table::new("stripped");
    let name = "gcc, stripped, .gnu_debugdata";
    if let Some(program) = compile(name, &["gcc"], &["chain.c"], &["-O2", "-pthread"]) {
        let [symbols, packed, stripped] = ["symbols", "symbols.xz", "stripped"].map(|end| program.with_file_name(end));
        tool("objcopy", &["--only-keep-debug".as_ref(), "--strip-debug".as_ref(), program.as_ref(), symbols.as_ref()]);
        tool("strip", &["-o".as_ref(), stripped.as_ref(), program.as_ref()]);
        tool("xz", &["--force".as_ref(), "--keep".as_ref(), symbols.as_ref()]);
        let section = format!(".gnu_debugdata={}", packed.display());
        tool("objcopy", &["--add-section".as_ref(), section.as_ref(), stripped.as_ref()]);
        table.run(&Case::new(name), &stripped, &[]);
    }
    let name = "gcc, stripped";
    if let Some(program) = compile(name, &["gcc"], &["chain.c"], &["-O2", "-s", "-pthread"]) {
        table.run(&Case::new(name).nameless(), &program, &[]);
    }
    table.finish();
}

/// A real optimizer of finished programs: its code lies far from the rest, at addresses the linker
/// knew nothing of.
#[test]
fn bolted() {
    let mut table = Table::new("C rewritten by BOLT");
    let flags = ["-g", "-pthread", "-Wl,--emit-relocs", "-fno-reorder-blocks-and-partition"];
    for (what, more) in [("-O2", &["-O2"][..]), ("-O2, no PIE", &["-O2", "-no-pie", "-fno-pie"]), ("-O3", &["-O3"])] {
        let name = format!("before BOLT, {what}");
        let Some(program) = compile(&name, &["gcc"], &["chain.c"], &[more, &flags].concat()) else {
            continue;
        };
        for (kind, options) in [
            ("functions in a new segment", &["--reorder-functions=hfsort"][..]),
            ("split functions, blocks in another order", &["--split-functions", "--reorder-blocks=ext-tsp"]),
        ] {
            let name = format!("BOLT, {what}, {kind}");
            let rewritten = place(&name).join("program");
            let mut bolt = Command::new("llvm-bolt-16");
            bolt.arg(&program).arg("-o").arg(&rewritten).args(options);
            if made(&name, &mut bolt, &rewritten) {
                table.run(&Case::new(&name), &rewritten, &[]);
            }
        }
    }
    table.finish();
}
