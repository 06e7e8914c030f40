//! What hangs: the programs of `victims/hangs/`, each with what is to be said of it, and how that
//! is known.

use super::Row;
use super::programs::Program::{self, Built, Project, Script};

const PLAIN: &[&str] = &["-O1", "-g", "-pthread"];
const STATIC: &[&str] = &["-O1", "-g", "-pthread", "-static"];
const STATIC_STRIPPED: &[&str] = &["-O1", "-pthread", "-static", "-s"];
const STRIPPED: &[&str] = &["-O1", "-pthread", "-s"];
const CXX: &[&str] = &["-std=c++17", "-O1", "-g", "-pthread"];
const RUST_FAST: &[&str] = &["--edition=2024", "-O"];
const RUST_DEBUG: &[&str] = &["--edition=2024", "-g"];
const PYTHON: &str = "/usr/bin/python3";

const fn row(
    name: &'static str,
    language: &'static str,
    program: Program,
    kind: &'static str,
    proof: &'static str,
) -> Row {
    Row { name, language, program, kind, proof }
}

const fn c(
    name: &'static str,
    source: &'static str,
    arguments: &'static [&'static str],
    kind: &'static str,
    proof: &'static str,
) -> Row {
    row(name, "C", Built("gcc", source, PLAIN, arguments), kind, proof)
}

const fn musl(name: &'static str, arguments: &'static [&'static str], proof: &'static str) -> Row {
    row(name, "musl", Built("musl-gcc", "mutexes.c", PLAIN, arguments), "deadlock", proof)
}

const fn abba(name: &'static str, flags: &'static [&'static str]) -> Row {
    row(name, "C", Built("gcc", "mutexes.c", flags, &["abba"]), "deadlock", "proved")
}

const fn cxx(name: &'static str, arguments: &'static [&'static str], kind: &'static str, proof: &'static str) -> Row {
    row(name, "C++", Built("g++", "stdcxx.cc", CXX, arguments), kind, proof)
}

const fn rust(
    name: &'static str,
    flags: &'static [&'static str],
    arguments: &'static [&'static str],
    kind: &'static str,
    proof: &'static str,
) -> Row {
    row(name, "Rust", Built("rustc", "std.rs", flags, arguments), kind, proof)
}

const fn python(
    name: &'static str,
    arguments: &'static [&'static str],
    kind: &'static str,
    proof: &'static str,
) -> Row {
    row(name, "Python", Script(PYTHON, "locks.py", arguments), kind, proof)
}

