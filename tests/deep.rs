//! Recursion that has run away: the newest and the oldest frames are there, and what lies between
//! is counted.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::{Victim, compile, hangsnap, succeed, victim_source};

const FLAGS: [&str; 3] = ["-O0", "-g", "-pthread"];

/// A victim, and how many frames of `recurse` it says it has.
fn deep(command: &mut Command) -> (Victim, u64) {
    let mut victim = Victim::start(command);
    let frames = victim.line().trim().parse().expect("a number");
    (victim, frames)
}

/// How far a stack is copied in the time for which a thread may be held by default depends on the
/// machine, and is what one test asks.
const LONG_ENOUGH: [&str; 2] = ["--max-hold", "1s"];

/// The stack of the thread that recurses.
fn deepest(victim: &Victim, stop: &str, max_hold: &[&str]) -> (Vec<String>, Value) {
    let printed = succeed(hangsnap().args(["--pid", &victim.pid(), "--stop", stop, "--json"]).args(max_hold));
    let snapshot: Value = serde_json::from_str(&printed).expect("JSON");
    let threads = snapshot["threads"].as_array().expect("threads");
    let thread = threads.iter().find(|thread| names(thread).iter().any(|name| name == "recurse"));
    let thread = thread.unwrap_or_else(|| panic!("--stop {stop}: nobody recurses: {snapshot}"));
    (names(thread), thread.clone())
}

/// The function that each frame is in.
fn names(thread: &Value) -> Vec<String> {
    let frames = thread["frames"].as_array().expect("frames");
    let name = |frame: &Value| frame["functions"].as_array()?.last()?["name"].as_str().map(str::to_owned);
    frames.iter().map(|frame| name(frame).unwrap_or_default()).collect()
}

/// The newest frames, `recurse` as often as is true, and the oldest frames, to the root.
fn assert_whole(victim: &Victim, frames: u64, newest: &[&str], oldest: &str, what: &str) {
    for stop in ["auto", "all", "none"] {
        let (names, thread) = deepest(victim, stop, &LONG_ENOUGH);
        let what = format!("{what} --stop {stop}: {} {} {:?}", thread["gap"], thread["incomplete"], &names[..8]);
        assert_eq!(thread["incomplete"], Value::Null, "{what}");
        assert_eq!(thread["gap"]["bytes"], 0, "{what}");
        let kept = names.iter().filter(|name| *name == "recurse").count() as u64;
        let left_out = thread["gap"]["frames"].as_u64().expect("a number");
        assert!(kept >= 2000 && left_out > kept, "{what}");
        assert_eq!(kept + left_out, frames, "{what}");
        let mut from = names.iter();
        for wanted in newest {
            assert!(from.any(|name| name == wanted), "{what}: no {wanted}");
        }
        let after_all = names.iter().rposition(|name| name == "recurse").map(|last| &names[last + 1]);
        assert_eq!(after_all.map(String::as_str), Some(oldest), "{what}");
    }
}

#[test]
fn a_recursion_of_100000_frames_is_counted() {
    let (victim, frames) = deep(Command::new(compile("gcc", "deep.c", &FLAGS)).arg("99999"));
    assert_eq!(frames, 100_000);
    assert_whole(&victim, frames, &["wait_here", "recurse"], "main", "100,000 frames");
}

/// By default, as users call it.
#[test]
fn of_a_deep_stack_all_is_there_or_it_is_said_what_was_left_out() {
    let (victim, frames) = deep(Command::new(compile("gcc", "deep.c", &FLAGS)).arg("99999"));
    for stop in ["auto", "all", "none"] {
        let (names, thread) = deepest(&victim, stop, &[]);
        let what = format!("--stop {stop}: {} {}", thread["gap"], thread["incomplete"]);
        let number = |name: &str| thread["gap"][name].as_u64().expect("there are too many frames to be kept");
        let (left_out, bytes) = (number("frames"), number("bytes"));
        let missing = frames - left_out - names.iter().filter(|name| *name == "recurse").count() as u64;
        assert!(if bytes == 0 { missing == 0 } else { missing > 0 && bytes > 16 * missing }, "{what}: {missing}");
        assert_eq!(thread["incomplete"], Value::Null, "{what}");
        let last = names.iter().rposition(|name| name == "recurse").expect("it recurses");
        assert_eq!(names[last + 1], "main", "{what}");
    }
}

