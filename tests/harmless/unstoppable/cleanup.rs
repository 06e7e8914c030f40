//! The fixtures themselves: nothing of them stays on the machine, whichever process is killed, and
//! whenever.

use std::io::BufReader;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::LIFE;
use super::fixture::{Facts, Fixture, MODES, pass_on, program};

/// Where the test run below learns what to hold.
const HELD_MODE: &str = "UNSTOPPABLE_MODE";
const HELD_DIRECTORY: &str = "UNSTOPPABLE_DIRECTORY";

/// Long enough for a thread to block, on a machine that is busy, too.
const SHORT: u32 = 10;

#[test]
#[ignore = "is run, and killed, by a_test_run_that_is_killed_leaves_nothing"]
fn a_test_run_that_holds_a_fixture() {
    let (Some(mode), Some(directory)) = (std::env::var_os(HELD_MODE), std::env::var_os(HELD_DIRECTORY)) else {
        return;
    };
    let mode = mode.to_str().expect("a mode's name");
    let mut fixture = program(mode, Path::new(&directory), LIFE)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the victim was just compiled");
    // The test harness has begun a line.
    println!();
    pass_on(fixture.stdout.as_mut().expect("its output is piped"));
    // Until this is killed; or the fixture ends first, which is as good.
    let _ = fixture.wait();
}

#[test]
fn a_test_run_that_is_killed_leaves_nothing() {
    for (mode, _) in MODES {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut run = Command::new(std::env::current_exe().expect("the path of the test program"))
            .args(["--exact", "--ignored", "--nocapture"])
            .arg("harmless::unstoppable::cleanup::a_test_run_that_holds_a_fixture")
            .env(HELD_MODE, mode)
            .env(HELD_DIRECTORY, directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the test program can be started");
        let mut output = BufReader::new(run.stdout.take().expect("its output is piped"));
        let facts = Facts::read(mode, &mut output);
        if let Some(facts) = &facts {
            assert!(!facts.remains().is_empty(), "{mode}: while it runs there is something to be found");
        }
        run.kill().expect("it is our child");
        run.wait().expect("it is our child");
        if let Some(facts) = facts {
            facts.await_end(&format!("{mode}, whose test run was killed,"));
        }
    }
}

#[test]
fn whichever_of_its_processes_is_killed_the_others_leave_nothing() {
    for (mode, _) in MODES {
        for processes in [&["keeper"][..], &["guard"], &["server"], &["target"], &["keeper", "guard"]] {
            if mode == "frozen" && processes.len() == 2 {
                // No process is left that could thaw it: the one case that the fixture does not
                // cover.
                continue;
            }
            let Some(fixture) = Fixture::start(mode, LIFE) else {
                continue;
            };
            for pid in processes.iter().filter_map(|process| fixture.facts.get(process)) {
                kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), Signal::SIGKILL).expect("it is there");
            }
            if processes == ["server"] {
                // Without it nothing is blocked any longer, and the target is still to be ended.
                fixture.end();
                continue;
            }
            fixture.facts.await_end(&format!("{mode}, whose {processes:?} was killed,"));
        }
    }
}

#[test]
fn a_fixture_that_nobody_ends_ends_itself_in_time() {
    // All at the same time: it is the same time that they wait for. Their pipes stay open.
    let started: Vec<Fixture> = MODES.into_iter().filter_map(|(mode, _)| Fixture::start(mode, SHORT)).collect();
    for fixture in started {
        fixture.facts.await_end(fixture.mode);
        fixture.end();
    }
}