pub const HANGS: &[Row] = &[
    c("mutexes abba", "mutexes.c", &["abba"], "deadlock", "proved"),
    c("mutexes ring", "mutexes.c", &["ring"], "deadlock", "proved"),
    c("mutexes twice", "mutexes.c", &["twice"], "self-deadlock", "proved"),
    c("mutexes errorcheck", "mutexes.c", &["errorcheck"], "deadlock", "proved"),
    c("mutexes convoy", "mutexes.c", &["convoy"], "convoy", "proved"),
    c("mutexes chain", "mutexes.c", &["chain"], "convoy", "proved"),
    c("owners exited", "owners.c", &["exited"], "abandoned-lock", "proved"),
    c("owners forked", "owners.c", &["forked"], "abandoned-lock", "proved"),
    c("inside handler", "inside.c", &["handler"], "self-deadlock", "proved"),
    c("lost condvar", "lost.c", &["condvar"], "lost-wakeup", "inferred"),
    c("rwlocks reader", "rwlocks.c", &["reader"], "convoy", "inferred"),
    c("rwlocks upgrade", "rwlocks.c", &["upgrade"], "self-deadlock", "inferred"),
    c("rwlocks writer", "rwlocks.c", &["writer"], "convoy", "proved"),
    c("mutexes pi", "mutexes.c", &["pi"], "deadlock", "proved"),
    c("owners shared", "owners.c", &["shared"], "convoy", "proved"),
    c("owners killed", "owners.c", &["killed"], "abandoned-lock", "proved"),
    c("inside stdio", "inside.c", &["stdio"], "convoy", "proved"),
    c("inside malloc", "inside.c", &["malloc"], "self-deadlock", "inferred"),
    c("inside loader", "inside.c", &["loader", "@plugin.so"], "deadlock", "proved"),
    c("streams pipe", "streams.c", &["pipe"], "waits-for-peer", "proved"),
    c("children waitpid", "children.c", &["waitpid"], "waits-for-child", "proved"),
    c("files flock", "files.c", &["flock", "@locked"], "waits-for-file-lock", "proved"),
    c("files fcntl", "files.c", &["fcntl", "@locked"], "waits-for-file-lock", "proved"),
    c("files pair", "files.c", &["pair", "@one", "@other"], "deadlock", "proved"),
    c("streams tcp", "streams.c", &["tcp"], "waits-for-peer", "proved"),
    c("streams unix", "streams.c", &["unix"], "waits-for-peer", "proved"),
    c("lost join", "lost.c", &["join"], "deadlock", "proved"),
    c("fuse", "fuse.c", &["@"], "fuse", "proved"),
    c("spins forever", "spins.c", &["forever"], "busy-loop", "inferred"),
    c("spins lock", "spins.c", &["lock"], "busy-loop", "inferred"),
    c("children stopped", "children.c", &["stopped"], "stopped", "proved"),
    c("children traced", "children.c", &["traced"], "traced", "proved"),
    c("children frozen", "children.c", &["frozen"], "frozen", "proved"),
    c("lost word", "lost.c", &["word"], "lost-wakeup", "proved"),
    c("lost barrier", "lost.c", &["barrier"], "lost-wakeup", "inferred"),
    c("lost semaphore", "lost.c", &["semaphore"], "pool-exhausted", "inferred"),
    c("children vfork", "children.c", &["vfork"], "waits-for-child", "proved"),
    c("resolver", "resolver.c", &[], "waits-for-peer", "proved"),
    musl("musl abba", &["abba"], "inferred"),
    musl("musl errorcheck", &["errorcheck"], "proved"),
    // Up to here the core; what follows varies it.
    c("mutexes recursive", "mutexes.c", &["recursive"], "deadlock", "proved"),
    abba("abba static", STATIC),
    abba("abba static stripped", STATIC_STRIPPED),
    abba("abba stripped", STRIPPED),
    cxx("stdcxx ring", &["ring"], "deadlock", "proved"),
    cxx("stdcxx once", &["once"], "self-deadlock", "inferred"),
    cxx("stdcxx upgrade", &["upgrade"], "self-deadlock", "inferred"),
    cxx("stdcxx future", &["future"], "lost-wakeup", "inferred"),
    rust("std abba -O", RUST_FAST, &["abba"], "deadlock", "inferred"),
    rust("std abba debug", RUST_DEBUG, &["abba"], "deadlock", "inferred"),
    rust("std reread -O", RUST_FAST, &["reread"], "deadlock", "inferred"),
    rust("std reread debug", RUST_DEBUG, &["reread"], "deadlock", "inferred"),
    rust("std receive -O", RUST_FAST, &["receive"], "lost-wakeup", "inferred"),
    rust("std receive debug", RUST_DEBUG, &["receive"], "lost-wakeup", "inferred"),
    rust("std stdout -O", RUST_FAST, &["stdout"], "convoy", "proved"),
    rust("std stdout debug", RUST_DEBUG, &["stdout"], "convoy", "proved"),
    row("parking_lot abba", "Rust", Project("parking_lot"), "deadlock", "inferred"),
    python("python abba", &["abba"], "deadlock", "inferred"),
    python("python gil", &["gil"], "gil", "proved"),
    python("python queue", &["queue"], "lost-wakeup", "inferred"),
    row("shell flock", "sh", Script("sh", "flock.sh", &["@locked"]), "waits-for-file-lock", "proved"),
    row("shell fifo", "sh", Script("sh", "fifo.sh", &["@fifo"]), "waits-for-peer", "proved"),
    // Its owner could only be released by the thread that waits for its end.
    c("mutexes joined", "mutexes.c", &["joined"], "self-deadlock", "proved"),
];
