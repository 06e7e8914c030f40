//! Stacks that are hard to follow to their ends: functions that nothing describes, ends that tables
//! forget, stacks of several mappings, and ways out that are lost. What must be seen is known from
//! the victims' sources.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::names::{array, assert_stack, functions, read};
use crate::support::{PATIENCE, Victim, compile, hangsnap, until};

mod probed;

const STOPS: [&str; 3] = ["auto", "none", "all"];

/// Waits until a thread of the victim, the last one it has, sleeps in one of these calls of x86-64.
fn until_it_waits_in(pid: &str, calls: &[&str]) {
    let waits = || {
        let mut tasks: Vec<u32> = fs::read_dir(format!("/proc/{pid}/task"))
            .map(|tasks| tasks.flatten().filter_map(|task| task.file_name().to_str()?.parse().ok()).collect())
            .unwrap_or_default();
        tasks.sort_unstable();
        let last = tasks.last().copied().unwrap_or_default();
        let call = fs::read_to_string(format!("/proc/{pid}/task/{last}/syscall")).unwrap_or_default();
        calls.iter().any(|number| call.split(' ').next() == Some(number))
    };
    until("the victim waits", PATIENCE, waits);
}

const PAUSE: &str = "34";
const EPOLL_WAIT: &str = "232";
/// What musl makes of it.
const EPOLL_PWAIT: &str = "281";

/// The last thread of a process by each way of looking at it, live and from the recording after its
/// end.
fn each_way(victim: Victim, directory: &Path, check: impl Fn(&str, &Value)) {
    let pid = victim.pid();
    let last = |document: &Value| array(&document["threads"]).last().expect("a thread").clone();
    let files = STOPS.map(|stop| {
        let file = directory.join(format!("{pid}-{stop}.hangsnap"));
        let document = read(hangsnap().args(["--pid", &pid, "--json", "--stop", stop, "-o"]).arg(&file));
        check(&format!("--stop {stop}"), &last(&document));
        file
    });
    drop(victim);
    for (stop, file) in STOPS.iter().zip(&files) {
        let document = read(hangsnap().arg("show").arg(file).arg("--json"));
        check(&format!("--stop {stop}, recorded"), &last(&document));
    }
}

/// Functions of stacks that no longer exist, and of others that had never called, stood in stacks
/// called whole: what led to some root was believed before the true caller, which could not.
#[test]
fn where_the_way_out_is_lost_the_true_callers_stand_and_then_a_reason() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let programs: [(&str, &[&str]); 8] = [
        ("gcc", &["-O2", "-g", "-DROOM"]),
        ("gcc", &["-O0", "-g", "-DROOM"]),
        ("gcc", &["-O0", "-g"]),
        ("gcc", &["-O1", "-g", "-fno-omit-frame-pointer", "-DROOM"]),
        ("gcc", &["-O2", "-g", "-DROOM", "-fno-pie", "-no-pie"]),
        ("clang", &["-O2", "-g", "-DROOM"]),
        ("clang", &["-O0", "-g"]),
        // Its libc has no call frame information.
        ("musl-gcc", &["-O2", "-g", "-DROOM", "-fno-optimize-sibling-calls"]),
    ];
    for (compiler, flags) in programs {
        let program = compile(compiler, "lost_bottom.c", flags);
        for lost in ["bottom", "waiting"] {
            let victim = Victim::start(Command::new(&program).arg(lost));
            until_it_waits_in(&victim.pid(), &[EPOLL_WAIT, EPOLL_PWAIT]);
            each_way(victim, directory.path(), |how, thread| {
                let what = format!("{compiler} {flags:?}, {lost}, {how}");
                let functions = functions(thread);
                let first = functions.iter().position(|name| name == "waits").unwrap_or(functions.len());
                let names: Vec<&str> = functions[first..].iter().map(String::as_str).collect();
                let callers: &[&str] =
                    if lost == "bottom" { &["waits", "own_work", "begins_stack"] } else { &["waits"] };
                assert_eq!(names, callers, "{what}: {functions:#?}");
                assert!(thread["incomplete"].is_string(), "{what}: called whole: {functions:#?}");
            });
        }
    }
}

