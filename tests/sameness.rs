//! What is printed live is what the file prints later, byte for byte.

use std::path::Path;
use std::process::Command;

use crate::lifecycle::sampler::{PATIENCE, start_told};
use crate::support::{Victim, compile, hangsnap, succeed, until};

/// How a snapshot can be printed.
const WAYS: [&[&str]; 5] =
    [&[], &["--registers"], &["--json"], &["--json", "--registers"], &["--thread", "main-or-other"]];

/// A snapshot that was printed when it was taken, and the file it was kept in.
struct Printed {
    way: Vec<String>,
    text: String,
    file: String,
}

impl Printed {
    fn later(&self) -> String {
        succeed(hangsnap().arg("show").arg(&self.file).args(&self.way))
    }
}

/// Prints and keeps a snapshot in each way, for each way of stopping.
fn print(pid: &str, directory: &Path) -> Vec<Printed> {
    let mut printed = Vec::new();
    for stop in ["auto", "all"] {
        for way in WAYS {
            // A thread is named by its id: the first one.
            let way: Vec<String> =
                way.iter().map(|word| if *word == "main-or-other" { pid.into() } else { word.to_string() }).collect();
            let file = directory.join(format!("{}.hangsnap", printed.len() + 100)).display().to_string();
            let text = succeed(hangsnap().args(["--pid", pid, "--stop", stop, "-o", &file]).args(&way));
            printed.push(Printed { way, text, file });
        }
    }
    printed
}

fn assert_same_now_and_after_the_end(mut victim: Victim) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let printed = print(&victim.pid(), directory.path());
    for printed in &printed {
        assert_eq!(printed.later(), printed.text, "{:?}, while the target lives", printed.way);
    }
    victim.child.kill().expect("it is our child");
    victim.child.wait().expect("it is our child");
    for printed in &printed {
        assert_eq!(printed.later(), printed.text, "{:?}, after the target has ended", printed.way);
    }
}

#[test]
fn of_a_target_that_sleeps() {
    let program = compile("gcc", "sleeper.c", &["-O1", "-g", "-pthread"]);
    assert_same_now_and_after_the_end(Victim::start(&mut Command::new(program)));
}

#[test]
fn of_a_target_that_is_static() {
    let program = compile("gcc", "sleeper.c", &["-O1", "-g", "-pthread", "-static"]);
    assert_same_now_and_after_the_end(Victim::start(&mut Command::new(program)));
}

#[test]
fn of_a_target_that_works() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = compile("gcc", "counters.c", &["-O1", "-g", "-pthread"]);
    let mut command = Command::new(program);
    assert_same_now_and_after_the_end(Victim::start(command.arg(directory.path().join("counters"))));
}

#[test]
fn of_a_target_with_threads_that_cannot_be_held() {
    let program = compile("gcc", "lives.c", &["-O1", "-g", "-pthread"]);
    let (victim, _input) = start_told(Command::new(program).arg("vfork"));
    until("a thread sleeps uninterruptibly", PATIENCE, || victim.states().contains(&'D'));
    assert_same_now_and_after_the_end(victim);
}

#[test]
fn of_two_targets_in_a_directory() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let program = compile("gcc", "sleeper.c", &["-O1", "-g", "-pthread"]);
    let victims = [Victim::start(&mut Command::new(&program)), Victim::start(&mut Command::new(&program))];
    for json in [&[][..], &["--json"]] {
        let output = directory.path().join(format!("{}", json.len()));
        let mut command = hangsnap();
        command.args(["--pid", &victims[0].pid(), "--pid", &victims[1].pid(), "-o"]).arg(&output).args(json);
        let text = succeed(&mut command);
        let shown = victims.each_ref().map(|victim| {
            let file = std::fs::read_dir(&output)
                .expect("it was made")
                .map(|entry| entry.expect("an entry").path())
                .find(|path| path.to_string_lossy().contains(&format!("-{}-", victim.pid())))
                .expect("a file for each");
            succeed(hangsnap().arg("show").arg(file).args(json))
        });
        assert_eq!(text, shown.join(if json.is_empty() { "\n" } else { "" }));
    }
}

/// A snapshot that is only printed and one that is kept, too, have the same text. They are two
/// snapshots of a process at rest.
#[test]
fn what_is_printed_without_being_kept_is_the_same_text() {
    let victim = Victim::start(&mut Command::new(compile("gcc", "sleeper.c", &["-O1", "-g", "-pthread"])));
    let directory = tempfile::tempdir().expect("a temporary directory");
    for stop in ["auto", "all", "none"] {
        let file = directory.path().join(stop);
        let threads = |text: String| text.split_once("\n\n").map(|(_, threads)| threads.to_owned()).expect("threads");
        let only = threads(succeed(hangsnap().args(["--pid", &victim.pid(), "--stop", stop])));
        let kept = threads(succeed(hangsnap().args(["--pid", &victim.pid(), "--stop", stop, "-o"]).arg(&file)));
        assert_eq!(only, kept, "--stop {stop}");
        assert!(only.contains("sleeping in"), "{only}");
    }
}
