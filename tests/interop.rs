//! A recording needs no hangsnap to be read: a script in another language, with classes that
//! another compiler made of the .proto file, finds the same threads and frames in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{Victim, compile, hangsnap, long_form, recorder, succeed};

/// The frames of each thread in each snapshot, with its name and state.
type Threads = BTreeMap<(u64, i32), Vec<String>>;

#[test]
fn a_python_script_reads_a_recording_with_classes_by_protoc() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut protoc = Command::new("protoc");
    protoc.arg("-I").arg(root.join("proto")).arg("--python_out").arg(directory.path());
    succeed(protoc.arg("hangsnap/v1/snapshot.proto"));
    // Its threads come and go and move between samples, and there are more of them than from one
    // whole snapshot to the next.
    let victim = Victim::start(&mut Command::new(compile("gcc", "restless.c", &["-O1", "-pthread"])));
    let recording = directory.path().join("restless.hangsnap");
    let count = if long_form() { "1000" } else { "100" };
    succeed(recorder(&victim.pid(), "20ms").args(["--count", count, "-o"]).arg(&recording));
    let segment = fs::read_dir(&recording)
        .expect("a directory of segments")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.extension().is_some_and(|extension| extension == "segment"))
        .expect("a segment");
    // Debian's package is for Debian's Python, whichever comes first on the path.
    let mut python = Command::new("/usr/bin/python3");
    python.env("PYTHONPATH", directory.path()).arg(root.join("tests/interop/threads.py")).arg(&segment);
    let output = succeed(&mut python);
    let mut told = Threads::new();
    for line in output.lines() {
        let mut words = line.split('\t');
        let mut number = || words.next().expect("a number").parse().expect("a number");
        let (snapshot, tid) = (number(), number());
        let tid = i32::try_from(tid).expect("a thread's id");
        told.insert((snapshot, tid), words.map(str::to_owned).collect());
    }
    let shown = shown(&recording);
    let snapshots: Vec<u64> = shown.keys().map(|(number, _)| *number).collect();
    assert!(shown.len() > 1000 && snapshots.last() > Some(&64), "{} threads in all", shown.len());
    for (thread, frames) in &shown {
        assert_eq!(told.get(thread), Some(frames), "snapshot and thread {thread:?}");
    }
    assert_eq!(told.len(), shown.len(), "no thread too many");
}

/// The same as hangsnap shows it.
fn shown(recording: &Path) -> Threads {
    let listed = succeed(hangsnap().args(["list", "--json"]).arg(recording));
    let listed: serde_json::Value = serde_json::from_str(&listed).expect("JSON");
    let mut threads = Threads::new();
    for snapshot in listed["snapshots"].as_array().expect("snapshots") {
        let number = snapshot["number"].as_u64().expect("a number");
        let document = succeed(hangsnap().args(["show", "--json", "--at", &number.to_string()]).arg(recording));
        let document: serde_json::Value = serde_json::from_str(&document).expect("JSON");
        for thread in document["threads"].as_array().expect("threads") {
            let mut words = vec![text(&thread["name"]), letter(&thread["state"])];
            for frame in thread["frames"].as_array().expect("frames") {
                words.push(match frame["module"].as_str() {
                    Some(module) => format!("{module}+{}", text(&frame["file_address"])),
                    None => text(&frame["address"]),
                });
            }
            let tid = thread["tid"].as_i64().and_then(|tid| i32::try_from(tid).ok()).expect("a thread's id");
            threads.insert((number, tid), words);
        }
    }
    threads
}

fn letter(state: &serde_json::Value) -> String {
    match text(state).as_str() {
        "running" => "R",
        "sleeping" => "S",
        "uninterruptible" => "D",
        "stopped" => "T",
        "traced" => "t",
        "exited" => "Z",
        "dead" => "X",
        other => panic!("a state that is not in src/render/json/README.md: {other}"),
    }
    .into()
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().expect("text").to_owned()
}
