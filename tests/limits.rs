//! Limits that a host may set.

use std::process::Command;

use crate::support::{Victim, hangsnap, succeed};

/// Python with so many parked threads.
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

/// Each thread's directory in /proc was kept open through the whole stop: past RLIMIT_NOFILE threads were lost.
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
        // On a busy machine a thread may come late to the stop of all; it is captured, and said to be late.
        let notices = snapshot["notices"].as_array().expect("notices");
        let unexpected =
            notices.iter().find(|notice| notice["text"] != "did not stop with the others; captured after them");
        assert_eq!(unexpected, None, "--stop {stop}");
    }
}
