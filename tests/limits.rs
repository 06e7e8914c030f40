//! Limits that a host may set.

use std::process::Command;

use crate::support::{Victim, hangsnap, succeed};

/// Python with this many parked threads.
fn many_threads(count: usize) -> Victim {
    let program = format!(
        "import threading\n\
         lock = threading.Lock(); lock.acquire()\n\
         for _ in range({count}): threading.Thread(target=lock.acquire, daemon=True).start()\n\
         print('ready', flush=True)\n\
         lock.acquire()"
    );
    Victim::start(Command::new("python3").args(["-c", &program]))
}

/// Each thread's directory in /proc was kept open through the whole stop: past RLIMIT_NOFILE
/// threads were lost.
#[test]
fn more_threads_than_descriptors_are_captured_all_the_same() {
    let victim = many_threads(200);
    for stop in ["auto", "all"] {
        let mut limited = Command::new("sh");
        limited.args(["-c", "ulimit -n 32; exec \"$@\"", "sh"]).arg(hangsnap().get_program());
        limited.args(["--pid", &victim.pid(), "--stop", stop, "--max-hold", "1s", "--json"]);
        let snapshot: serde_json::Value = serde_json::from_str(&succeed(&mut limited)).expect("JSON");
        let threads = snapshot["threads"].as_array().expect("threads");
        assert_eq!(threads.len(), 201, "--stop {stop}");
        // On a busy machine a thread may not stop in time; it is then read in place.
        let captured = threads.iter().filter(|thread| thread["how"] != "not-captured").count();
        assert_eq!(captured, 201, "--stop {stop}: {snapshot}");
        // On a busy machine a thread may come late to the stop of all; it is captured, and said to
        // be late.
        let notices = snapshot["notices"].as_array().expect("notices");
        let unexpected =
            notices.iter().find(|notice| notice["text"] != "did not stop with the others; captured after them");
        assert_eq!(unexpected, None, "--stop {stop}");
    }
}

/// Held together, the first threads took all the room there was, and nothing was copied of the
/// others' stacks.
#[test]
fn deep_stacks_of_threads_held_together_are_all_copied() {
    let program = "import threading\n\
                   threading.stack_size(1 << 20)\n\
                   lock = threading.Lock(); lock.acquire()\n\
                   def deep(depth): return [deep(depth - 1)] if depth else lock.acquire()\n\
                   for _ in range(50): threading.Thread(target=deep, args=(150,), daemon=True).start()\n\
                   print('ready', flush=True)\n\
                   lock.acquire()";
    let victim = Victim::start(Command::new("python3").args(["-c", program]));
    let mut all = hangsnap();
    let printed = succeed(all.args(["--pid", &victim.pid(), "--stop", "all", "--max-hold", "1s", "--json"]));
    let snapshot: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
    let threads = snapshot["threads"].as_array().expect("threads");
    let cut = threads.iter().filter(|thread| !thread["incomplete"].is_null()).count();
    assert_eq!((threads.len(), cut), (51, 0), "{}", snapshot["notices"]);
}

/// Memory that was asked for and could not be had was left out without a word.
#[test]
fn memory_that_cannot_be_copied_is_told() {
    let victim = many_threads(2);
    let printed = succeed(hangsnap().args(["--pid", &victim.pid(), "--memory", "0x10:64", "--json"]));
    assert!(printed.contains("copying --memory 0x10:64 failed"), "{printed}");
}
