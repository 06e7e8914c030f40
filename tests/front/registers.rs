//! How a thread was looked at is said on request, and how registers are found that are unknown.

use crate::support::{hangsnap, sleeper, succeed};

const HINT: &str = "--stop all";

#[test]
fn that_a_thread_was_read_in_place_is_for_those_who_ask() {
    let directory = tempfile::tempdir().expect("a directory");
    let victim = sleeper();
    let file = directory.path().join("kept.hangsnap");
    let live = succeed(hangsnap().args([&victim.pid(), "--stop", "none", "-o"]).arg(&file));
    let show = |more: &[&str]| succeed(hangsnap().arg("show").arg(&file).args(more));
    for printed in [&live, &show(&[]), &show(&["--registers"])] {
        assert!(!printed.contains("(read in place)"), "{printed}");
    }
    let verbose = show(&["--verbose"]);
    assert_eq!(verbose.matches("(read in place)").count(), victim.states().len(), "{verbose}");
    let json: serde_json::Value = serde_json::from_str(&show(&["--json"])).expect("JSON");
    assert!(json["threads"].as_array().is_some_and(|threads| threads.iter().all(|thread| thread["how"] == "in-place")));
}

#[test]
fn registers_that_are_unknown_are_said_to_be_had_by_holding() {
    let victim = sleeper();
    let show = |stop: &str, more: &[&str]| succeed(hangsnap().args([&victim.pid(), "--stop", stop]).args(more));
    let printed = show("none", &["--registers"]);
    assert!(printed.contains(" unknown "), "{printed}");
    assert_eq!(printed.matches(HINT).count(), 1, "{printed}");
    // And so it is.
    let held = show("all", &["--registers"]);
    assert!(!held.contains(" unknown ") && !held.contains(HINT), "{held}");
    assert!(!show("none", &["--verbose"]).contains(HINT), "no registers were asked for");
}
