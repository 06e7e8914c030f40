//! Files as they were written by earlier versions, with what those versions printed of them.
//!
//! tests/golden/first-format.hangsnap: a static program, so that no library of this machine gives its frames names, by the
//! last version that wrote the first format (the magic HANGSNAP, four bytes of length and four of checksum before each payload).

use std::path::{Path, PathBuf};
use std::process::Command;

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
