//! Processes of unusual shape: very many threads or mappings, stacks where stacks are not, no
//! memory left, another tracer, and memory and registers whose values the target prints itself.
//!
//! Not here: processes that change while they are looked at (`targets`), and those that may not be
//! looked at at all.

use std::collections::HashMap;
use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::sampler::PATIENCE;
use crate::support::{Victim, compile, hangsnap, run, succeed, until};

/// A victim of this shape, and what it printed of itself before it was ready.
fn odd(shape: &[&str]) -> (Victim, HashMap<String, String>) {
    let mut child = Command::new(compile("gcc", "odd.c", &["-O1", "-g", "-pthread"]))
        .args(shape)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the victim was just compiled");
    let output = std::io::BufReader::new(child.stdout.take().expect("its output is piped"));
    let mut victim = Victim { child, output };
    let mut told = HashMap::new();
    loop {
        let line = victim.line();
        assert!(!line.is_empty(), "{shape:?} ended before it was ready");
        match line.trim().split_once(' ') {
            Some((name, value)) => drop(told.insert(name.to_owned(), value.to_owned())),
            None => return (victim, told),
        }
    }
}

fn snapshot(victim: &Victim, arguments: &[&str]) -> Value {
    let printed = succeed(hangsnap().args(["--pid", &victim.pid(), "--json"]).args(arguments));
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
}

fn threads(snapshot: &Value) -> &Vec<Value> {
    snapshot["threads"].as_array().expect("threads")
}

fn functions(thread: &Value) -> Vec<&str> {
    let frames = thread["frames"].as_array().expect("frames");
    frames
        .iter()
        .filter_map(|frame| frame["functions"].as_array())
        .flatten()
        .filter_map(|f| f["name"].as_str())
        .collect()
}

fn says(snapshot: &Value, text: &str) -> bool {
    let notices = snapshot["notices"].as_array().expect("notices");
    notices.iter().any(|notice| notice["text"].as_str().is_some_and(|said| said.contains(text)))
}

/// This many threads have this function on their stacks, and every thread's stack is whole.
fn assert_whole(snapshot: &Value, function: &str, count: usize, what: &str) {
    let having = threads(snapshot).iter().filter(|thread| functions(thread).contains(&function)).count();
    assert_eq!(having, count, "{what}: {}", snapshot["notices"]);
    let broken = threads(snapshot).iter().find(|thread| !thread["incomplete"].is_null());
    assert_eq!(broken, None, "{what}: {}", snapshot["notices"]);
}

#[test]
fn ten_thousand_threads() {
    let wanted = 10_000;
    let most = |file: &str| fs::read_to_string(file).ok().and_then(|text| text.trim().parse::<u64>().ok());
    if most("/proc/sys/kernel/threads-max").is_some_and(|most| most < 2 * wanted) {
        eprintln!("SKIPPED ten_thousand_threads: this host allows too few threads");
        return;
    }
    let (victim, _) = odd(&["threads", &wanted.to_string()]);
    for stop in ["auto", "none"] {
        let snapshot = snapshot(&victim, &["--stop", stop]);
        assert_whole(&snapshot, "parked", 9_999, &format!("--stop {stop}"));
        eprintln!("--stop {stop}: {} ms", snapshot["took_ns"].as_u64().expect("a number") / 1_000_000);
    }
}

#[test]
fn a_thousand_threads_cannot_be_held_together_for_a_millisecond() {
    let (victim, _) = odd(&["threads", "1000"]);
    let snapshot = snapshot(&victim, &["--stop", "all", "--max-hold", "1ms"]);
    assert_eq!(snapshot["stop"], "one-at-a-time");
    assert!(says(&snapshot, "taken one thread at a time because of --max-hold"), "{}", snapshot["notices"]);
    assert_whole(&snapshot, "parked", 999, "--max-hold 1ms");
}

#[test]
fn as_many_mappings_as_the_host_allows() {
    let limit = fs::read_to_string("/proc/sys/vm/max_map_count").expect("every kernel has it");
    let allowed: u32 = limit.trim().parse().expect("a number");
    // What the program and its libraries are is mapped, too.
    let count = allowed.saturating_sub(200).min(100_000);
    eprintln!("{count} mappings");
    let (victim, _) = odd(&["mappings", &count.to_string()]);
    let maps = fs::read_to_string(format!("/proc/{}/maps", victim.pid())).expect("the victim is alive");
    assert!(maps.lines().count() >= count as usize, "they were merged");
    for stop in ["auto", "all", "none"] {
        assert_whole(&snapshot(&victim, &["--stop", stop]), "parked", 1, &format!("--stop {stop}"));
    }
}

