//! What is left when any part of the daemon is killed at any moment: targets that run, recordings
//! that are whole.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::daemon::Daemon;
use crate::support::{long_form, run, sleeper};

/// The processes that this one has started.
fn children(pid: u32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

#[test]
fn whatever_is_killed_targets_run_and_recordings_are_whole() {
    let times = if long_form() { 1000 } else { 20 };
    let victim = sleeper();
    let mut place = tempfile::tempdir().expect("a directory");
    let config = format!(
        "every = \"20ms\"\n[[target]]\npid = {}\non-threads = \"above=1,burst=5,every=10ms,cooldown=1ms\"\n",
        victim.pid()
    );
    let mut recordings: Vec<PathBuf> = Vec::new();
    for number in 0..times {
        let daemon = Daemon::start_in(place, &config);
        daemon.until("it is recorded", |status| status["targets"][0]["recording"].is_string());
        // Spread over some hundred milliseconds, in which samples, incidents and verdicts are made.
        std::thread::sleep(Duration::from_millis(u64::try_from(number * 37 % 400).expect("a few")));
        if number % 2 == 0 {
            // The tracer, or a verdict that is being made: the daemon goes on.
            let before = daemon.status()["targets"][0]["snapshots"].as_u64();
            for child in children(daemon.pid()) {
                // It may have ended.
                let _ = kill(Pid::from_raw(child), Signal::SIGKILL);
            }
            daemon.until("it goes on", |status| status["targets"][0]["snapshots"].as_u64() > before);
        }
        recordings.extend(daemon.files("hangsnap"));
        place = daemon.kill();
        let states = victim.states();
        assert!(states.len() == 2 && states.iter().all(|state| *state == 'S'), "{states:?}");
    }
    let found = recordings.iter().filter(|recording| recording.exists()).collect::<std::collections::BTreeSet<_>>();
    // Also those that began in one second.
    assert_eq!(found.len(), times, "{found:?}");
    for recording in &found {
        let checked = run(crate::support::hangsnap().arg("check").arg(recording));
        let said = String::from_utf8_lossy(&checked.stdout).into_owned();
        assert!(
            checked.status.success(),
            "{}: {said}{}",
            recording.display(),
            String::from_utf8_lossy(&checked.stderr)
        );
    }
    println!("killed {times} times: {} recordings are whole", found.len());
}
