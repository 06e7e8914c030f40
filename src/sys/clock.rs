//! The two clocks, read through the vdso: tens of nanoseconds a call, no entry into the kernel.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::model::Timestamp;

/// A point on CLOCK_MONOTONIC, for measuring how long something took.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Instant(u64);

impl Instant {
    /// This moment.
    pub fn now() -> Self {
        Self(nanoseconds(ClockId::CLOCK_MONOTONIC).unsigned_abs())
    }

    /// Nanoseconds since the clock's beginning; what one process of a machine says another
    /// understands.
    pub fn nanoseconds(self) -> u64 {
        self.0
    }

    /// The point that `nanoseconds` gave.
    pub fn from_nanoseconds(nanoseconds: u64) -> Self {
        Self(nanoseconds)
    }

    /// The point that lies this much later.
    pub fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long ago it was.
    pub fn elapsed(self) -> Duration {
        Self::now().since(self)
    }

    /// Zero if `earlier` is in fact later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Both clocks, read one after the other.
pub fn timestamp() -> Timestamp {
    Timestamp {
        realtime_ns: nanoseconds(ClockId::CLOCK_REALTIME),
        monotonic_ns: nanoseconds(ClockId::CLOCK_MONOTONIC).unsigned_abs(),
    }
}

fn nanoseconds(clock: ClockId) -> i64 {
    // clock_gettime(2) fails only for a clock that does not exist; these two exist on every Linux.
    clock_gettime(clock).map_or(0, |time| time.tv_sec().saturating_mul(1_000_000_000).saturating_add(time.tv_nsec()))
}