/// A handler on another stack had nothing but the oldest 64 KiB below it.
#[test]
fn a_stack_that_ran_over_is_walked_from_its_guard_to_its_root() {
    for shape in ["over", "thread"] {
        let (victim, frames) = deep(Command::new(compile("gcc", "deep.c", &FLAGS)).arg(shape));
        assert!(frames > 100_000, "{frames} frames");
        assert_whole(&victim, frames, &["wait_here", "handle", "recurse"], "run_over", shape);
    }
}

#[test]
fn of_a_stack_that_is_too_long_to_be_copied_both_ends_are_known() {
    let program = compile("gcc", "deep.c", &FLAGS);
    let mut unlimited = Command::new("sh");
    unlimited.args(["-c", "ulimit -s unlimited && exec \"$0\" 1000000"]).arg(program);
    let (victim, frames) = deep(&mut unlimited);
    for stop in ["auto", "all", "none"] {
        let (names, thread) = deepest(&victim, stop, &LONG_ENOUGH);
        let what = format!("--stop {stop}: {} {}", thread["gap"], thread["incomplete"]);
        assert_eq!(thread["incomplete"], Value::Null, "{what}");
        let number = |name: &str| thread["gap"][name].as_u64().expect("a number");
        let (left_out, bytes) = (number("frames"), number("bytes"));
        let known = names.iter().filter(|name| *name == "recurse").count() as u64 + left_out;
        assert!(known < frames && bytes > 16 * (frames - known), "{what}: {known} of {frames} frames");
        let last = names.iter().rposition(|name| name == "recurse").expect("it recurses");
        assert_eq!(names[last + 1], "main", "{what}");
    }
}

/// Of a goroutine's stack, which has no mapping of its own, the newest 64 KiB were copied, and
/// nothing was known of the rest.
#[test]
fn the_stack_of_a_goroutine_is_copied_to_its_end() {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("recursion");
    let mut build = Command::new("go");
    build.env("GO111MODULE", "off").env("GOTOOLCHAIN", "local").env("CGO_ENABLED", "0").arg("build").arg("-o");
    succeed(build.arg(&program).arg(victim_source("recursion.go")));
    let victim = Victim::start(Command::new(program).arg("1999").env("GODEBUG", "asyncpreemptoff=1"));
    for stop in ["auto", "all"] {
        let printed = succeed(hangsnap().args(["--pid", &victim.pid(), "--stop", stop, "--json"]));
        let snapshot: Value = serde_json::from_str(&printed).expect("JSON");
        let threads = snapshot["threads"].as_array().expect("threads").iter();
        let mut stacks = threads.map(|thread| (names(thread), &thread["incomplete"]));
        let is_recursion = |(names, _): &(Vec<String>, &Value)| names.iter().any(|name| name == "main.recurse");
        let (names, incomplete) = stacks.find(is_recursion).expect("somebody recurses");
        let frames = names.iter().filter(|name| *name == "main.recurse").count();
        assert_eq!((frames, incomplete), (2000, &Value::Null), "--stop {stop}");
        assert_eq!(names.last().map(String::as_str), Some("runtime.goexit"), "--stop {stop}");
    }
}

/// When the time was up while both hands copied, the kill timer came when everybody had been let go
/// of: the next tracer did the same again, eight times, and nothing was left of the snapshot.
#[test]
fn a_snapshot_whose_time_is_up_while_two_hands_copy_is_not_lost() {
    let (victim, _) = deep(Command::new(compile("gcc", "deep.c", &FLAGS)).args(["8000", "200"]));
    let mut cut_short = 0;
    for max_hold in ["2ms", "4ms", "6ms", "8ms"].repeat(3) {
        let printed = succeed(hangsnap().args(["--pid", &victim.pid(), "--stop", "all", "--max-hold", max_hold]));
        assert!(printed.contains("201 threads"), "--max-hold {max_hold}: {printed}");
        assert!(!printed.contains("died"), "--max-hold {max_hold}: {printed}");
        cut_short += usize::from(printed.contains("because of --max-hold"));
    }
    assert!(cut_short > 0, "it was never out of time");
}
