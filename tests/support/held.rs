//! A victim's threads, all held at once by the library: each has all of its registers.

use std::time::Duration;

use hangsnap::capture::{CaptureRequest, Captured, CapturedThread, Context, Tracer};
use hangsnap::model::{Pid, RegisterFile, StopMode, X86_64Register};
use hangsnap::proc::ProcDir;

use super::{PATIENCE, Victim, until};

/// The victim's directory in /proc, and what was copied of it.
///
/// A reference needs all registers of all threads. On a busy host one may not stop in time and be
/// read in place instead, which other tests are about: then all are asked for again, and that is
/// said.
pub fn held(victim: &Victim) -> (ProcDir, Captured) {
    let pid = Pid(i32::try_from(victim.child.id()).expect("a pid"));
    let process = ProcDir::open(pid).expect("the victim is alive");
    let mut tracer = Tracer::of_program(env!("CARGO_BIN_EXE_hangsnap").into()).expect("shared memory");
    let request = CaptureRequest {
        stop: StopMode::All,
        max_hold: Duration::from_secs(1),
        floating_point: false,
        is_go: false,
        memory: Vec::new(),
        after: None,
    };
    let mut captured = None;
    until("all threads were held at once", PATIENCE, || {
        let taken = tracer.take(&process, &request).expect("it can be captured");
        let others = taken.threads.iter().filter(|thread| !matches!(thread.context, Context::Full(_))).count();
        if others > 0 {
            eprintln!("{others} of {} threads were not held, and all are asked for again", taken.threads.len());
        }
        captured = Some(taken);
        others == 0
    });
    (process, captured.expect("it was just taken"))
}

pub fn registers(thread: &CapturedThread) -> RegisterFile<X86_64Register> {
    match &thread.context {
        Context::Full(raw) => raw.interpret().general,
        _ => panic!("thread {} was not held", thread.tid),
    }
}