/// A jump past `alloca` counted as if nothing had been taken: true stacks were cut, and others had
/// functions that never called.
#[test]
fn a_function_that_takes_stack_now_and_then_has_its_callers() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (compiler, level) in
        ["gcc", "clang"].into_iter().flat_map(|compiler| ["-O0", "-O1", "-O2", "-O3"].map(|level| (compiler, level)))
    {
        let program = compile(compiler, "sometimes.c", &[level, "-g"]);
        for takes in [None, Some("takes")] {
            let victim = Victim::start(Command::new(&program).args(takes));
            until_it_waits_in(&victim.pid(), &[EPOLL_WAIT]);
            each_way(victim, directory.path(), |how, thread| {
                let what = format!("{compiler} {level}, {takes:?}, {how}");
                assert_stack(&what, thread, &["sometimes", "in_a_loop", "calls_through", "main"]);
            });
        }
    }
}

/// The walk ended at the first of them, or left one out.
#[test]
fn generated_functions_called_through_pointers_are_followed_to_their_ends() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for compiler in ["gcc", "clang"] {
        for flags in [["-O2", "-g"], ["-O0", "-g"]] {
            let program = compile(compiler, "entered.c", &flags);
            for kind in ["framed", "plain", "saving", "testing"] {
                for call in [PAUSE, EPOLL_WAIT] {
                    let polls = (call == EPOLL_WAIT).then_some("polls");
                    let victim = Victim::start(Command::new(&program).arg(kind).args(polls));
                    let pid = victim.pid();
                    until_it_waits_in(&pid, &[call]);
                    each_way(victim, directory.path(), |how, thread| {
                        let chain = ["native_waits", "made_inner", "made_middle", "made_outer", "enters", "main"];
                        let what = format!("{compiler} {flags:?}, {kind}, {how}");
                        assert_stack(&what, thread, &chain);
                        let functions = functions(thread);
                        let ours = functions.iter().filter(|name| chain.contains(&name.as_str()));
                        assert_eq!(ours.count(), chain.len(), "{what}: {functions:#?}");
                    });
                    // Its file of names has to be there as long as the program.
                    let _ = fs::remove_file(format!("/tmp/perf-{pid}.map"));
                }
            }
        }
    }
}

/// The caller was left out: the tables say nothing of the last instructions.
#[test]
fn at_the_end_of_a_hand_written_function_its_caller_is_the_next_frame() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (compiler, flags) in [("gcc", ["-O2", "-g"]), ("gcc", ["-O0", "-g"]), ("clang", ["-O2", "-g"])] {
        let program = compile(compiler, "hand_written.c", &flags);
        for place in ["at_add", "at_first_pop", "at_second_pop", "at_ret", "at_unsaid_pop", "at_unsaid_ret"] {
            let victim = Victim::start(Command::new(&program).arg(place));
            until_it_waits_in(&victim.pid(), &[PAUSE]);
            let function = if place.contains("unsaid") { "says_nothing" } else { "hand_written" };
            each_way(victim, directory.path(), |how, thread| {
                let what = format!("{compiler} {flags:?}, {place}, {how}");
                let functions = functions(thread);
                let names: Vec<&str> =
                    functions.iter().map(String::as_str).skip_while(|name| *name != function).take(4).collect();
                assert_eq!(names, [function, "calls_it", "calls_that", "main"], "{what}: {functions:#?}");
                assert_eq!(thread["incomplete"], Value::Null, "{what}: {functions:#?}");
            });
        }
    }
}

/// What lay in the second mapping was not copied, and the interrupted stack was lost.
#[test]
fn a_signal_stack_may_lie_across_two_mappings() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (compiler, flags) in [("gcc", ["-O2", "-g", "-pthread"]), ("clang", ["-O0", "-g", "-pthread"])] {
        let program = compile(compiler, "two_mappings.c", &flags);
        for kind in ["remapped", "file"] {
            for thread in [None, Some("thread")] {
                let victim = Victim::start(Command::new(&program).arg(kind).args(thread));
                until_it_waits_in(&victim.pid(), &[PAUSE]);
                each_way(victim, directory.path(), |how, looked| {
                    let what = format!("{compiler} {flags:?}, {kind}, {thread:?}, {how}");
                    assert_stack(&what, looked, &["deeper", "handles", "interrupted", "runs"]);
                });
            }
        }
    }
}
