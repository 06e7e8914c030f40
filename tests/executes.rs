//! A target that executes another program while its threads are being held.

use std::fs;
use std::process::Command;
use std::time::Duration;

use crate::support::{Victim, compile, hangsnap, long_form, run, succeed, until};

/// The target waited for a thread of its to be collected, which hangsnap had seized, and hangsnap for the lock that the
/// target held: both hung, and the signal that asked hangsnap to end changed nothing.
#[test]
fn a_target_that_executes_in_the_middle_of_a_snapshot_hangs_nobody() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let samples = if long_form() { "3000" } else { "600" };
    for stop in ["auto", "all"] {
        let victim = Victim::start(&mut Command::new(compile("gcc", "executes.c", &["-O1", "-pthread"])));
        let file = directory.path().join(format!("{stop}.hangsnap"));
        let mut limited = Command::new("timeout");
        limited.args(["--signal=KILL", "120"]).arg(hangsnap().get_program());
        limited
            .args([
                "--pid",
                &victim.pid(),
                "--max-duty",
                "100%",
                "--every",
                "1ms",
                "--count",
                samples,
                "--stop",
                stop,
                "-o",
            ])
            .arg(&file);
        let output = run(&mut limited);
        assert_eq!(output.status.code(), Some(0), "--stop {stop}: {}", String::from_utf8_lossy(&output.stderr));
        succeed(hangsnap().arg("list").arg(&file));
        // While it executes it may be in uninterruptible sleep for a moment; what it must not be is there for good, or held.
        until("the target runs", Duration::from_secs(10), || {
            let stat = fs::read_to_string(format!("/proc/{}/stat", victim.pid())).expect("the target is there");
            matches!(stat.rsplit(") ").next().and_then(|rest| rest.chars().next()), Some('R' | 'S'))
        });
    }
}
