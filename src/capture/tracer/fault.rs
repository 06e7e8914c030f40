//! Failures on purpose, for the tests: HANGSNAP_FAULT=POINT:EFFECT makes a step between freeze and
//! release fail in the tracer, each time it is reached.
//!
//! When nothing is set, which is looked up once when the tracer begins, a point costs one load of a
//! word.

use std::process;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid};

/// A step that can fail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Point {
    Seize,
    Interrupt,
    Wait,
    Registers,
    Memory,
    Release,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Effect {
    /// The call returns an error.
    Error,
    /// The deadline passes.
    Late,
    /// The tracer gets SIGKILL.
    Kill,
    /// All of hangsnap does.
    KillAll,
}

static FAULT: OnceLock<(Point, Effect)> = OnceLock::new();

/// Sets what the environment asks for.
pub(super) fn set_from_environment() {
    let Ok(text) = std::env::var("HANGSNAP_FAULT") else {
        return;
    };
    if let Some(fault) = parse(&text) {
        // It is set once in the life of a process.
        let _ = FAULT.set(fault);
    }
}

fn parse(text: &str) -> Option<(Point, Effect)> {
    let (point, effect) = text.split_once(':')?;
    let point = match point {
        "seize" => Point::Seize,
        "interrupt" => Point::Interrupt,
        "wait" => Point::Wait,
        "registers" => Point::Registers,
        "memory" => Point::Memory,
        "release" => Point::Release,
        _ => return None,
    };
    let effect = match effect {
        "error" => Effect::Error,
        "late" => Effect::Late,
        "kill" => Effect::Kill,
        "killall" => Effect::KillAll,
        _ => return None,
    };
    Some((point, effect))
}

/// Fails here if that was asked for: with an error, or not to return at all.
pub(super) fn at(point: Point) -> Result<(), Errno> {
    match FAULT.get() {
        Some((here, effect)) if *here == point => strike(*effect),
        _ => Ok(()),
    }
}

/// Whether the deadline of this step shall pass.
pub(super) fn is_late(point: Point) -> bool {
    FAULT.get() == Some(&(point, Effect::Late))
}

#[cold]
fn strike(effect: Effect) -> Result<(), Errno> {
    match effect {
        Effect::Error => return Err(Errno::EIO),
        Effect::Late => {}
        Effect::KillAll => {
            // The tests see whether it worked.
            let _ = kill(getppid(), Signal::SIGKILL);
            let _ = kill(Pid::this(), Signal::SIGKILL);
        }
        Effect::Kill => {
            let _ = kill(Pid::this(), Signal::SIGKILL);
        }
    }
    match effect {
        Effect::Late => Ok(()),
        _ => process::abort(),
    }
}
