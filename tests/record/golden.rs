//! Files as they were written by earlier versions, with what those versions printed of them.
//!
//! tests/golden/first-format.hangsnap: a static program, so that no library of this machine gives
//! its frames names, by the last version that wrote the first format (the magic HANGSNAP, four
//! bytes of length and four of checksum before each payload).
//!
//! tests/golden/second-format.hangsnap: four snapshots, half a second apart, of the program beside
//! it, on a host called golden. What is expected of it was not printed by anything, but written
//! down from the source, tests/golden/freestanding.c. Between the second and the third snapshot it
//! was sent the byte that it waits for.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{hangsnap, succeed};

fn golden(name: &str) -> String {
    std::fs::read_to_string(directory().join(name)).expect("it is checked in")
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The list names the file as it was named, so it is run where the file is.
fn printed(arguments: &[&str]) -> String {
    let mut command: Command = hangsnap();
    succeed(command.current_dir(directory()).args(arguments))
}

#[test]
fn a_file_of_the_first_format_is_read_as_it_was_then() {
    let file = "first-format.hangsnap";
    assert_eq!(printed(&["list", file]), golden("first-format.list"));
    assert_eq!(printed(&["show", file, "--at", "2", "--verbose", "--registers"]), golden("first-format.show"));
    assert_eq!(printed(&["show", file, "--json"]), golden("first-format.json"));
    assert!(printed(&["check", file]).contains(": whole; 3 snapshots (1 to 3)"));
    printed(&["diff", file]);
}

fn document(arguments: &[&str]) -> Value {
    serde_json::from_str(&printed(arguments)).expect("JSON")
}

/// The names of a thread's functions, innermost first, and how each frame was found.
fn stack(thread: &Value) -> Vec<(&str, &str)> {
    let frames = thread["frames"].as_array().expect("frames");
    frames
        .iter()
        .map(|frame| {
            let function = frame["functions"][0]["name"].as_str().expect("a name");
            (function, frame["found_by"].as_str().expect("how it was found"))
        })
        .collect()
}

#[test]
fn a_recording_of_the_second_format_is_read_as_the_program_was() {
    const FILE: &str = "second-format.hangsnap";
    let show = |number: &str| document(&["show", FILE, "--json", "--sysroot", ".", "--at", number]);
    for number in 1..=4 {
        let shown = show(&number.to_string());
        assert_eq!(shown["number"], number);
        assert_eq!(shown["program"], "freestanding");
        assert_eq!(
            (&shown["executable"], &shown["command"]),
            (&json!("/opt/freestanding"), &json!(["/opt/freestanding"]))
        );
        assert_eq!((&shown["notices"], &shown["files_not_found"]), (&json!([]), &json!([])));
        let [first, second] = shown["threads"].as_array().expect("threads").as_slice() else { panic!("{shown}") };
        for thread in [first, second] {
            assert_eq!((&thread["state"], &thread["incomplete"]), (&json!("sleeping"), &json!(null)), "{thread}");
            // The build-id that `readelf -n` prints of the program.
            assert_eq!(thread["frames"][0]["build_id"], "eebb38715a95a9d5d23f9fc381c091ada5d95add");
        }
        assert_eq!((&first["tid"], &first["name"]), (&shown["pid"], &json!("freestanding")));
        let call = &first["system_call"];
        if number <= 2 {
            assert_eq!(stack(first).iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["listens", "begins", "_start"]);
            assert_eq!(
                (&call["name"], &call["arguments"][0], &call["arguments"][2]),
                (&json!("read"), &json!("0x0"), &json!("0x1"))
            );
        } else {
            let by_cfi = |name| (name, "cfi");
            let deeper = [by_cfi("deeper"); 4];
            let expected = [&[("waits", "context")], &deeper[..], &[by_cfi("begins"), by_cfi("_start")]].concat();
            assert_eq!(stack(first), expected);
            assert_eq!(
                (&call["name"], &call["arguments"][1], &call["arguments"][2]),
                (&json!("futex"), &json!("0x0"), &json!("0x2a"))
            );
            // The word is surrounded by 64 bytes on either side, in which there is nothing.
            let bytes = first["memory"][0]["bytes"].as_str().expect("the word's memory");
            assert_eq!(bytes, format!("{}2a000000{}", "00".repeat(64), "00".repeat(64)));
        }
        assert_eq!((&second["name"], &second["system_call"]["name"]), (&json!("napper"), &json!("pause")));
        assert_eq!(stack(second), [("naps", "context"), ("_start", "cfi")]);
    }
    let compared = document(&["diff", FILE, "1", "4", "--json", "--sysroot", "."]);
    let changes: Vec<&Value> =
        compared["threads"].as_array().expect("threads").iter().map(|thread| &thread["change"]).collect();
    assert_eq!(changes, ["moved", "same"]);
    assert_eq!(compared["threads"][1]["same_in_snapshots"], 4);
    let listed = document(&["list", FILE, "--json"]);
    assert_eq!((&listed["host"], &listed["interval_ns"]), (&json!("golden"), &json!(500_000_000)));
    let each = |field: &str| -> Vec<Value> {
        listed["snapshots"].as_array().expect("snapshots").iter().map(|snapshot| snapshot[field].clone()).collect()
    };
    assert_eq!((each("threads"), each("losses")), (vec![json!(2); 4], vec![json!(0); 4]));
    assert!(printed(&["check", FILE]).contains(": whole; 4 snapshots (1 to 4) in 1 segment"));
}
