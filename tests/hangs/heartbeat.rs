//! An event loop with thousands of descriptors in its epoll set turns as fast beside hangsnap as
//! without.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{compile, hangsnap, recorder, run};

const ROUNDS: usize = 5;
const ROUND: Duration = Duration::from_millis(1200);
/// Other programs want the CPUs, too: a turn is late by a slice or two now and then.
const FLOOR: Duration = Duration::from_millis(15);
const RATIO: u32 = 3;

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_event_loop_with_thousands_of_descriptors_is_not_delayed() {
    let mut command = Command::new(compile("gcc", "heartbeat.c", &["-O1", "-g"]));
    command.arg("5000").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut heart = Killed(command.spawn().expect("it was just built"));
    let pid = heart.0.id().to_string();
    let mut input = heart.0.stdin.take().expect("it is piped");
    let mut output = BufReader::new(heart.0.stdout.take().expect("it is piped")).lines();
    let mut line = move || output.next().expect("it lives").expect("it prints text");
    if line() == "no room" {
        eprintln!("SKIPPED: a process may not have 5,000 descriptors");
        return;
    }
    let mut longest = || {
        input.write_all(b"?\n").expect("it lives");
        Duration::from_nanos(line().parse().expect("a number"))
    };
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        longest();
        thread::sleep(ROUND);
        alone.push(longest());
        let directory = tempfile::tempdir().expect("a temporary directory");
        let begun = Instant::now();
        run(hangsnap().args(["why", "--pid", &pid]));
        let recorded = run(recorder(&pid, "200ms").args(["--count", "4", "-o"]).arg(directory.path()));
        assert!(recorded.status.success(), "{}", String::from_utf8_lossy(&recorded.stderr));
        thread::sleep(ROUND.saturating_sub(begun.elapsed()));
        beside.push(longest());
    }
    alone.sort_unstable();
    beside.sort_unstable();
    println!("longest turns without hangsnap {alone:?}, with it {beside:?}");
    let (alone, beside) = (alone[ROUNDS / 2], beside[ROUNDS / 2]);
    assert!(beside < FLOOR.max(alone * RATIO), "{beside:?} with hangsnap, {alone:?} without");
}
