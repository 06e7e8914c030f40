//! hangsnap's stacks beside gdb's and eu-stack's, frame by frame.
//!
//! Each test starts a real program all of whose threads are parked, lets the three look at it one
//! after the other, and prints how many frames agree and each one that does not (with `--nocapture`
//! also when it passes). At least 99 of 100 frames agree with each peer, no stack ends early for a
//! reason that is not listed here, and functions that must be on a stack by construction are on it,
//! whatever the peers see.

mod aliases;
mod compare;
pub mod names;
pub mod peers;
pub mod stacks;
mod targets;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use aliases::Aliases;
use compare::{Outcome, compare};
use peers::Peer;
use stacks::{Seen, Snapshot};
use targets::Target;

/// The functions that must be on the stack of a kind of thread, innermost first, though others may
/// be between them. A thread that is called KIND-DEPTH and is not listed has one: `wait_in_KIND`.
const CHAINS: [(&str, &[&str]); 30] = [
    // The thread that the program began with.
    ("main", &["main", "libc_start_call_main", "start"]),
    ("qsort", &["syscall", "wait_in_futex", "compare", "wait_in_qsort", "descend"]),
    ("noreturn", &["wait_in_futex", "never_returns", "wait_in_noreturn", "descend"]),
    ("handler", &["wait_in_futex", "in_handler", "restore_rt", "wait_in_handler", "descend"]),
    ("fault", &["wait_in_futex", "in_handler", "restore_rt", "wait_in_fault", "descend"]),
    ("entry", &["in_handler", "restore_rt", "fault_at_entry", "wait_in_entry", "descend"]),
    ("altstack", &["wait_in_futex", "in_handler", "restore_rt", "wait_in_altstack", "descend"]),
    ("template", &["wait_in_pause", "operator()", "each", "wait_in_template"]),
    ("virtual", &["pass", "wait_in_cond", "area", "operator()", "wait_in_virtual"]),
    ("catch", &["wait_in_pause", "wait_in_catch"]),
    ("cleanup", &["wait_in_mutex", "~Cleanup", "wait_in_cleanup"]),
    ("function", &["wait_in_future", "operator()", "M_invoke", "operator()", "wait_in_function"]),
    ("once", &["wait_in_pause", "operator()", "pthread_once_slow", "call_once", "wait_in_once"]),
    ("closure", &["wait_in_mutex", "{{closure}}", "{{closure}}", "each", "wait_in_closure"]),
    ("trait", &["wait_in_condvar", "area", "twice", "wait_in_trait"]),
    ("py.lock", &["PyThread_acquire_lock_timed", "PyEval_EvalFrameDefault", "start_thread"]),
    ("py.event", &["PyThread_acquire_lock_timed", "PyEval_EvalFrameDefault", "start_thread"]),
    ("py.condition", &["PyThread_acquire_lock_timed", "PyEval_EvalFrameDefault", "start_thread"]),
    ("py.queue", &["PyThread_acquire_lock_timed", "PyEval_EvalFrameDefault", "start_thread"]),
    ("py.sleep", &["clock_nanosleep", "PyEval_EvalFrameDefault", "start_thread"]),
    ("py.select", &["select", "PyEval_EvalFrameDefault", "start_thread"]),
    ("py.poll", &["poll", "PyEval_EvalFrameDefault", "start_thread"]),
    ("py.read", &["libc_read", "PyEval_EvalFrameDefault", "start_thread"]),
    ("py.recv", &["libc_recv", "PyEval_EvalFrameDefault", "start_thread"]),
    ("py.sort", &["PyThread_acquire_lock_timed", "PyEval_EvalFrameDefault", "PyEval_EvalFrameDefault", "start_thread"]),
    ("py.main", &["PyThread_acquire_lock_timed", "PyEval_EvalFrameDefault", "Py_RunMain", "libc_start_call_main"]),
    ("redis", &["clock_nanosleep", "debugCommand", "call", "processCommand", "aeMain", "main"]),
    ("io", &["pthread_mutex_lock", "IOThreadMain", "start_thread"]),
    ("bio", &["pthread_cond_wait", "bioProcessBackgroundJobs", "start_thread"]),
    ("jemalloc", &["pthread_cond_wait", "start_thread"]),
];