#[test]
fn stacks_that_share_a_mapping_no_memory_left_and_no_calls_allowed() {
    for (shape, function, count) in
        [(&["slices", "4"][..], "on_slice", 4), (&["poor"], "parked", 1), (&["strict"], "main", 1)]
    {
        let (victim, _) = odd(shape);
        for stop in ["auto", "all", "none"] {
            assert_whole(&snapshot(&victim, &["--stop", stop]), function, count, &format!("{shape:?} --stop {stop}"));
        }
    }
}

#[test]
fn a_coroutine_on_a_stack_in_the_heap() {
    let (victim, _) = odd(&["coroutine"]);
    for stop in ["auto", "all", "none"] {
        let snapshot = snapshot(&victim, &["--stop", stop]);
        let names = functions(&threads(&snapshot)[0]);
        assert_eq!(names.get(1..3), Some(&["rest", "in_coroutine"][..]), "--stop {stop}: {snapshot}");
    }
}

#[test]
fn a_stack_pointer_that_points_nowhere() {
    let (victim, _) = odd(&["wild"]);
    for stop in ["auto", "all"] {
        let snapshot = snapshot(&victim, &["--stop", stop]);
        assert!(says(&snapshot, "the stack pointer 0x10 points into no mapped memory"), "{snapshot}");
        let wild = threads(&snapshot).iter().find(|thread| functions(thread) == ["wild"]).expect("its innermost frame");
        assert!(wild["incomplete"].is_string(), "{wild}");
    }
}

/// The values are those that the victim printed, and those that its source puts into registers.
#[test]
fn memory_and_registers_are_what_the_target_says_they_are() {
    let (victim, told) = odd(&["marked"]);
    let by_address = format!("{}:48", told["heap-at"]);
    let wishes = ["--memory", "odd_value", "--memory", &by_address, "--memory", "rsp:64", "--registers", "all"];
    for stop in ["auto", "all"] {
        let snapshot = snapshot(&victim, &[&["--stop", stop], &wishes[..]].concat());
        let piece = |pieces: &Value, what: &str| -> (String, String) {
            let pieces = pieces.as_array().expect("memory");
            let piece = pieces.iter().find(|piece| piece["what"] == format!("--memory {what}"));
            let piece = piece.unwrap_or_else(|| panic!("no {what}: {snapshot}"));
            let text = |name: &str| piece[name].as_str().expect("text").to_owned();
            (text("address"), text("bytes"))
        };
        let expect = |address: &str, bytes: &str| (told[address].clone(), told[bytes].clone());
        assert_eq!(piece(&snapshot["memory"], "odd_value"), expect("value-at", "value"));
        assert_eq!(piece(&snapshot["memory"], &by_address), expect("heap-at", "heap"));
        let marked = threads(&snapshot).iter().find(|thread| functions(thread).first() == Some(&"marked"));
        let marked = marked.unwrap_or_else(|| panic!("--stop {stop}: it runs in `marked`: {snapshot}"));
        assert_eq!(piece(&marked["memory"], "rsp:64"), expect("rsp", "marks"));
        let registers = &marked["registers"];
        assert_eq!(registers["rsp"], told["rsp"].as_str());
        assert_eq!(registers["xmm7"], told["xmm7"].as_str());
        assert_eq!(registers["r12"], "0x5151515152525252");
        assert_eq!(registers["r13"], "0x6161616162626262");
    }
}

#[test]
fn a_process_that_its_own_user_may_not_look_at() {
    let mut command = Command::new(compile("gcc", "sleeper.c", &["-O1", "-g", "-pthread"]));
    let victim = Victim::start(command.arg("undumpable"));
    for stop in ["auto", "all", "none"] {
        assert_whole(&snapshot(&victim, &["--stop", stop]), "rest", 1, &format!("--stop {stop}"));
    }
}

#[test]
fn a_process_that_strace_traces() {
    let (victim, _) = odd(&["threads", "3"]);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-q", "-o", "/dev/null", "-p", &victim.pid()]).stderr(Stdio::null());
    let strace = strace.spawn().expect("tests/run installs it");
    let id = strace.id();
    let _guard = Strace(strace);
    until("every thread is traced", PATIENCE, || {
        let tasks = fs::read_dir(format!("/proc/{}/task", victim.pid())).expect("the victim is alive").flatten();
        let statuses = tasks.map(|task| fs::read_to_string(task.path().join("status")).unwrap_or_default());
        statuses.into_iter().all(|status| status.contains(&format!("TracerPid:\t{id}\n")))
    });
    assert_whole(&snapshot(&victim, &["--stop", "none"]), "parked", 2, "--stop none");
    let output = run(hangsnap().args(["--pid", &victim.pid(), "--stop", "all"]));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(printed.contains("strace"), "it names who traces it: {printed}");
}

/// Killed when the test ends, however it ends.
struct Strace(std::process::Child);

impl Drop for Strace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
