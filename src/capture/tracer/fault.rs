//! Failures on purpose at each step between freeze and release, and a count of what is allocated
//! there. For tests.
//!
//! Only builds with the Cargo feature `fault-points` have them, which are those that `cargo test`
//! makes. In any other build `at`, `is_late` and `no_allocation` do nothing, and no variable of the
//! environment is read.
//!
//! `HANGSNAP_FAULT=POINT:EFFECT` makes a step fail in the tracer each time it is reached.
//! `HANGSNAP_ALLOCATIONS=FILE` makes the tracer append a line to FILE after each snapshot: how
//! often threads were held so far, and how often the allocator was called meanwhile.

pub(super) use build::{at, is_late, no_allocation, report_allocations, set_from_environment};

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

#[cfg(not(feature = "fault-points"))]
mod build {
    use nix::errno::Errno;

    use super::Point;

    pub(in super::super) fn set_from_environment() {}

    pub(in super::super) fn at(_: Point) -> Result<(), Errno> {
        Ok(())
    }

    pub(in super::super) fn is_late(_: Point) -> bool {
        false
    }

    /// While this exists the calling thread must not allocate.
    pub(in super::super) struct NoAllocation;

    impl NoAllocation {
        /// The calling thread holds nothing any more.
        pub(in super::super) fn end(self) {}
    }

    pub(in super::super) fn no_allocation() -> NoAllocation {
        NoAllocation
    }

    pub(in super::super) fn report_allocations() {}
}

#[cfg(feature = "fault-points")]
mod build {
    use std::fs::OpenOptions;
    use std::hint::black_box;
    use std::io::Write;
    use std::process;
    use std::sync::OnceLock;

    use nix::errno::Errno;
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::{Pid, getppid};

    use super::Point;
    use crate::sys::counting::{self, Watched};

    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    enum Effect {
        /// The call returns an error.
        Error,
        /// The deadline passes.
        Late,
        /// Something is allocated, which must not be.
        Allocate,
        /// The tracer gets SIGKILL.
        Kill,
        /// All of hangsnap does.
        KillAll,
    }

    static FAULT: OnceLock<(Point, Effect)> = OnceLock::new();

    /// Sets what the environment asks for.
    pub(in super::super) fn set_from_environment() {
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
            "allocate" => Effect::Allocate,
            "kill" => Effect::Kill,
            "killall" => Effect::KillAll,
            _ => return None,
        };
        Some((point, effect))
    }

    /// Fails here if that was asked for: with an error, or not to return at all.
    pub(in super::super) fn at(point: Point) -> Result<(), Errno> {
        match FAULT.get() {
            Some((here, effect)) if *here == point => strike(*effect),
            _ => Ok(()),
        }
    }

    /// Whether the deadline of this step shall pass.
    pub(in super::super) fn is_late(point: Point) -> bool {
        FAULT.get() == Some(&(point, Effect::Late))
    }

    #[cold]
    fn strike(effect: Effect) -> Result<(), Errno> {
        match effect {
            Effect::Error => return Err(Errno::EIO),
            Effect::Late => return Ok(()),
            Effect::Allocate => {
                drop(black_box(Box::new(0_u64)));
                return Ok(());
            }
            Effect::KillAll => {
                // The tests see whether it worked.
                let _ = kill(getppid(), Signal::SIGKILL);
            }
            Effect::Kill => {}
        }
        let _ = kill(Pid::this(), Signal::SIGKILL);
        process::abort();
    }

    /// What the calling thread allocates while this exists is counted.
    pub(in super::super) fn no_allocation() -> Watched {
        Watched::begin()
    }

    /// Appends the counts to the file that the environment names.
    pub(in super::super) fn report_allocations() {
        let Some(path) = std::env::var_os("HANGSNAP_ALLOCATIONS") else {
            return;
        };
        let (holds, calls) = counting::counts();
        // The test sees what is missing.
        if let Ok(mut file) = OpenOptions::new().create(true).append(true).open(path) {
            let _ = writeln!(file, "{holds} {calls}");
        }
    }
}