const FIXED: [&str; 3] = ["-pthread", "-Wl,-z,now", "-Wall"];

#[test]
fn c_unoptimised() {
    look("C -O0", &c(&["-O0", "-g"], 10));
    look("C -O0", &c(&["-O0", "-g"], 100));
}

#[test]
fn c_optimised() {
    look("C -O2", &c(&["-O2", "-g"], 10));
    look("C -O2", &c(&["-O2", "-g"], 1000));
}

#[test]
fn c_without_frame_pointer_and_debug_information() {
    look("C -O2 no -g", &c(&["-O2", "-fomit-frame-pointer"], 100));
    look("C -O2 no -g", &c(&["-O2", "-fomit-frame-pointer"], 1000));
}

#[test]
fn cpp() {
    let flags = ["-O2", "-g", "-std=c++17"];
    look("C++ -O2", &Target::compiled("g++", "stacks.cpp", &[&flags[..], &FIXED].concat(), 12, &[]));
    look("C++ -O2", &Target::compiled("g++", "stacks.cpp", &[&flags[..], &FIXED].concat(), 200, &[]));
}

#[test]
fn rust_debug() {
    look("Rust debug", &Target::compiled("rustc", "stacks.rs", &["--edition=2024", "-g"], 12, &[]));
    look("Rust debug", &Target::compiled("rustc", "stacks.rs", &["--edition=2024", "-g"], 200, &[]));
}

#[test]
fn rust_release() {
    look("Rust release", &Target::compiled("rustc", "stacks.rs", &["--edition=2024", "-O", "-g"], 12, &[]));
    look("Rust release", &Target::compiled("rustc", "stacks.rs", &["--edition=2024", "-O", "-g"], 1000, &[]));
}

/// The machine's own interpreter, which is stripped, and the one that a shell finds first, which
/// may not be.
#[test]
fn python() {
    look("Python (system)", &Target::python("/usr/bin/python3", 12));
    look("Python (on PATH)", &Target::python("python3", 40));
}

#[test]
fn redis() {
    look("redis-server", &Target::redis());
}

fn c(flags: &[&str], threads: usize) -> Target {
    Target::compiled("gcc", "stacks.c", &[flags, &FIXED].concat(), threads, &[])
}

