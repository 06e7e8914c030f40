//! Code without call frame information, where something on the stack looks like a caller and is
//! none.

use std::process::Command;

use super::{array, functions, read, until_it_pauses};
use crate::support::{Victim, compile, hangsnap};

/// The functions from this one on, as many as are expected.
fn from<'a>(functions: &'a [String], first: &str, count: usize) -> Vec<&'a str> {
    functions.iter().map(String::as_str).skip_while(|name| *name != first).take(count).collect()
}

#[test]
fn what_returned_calls_have_left_in_a_large_frame_is_no_caller() {
    let flags = ["-O2", "-fno-asynchronous-unwind-tables", "-fno-unwind-tables", "-fno-optimize-sibling-calls"];
    for compiler in ["gcc", "musl-gcc"] {
        let victim = Victim::start(&mut Command::new(compile(compiler, "large_frame.c", &flags)));
        until_it_pauses(&victim.pid());
        for stop in ["all", "auto", "none"] {
            let document = read(hangsnap().args(["--pid", &victim.pid(), "--json", "--stop", stop]));
            let functions = functions(&array(&document["threads"])[0]);
            let expected = ["waits", "has_much_room", "calls_it", "main"];
            assert_eq!(from(&functions, "waits", 4), expected, "{compiler}, --stop {stop}: {functions:#?}");
        }
    }
}

#[test]
fn a_handler_with_a_frame_pointer_leads_to_what_was_interrupted() {
    let flags = ["-O2", "-static", "-fno-optimize-sibling-calls"];
    let victim = Victim::start(&mut Command::new(compile("musl-gcc", "handler_with_frame.c", &flags)));
    until_it_pauses(&victim.pid());
    for stop in ["all", "auto", "none"] {
        let document = read(hangsnap().args(["--pid", &victim.pid(), "--json", "--stop", stop]));
        let functions = functions(&array(&document["threads"])[0]);
        let mut ours: Vec<&str> = functions
            .iter()
            // A compiler may make a function of its own for the arguments that there are.
            .filter_map(|name| name.split('.').next())
            .filter(|name| ["handles", "raise", "raises", "calls_through", "main"].contains(name))
            .collect();
        // A compiler may make fewer calls of a recursion.
        ours.dedup();
        let expected = ["handles", "raise", "raises", "calls_through", "main"];
        assert_eq!(ours, expected, "--stop {stop}: {functions:#?}");
    }
}
