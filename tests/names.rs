//! Names and stacks where there is no debug information: programs as distributions ship them, Go's,
//! and code that is made while a program runs. What must be seen is known from the victims'
//! sources.

mod debugdata;
mod deleted;
mod generated;
mod go;
mod moved_text;
mod registered;
mod stripped;
mod uncovered;

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::{PATIENCE, hangsnap, succeed, until};

/// A snapshot of a process, as JSON.
fn look(pid: &str) -> Value {
    read(hangsnap().args(["--pid", pid, "--json"]))
}

/// What hangsnap prints as JSON.
pub(crate) fn read(command: &mut Command) -> Value {
    serde_json::from_str(&succeed(command)).expect("hangsnap prints JSON")
}

/// Waits until the main thread of a victim sleeps where it stays.
fn until_it_pauses(pid: &str) {
    // 34: pause; 35: nanosleep; 230: clock_nanosleep.
    let pauses = || {
        let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
        ["34 ", "35 ", "230 "].iter().any(|number| call.starts_with(number))
    };
    until("the victim pauses", PATIENCE, pauses);
}

pub(crate) fn array(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

/// The functions on a thread's stack, innermost first; `?` for one without a name.
pub(crate) fn functions(thread: &Value) -> Vec<String> {
    let name = |function: &Value| function["name"].as_str().unwrap_or("?").to_owned();
    let of_frame = |frame: &Value| -> Vec<String> {
        let names: Vec<String> = array(&frame["functions"]).iter().map(name).collect();
        if names.is_empty() { vec!["?".into()] } else { names }
    };
    array(&thread["frames"]).iter().flat_map(of_frame).collect()
}

/// Asserts that these functions are on the stack in this order, though others may be between them,
/// and that it is whole.
pub(crate) fn assert_stack(what: &str, thread: &Value, chain: &[&str]) {
    let functions = functions(thread);
    let mut rest = functions.iter();
    for wanted in chain {
        assert!(rest.any(|name| name == wanted), "{what}: {wanted} is not where it must be in {functions:#?}");
    }
    assert_eq!(thread["incomplete"], Value::Null, "{what}: {functions:#?}");
}
