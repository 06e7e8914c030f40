//! A victim's threads, all held at once by the library: each has all of its registers.

use std::time::Duration;

use hangsnap::capture::{Captured, CapturedThread, Context, Order, Tracer};
use hangsnap::model::{Pid, RegisterFile, StopMode};
use hangsnap::proc::ProcDir;

use super::Victim;

/// The victim's directory in /proc, and what was copied of it.
pub fn held(victim: &Victim) -> (ProcDir, Captured) {
    let pid = Pid(i32::try_from(victim.child.id()).expect("a pid"));
    let process = ProcDir::open(pid).expect("the victim is alive");
    let mut tracer = Tracer::of_program(env!("CARGO_BIN_EXE_hangsnap").into()).expect("shared memory");
    let order = Order {
        stop: StopMode::All,
        max_hold: Duration::from_secs(1),
        floating_point: false,
        is_go: false,
        memory: Vec::new(),
        after: None,
    };
    let captured = tracer.take(&process, &order).expect("it can be captured");
    (process, captured)
}

pub fn registers(thread: &CapturedThread) -> RegisterFile {
    match &thread.context {
        Context::Full(raw) => raw.interpret().general,
        _ => panic!("thread {} was not held", thread.tid),
    }
}
