//! What a daemon remembers: across a change of its settings, and across its own end.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::daemon::Daemon;
use crate::support::{first_column, hangsnap, run, sleeper};

#[test]
fn settings_are_read_again_and_no_sample_is_lost() {
    let victim = sleeper();
    let config = |every: &str| format!("every = \"{every}\"\n[[target]]\npid = {}\n", victim.pid());
    let mut daemon = Daemon::start(&config("200ms"));
    let snapshots = |count| move |status: &serde_json::Value| status["targets"][0]["snapshots"].as_u64() >= Some(count);
    daemon.until("there are some", snapshots(5));
    for _ in 0..3 {
        daemon.reload(&config("100ms"));
        daemon.line_with("the settings were read again");
        daemon.reload("every = \"fast\"\n");
        let (_, line) = daemon.line_with("hangsnap.toml:3");
        assert!(line.contains("not a length of time"), "{line}");
        daemon.line_with("the settings are as they were");
    }
    daemon.until("it goes on", snapshots(20));
    let recordings = daemon.files("hangsnap");
    assert_eq!(recordings.len(), 1, "it is one recording still");
    daemon.end();
    let _ = victim;
}

#[test]
fn every_sample_is_in_the_recording_across_a_reload() {
    let victim = sleeper();
    let config = format!("every = \"100ms\"\n[[target]]\npid = {}\n", victim.pid());
    let mut daemon = Daemon::start(&config);
    daemon.until_targets(1);
    daemon.reload(&config);
    daemon.line_with("the settings were read again");
    let status = daemon.until("there are more", |status| status["targets"][0]["snapshots"].as_u64() >= Some(20));
    let recording = daemon.files("hangsnap").remove(0);
    let _place = daemon.end();
    let listed = run(hangsnap().arg("list").arg(&recording));
    let _ = status;
    // The directory is gone with the daemon unless its place is kept.
    let numbers = first_column(&String::from_utf8_lossy(&listed.stdout));
    let expected: Vec<u64> = (1..=u64::try_from(numbers.len()).expect("a few")).collect();
    assert!(numbers.len() >= 20 && numbers == expected, "{numbers:?}");
}

#[test]
fn a_trigger_is_quiet_after_the_daemon_was_started_again() {
    let victim = sleeper();
    let config = format!(
        "every = \"1s\"\n[[target]]\npid = {}\non-threads = \"above=1,burst=2,every=100ms,cooldown=1h\"\n",
        victim.pid()
    );
    let mut daemon = Daemon::start(&config);
    daemon.line_with("threads, more than 1");
    daemon.until("there is a verdict", |status| status["incidents"][0]["verdict"].is_string());
    assert_eq!(daemon.files("txt").len(), 1);
    let place = daemon.end();
    let mut daemon = Daemon::start_in(place, &config);
    daemon.until("it looks for some time", |status| status["targets"][0]["snapshots"].as_u64() >= Some(4));
    assert!(!daemon.said().iter().any(|line| line.contains("more than 1")), "{:?}", daemon.said());
    assert_eq!(daemon.files("txt").len(), 1);
    // An order gets one all the same.
    assert!(daemon.order(&["trigger"]).contains("an incident of 1 target"));
    daemon.signal(Signal::SIGUSR1);
    daemon.line_with("asked for");
    daemon.until("there is another verdict", |status| status["incidents"][0]["verdict"].is_string());
}

#[test]
fn only_incidents_are_stored_with_what_was_before_them_and_a_command_gets_their_paths() {
    let victim = sleeper();
    let daemon = Daemon::start(&format!(
        "every = \"200ms\"\nstore = \"incidents\"\npreroll = 3\nexec = 'printf \"%s\\n%s\\n\" \"$1\" \"$2\" > @/told'\n[[target]]\npid = {}\n",
        victim.pid()
    ));
    daemon.until("there are some", |status| status["targets"][0]["snapshots"].as_u64() >= Some(6));
    assert_eq!(daemon.files("hangsnap").len(), 0);
    assert!(daemon.order(&["trigger", &victim.pid()]).contains("an incident of 1 target"));
    let told = daemon.place().join("told");
    crate::support::until("the command has run", Duration::from_secs(60), || {
        fs::read_to_string(&told).is_ok_and(|text| text.lines().count() == 2)
    });
    let text = fs::read_to_string(&told).expect("it is there");
    let mut lines = text.lines();
    let (recording, verdict) = (lines.next().expect("a path"), lines.next().expect("a path"));
    assert!(fs::read_to_string(verdict).is_ok_and(|text| text.contains("trigger")));
    let listed = run(hangsnap().args(["list", recording]));
    let numbers = first_column(&String::from_utf8_lossy(&listed.stdout));
    // Three before it and five of it.
    assert_eq!(numbers.len(), 8, "{}", String::from_utf8_lossy(&listed.stdout));
    assert!(numbers[0] >= 3, "{numbers:?}");
}

#[test]
fn a_daemon_that_is_paused_takes_no_samples_until_it_is_resumed() {
    let victim = sleeper();
    let daemon = Daemon::start(&format!("every = \"100ms\"\n[[target]]\npid = {}\n", victim.pid()));
    daemon.until_targets(1);
    assert!(daemon.order(&["pause"]).contains("paused"));
    let taken = |daemon: &Daemon| daemon.status()["targets"][0]["snapshots"].as_u64();
    let before = daemon.until("the last was stored", |status| status["paused"] == true);
    std::thread::sleep(Duration::from_millis(300));
    let before = taken(&daemon).max(before["targets"][0]["snapshots"].as_u64());
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(taken(&daemon), before);
    assert!(daemon.order(&["resume"]).contains("resumed"));
    daemon.until("it goes on", |status| status["targets"][0]["snapshots"].as_u64() > before);
}