/// Lets all three look at the target, prints what they saw differently, and asserts what this
/// module promises.
fn look(what: &str, target: &Target) {
    let pid = target.pid();
    target.settle();
    let own = Snapshot::take(&pid);
    target.settle();
    let gdb = peers::gdb(&pid);
    target.settle();
    let eu_stack = peers::eu_stack(&pid);
    target.settle();
    assert_eq!(own.threads.len(), target.threads, "{what}: every thread is in the snapshot");
    let mut wrong = Vec::new();
    let mut report = String::new();
    let mut aliases = Aliases::default();
    for peer in [gdb, eu_stack] {
        let outcome = compare(&pid, &own, &peer, &mut aliases);
        tell(&mut report, what, target.threads, &peer, &outcome);
        if outcome.frames < target.threads || outcome.share() < 9_900 {
            wrong.push(format!(
                "{what}: only {} of {} frames agree with {}",
                outcome.agreeing, outcome.frames, peer.name
            ));
        }
    }
    if own.again > 0 {
        writeln!(report, "    {} threads did not stop in time and were asked for again", own.again)
            .expect("a string takes all");
    }
    for (tid, seen) in &own.threads {
        let functions: Vec<&str> = own.stacks[tid]
            .iter()
            .flat_map(|frame| &frame.functions)
            .map(|name| name.as_deref().unwrap_or("??"))
            .collect();
        if let Some(reason) = &seen.incomplete {
            writeln!(report, "    {tid} {}: ends early: {reason}", seen.name).expect("a string takes all");
        }
        let is_main = tid.to_string() == pid;
        wrong.extend(
            faults(seen, is_main, &functions).into_iter().map(|fault| format!("{what}: {tid} {}: {fault}", seen.name)),
        );
    }
    println!("{report}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with a stack, whatever the peers say.
fn faults(seen: &Seen, is_main: bool, functions: &[&str]) -> Vec<String> {
    let mut faults = Vec::new();
    let (kind, depth) = match seen.name.rsplit_once('-') {
        Some((kind, depth)) => (kind, depth.parse::<usize>().ok()),
        None => (seen.name.as_str(), None),
    };
    // redis numbers its threads, and python's main thread names itself as the others do.
    let kind = if kind.starts_with("redis") { "redis" } else { kind.split('_').next().unwrap_or(kind) };
    let listed = |kind: &str| CHAINS.iter().find(|(of, _)| *of == kind).map(|(_, chain)| *chain);
    let own_chain = [format!("wait_in_{kind}")];
    let chain: Vec<&str> = match (listed(kind), depth) {
        (Some(chain), _) => chain.to_vec(),
        (None, Some(_)) => own_chain.iter().map(String::as_str).collect(),
        (None, None) if is_main => listed("main").expect("it is listed").to_vec(),
        (None, None) => {
            faults.push("nothing is said of what must be on such a thread's stack".into());
            Vec::new()
        }
    };
    let bases: Vec<String> = functions.iter().map(|name| names::base(name)).collect();
    // The C library has prefixes for its own names; which one is printed depends on whose name for
    // it is asked.
    let bare: Vec<&str> = bases.iter().map(|name| name.trim_start_matches("__GI_").trim_start_matches('_')).collect();
    let mut rest = bare.iter();
    if let Some(missing) = chain.into_iter().find(|wanted| !rest.any(|name| name == wanted)) {
        faults.push(format!("{missing} is not where it must be in {functions:?}"));
    }
    match (&seen.incomplete, depth) {
        (Some(reason), _) => faults.push(format!("ends early: {reason}")),
        (None, Some(depth)) => {
            let found = bare.iter().filter(|name| **name == "descend").count();
            if found != depth {
                faults.push(format!("{found} calls of descend, and it made {depth}"));
            }
        }
        (None, None) => {}
    }
    faults
}

/// A row for the peer, and one for each disagreement; alike ones are printed once, with the threads
/// they are found in.
fn tell(report: &mut String, what: &str, threads: usize, peer: &Peer, outcome: &Outcome) {
    let share = outcome.share();
    writeln!(
        report,
        "{what:<18} {threads:>5} threads  {:<8} {:>6} frames {:>6} agree  {:>3}.{:02} %  \
         {:>5} but for scope  {:>3} unnamed  {:>4} guessed",
        peer.name,
        outcome.frames,
        outcome.agreeing,
        share / 100,
        share % 100,
        outcome.but_for_scope.values().sum::<usize>(),
        outcome.unnamed,
        outcome.guessed,
    )
    .expect("a string takes all");
    for complaint in &peer.complaints {
        writeln!(report, "    {} says: {complaint}", peer.name).expect("a string takes all");
    }
    for ((own, peer_name), count) in &outcome.but_for_scope {
        writeln!(report, "    agree but for scope, {count} times: {own} and {peer_name}").expect("a string takes all");
    }
    let mut alike: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for one in &outcome.disagreements {
        alike.entry((&one.own, &one.peer, one.address, &one.reason)).or_default().push(one);
    }
    for ((own, peer_name, address, reason), ones) in alike {
        let side = |name: &Option<String>| name.clone().unwrap_or_else(|| "no frame".into());
        let address = address.map_or_else(|| "?".into(), |address| format!("{address:#x}"));
        let places: Vec<String> = ones.iter().map(|one| format!("{} {}#{}", one.tid, one.thread, one.number)).collect();
        writeln!(
            report,
            "    hangsnap: {}\n    {:>8}: {}\n        at {address}{} in {}: {}",
            side(own),
            peer.name,
            side(peer_name),
            reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default(),
            places.len(),
            places.join(", "),
        )
        .expect("a string takes all");
    }
}
