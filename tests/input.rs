//! Bad input gets one clear line on standard error and the right exit code, and leaves no
//! file.

mod damaged;
mod pipes;
mod recordings;
mod targets;

use std::path::Path;
use std::process::{Command, Output};

use crate::support::run;

/// Nothing of what was asked for could be done.
const FAILED: i32 = 2;
/// The recording is fine, and has no such snapshot or thread.
const NOT_THERE: i32 = 1;

/// Runs what must fail with this exit code and one line of complaint, which is returned without the
/// name before it.
fn complaint(command: &mut Command, code: i32) -> String {
    let output = run(command);
    assert_eq!(output.status.code(), Some(code), "{command:?}: {output:?}");
    one_line(&output)
}

/// The one line of complaint.
fn one_line(output: &Output) -> String {
    let errors = String::from_utf8(output.stderr.clone()).expect("it complains in text");
    let line = errors.strip_suffix('\n').unwrap_or_else(|| panic!("a whole line: {errors:?}"));
    assert!(!line.chars().any(char::is_control), "one line, and nothing that moves the cursor: {errors:?}");
    line.strip_prefix("hangsnap: ").unwrap_or_else(|| panic!("it says who complains: {line}")).to_owned()
}

fn assert_contains(complaint: &str, parts: &[&str]) {
    for part in parts {
        assert!(complaint.contains(part), "`{part}` is not in: {complaint}");
    }
}

fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).expect("a directory").next().is_none()
}
