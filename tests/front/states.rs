//! What is printed of a thread is of one moment, and inlined functions are functions.

use std::process::Command;

use hangsnap::model::{Recording, ThreadState};
use hangsnap::store::Segment;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::snapshot_of;
use crate::support::{Victim, compile, hangsnap, sleeper, succeed, until};

/// A thread that had just woken up, or was about to sleep, was printed as `running in pause()`.
#[test]
fn no_thread_runs_in_a_call_that_only_waits() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut snapshot = snapshot_of(&sleeper(), directory.path());
    let file = directory.path().join("woken.hangsnap");
    let in_pause = |call: Option<&'static str>| call == Some("pause");
    let mut threads = 0;
    for thread in &mut snapshot.threads {
        if in_pause(thread.system_call.and_then(|call| call.name())) {
            thread.status.state = ThreadState::Running;
            threads += 1;
        }
    }
    assert!(threads > 0, "the victim waits in pause: {snapshot:?}");
    let mut segment = Segment::create(&file, &Recording::default()).expect("a new file");
    segment.append(&snapshot).expect("room for a snapshot");
    let text = succeed(hangsnap().args(["show", "--all-frames"]).arg(&file));
    assert!(text.contains("running, on its way into or out of pause()"), "{text}");
    assert!(!text.contains("running in"), "{text}");
}

/// Of a function in which others are inlined only the line of the call was compared and shown,
/// which was the same in both snapshots.
#[test]
fn inlined_functions_are_compared() {
    let directory = tempfile::tempdir().expect("a directory");
    let victim = Victim::start(&mut Command::new(compile("gcc", "inlined.c", &["-O1", "-g"])));
    let [first, second] = ["first", "second"].map(|name| directory.path().join(name));
    succeed(hangsnap().args([&victim.pid(), "-o"]).arg(&first));
    let pid = victim.pid().parse().expect("a number");
    kill(Pid::from_raw(pid), Signal::SIGUSR1).expect("it is there");
    let mut text = String::new();
    // It may be a while until it is given a CPU.
    until("it spins in the other line", std::time::Duration::from_secs(60), || {
        let _ = std::fs::remove_file(&second);
        succeed(hangsnap().args([&victim.pid(), "-o"]).arg(&second));
        text = succeed(hangsnap().arg("diff").args([&first, &second]));
        text.contains("is in  spin at")
    });
    let line = |word: &str| text.lines().find(|line| line.trim_start().starts_with(word)).unwrap_or_default();
    assert!(
        line("was in ").contains("spin at")
            && ["inlined.c:13", "inlined.c:14"].iter().any(|place| line("was in ").contains(place)),
        "{text}"
    );
    assert!(line("is in ").contains("inlined.c:16") || line("is in ").contains("inlined.c:17"), "{text}");
    assert!(line("then ").contains("spin < main"), "{text}");
    assert!(line("now ").contains("spin < main"), "{text}");
}
