//! Whether something that usually happens has stopped happening, by what was usual before.
//!
//! A server that is idle does not run for hours, and that is as it should be; one that ran each
//! second and has not for ten hangs. So the times between one run and the next are remembered, and
//! a pause counts only if it is much longer than those were.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How many pauses are remembered.
const MEMORY: usize = 32;
/// Fewer say nothing of what is usual.
const ENOUGH: usize = 8;
/// How many times as long as the longest usual pause an unusual one is.
const FACTOR: u32 = 3;

/// What was usual of one thing.
#[derive(Clone, Debug)]
pub(super) struct Usual {
    last: Instant,
    pauses: VecDeque<Duration>,
}

impl Usual {
    /// Knows nothing.
    pub(super) fn new(now: Instant) -> Self {
        Self { last: now, pauses: VecDeque::new() }
    }

    /// It happened just now.
    pub(super) fn happened(&mut self, now: Instant) {
        if self.pauses.len() == MEMORY {
            self.pauses.pop_front();
        }
        self.pauses.push_back(now.duration_since(self.last));
        self.last = now;
    }

    /// For how long it has not happened, if that is at least this long and unusual.
    pub(super) fn missing(&self, now: Instant, least: Duration) -> Option<Duration> {
        let pause = now.duration_since(self.last);
        let longest = self.pauses.iter().max()?;
        (self.pauses.len() >= ENOUGH && pause >= least && pause >= longest.saturating_mul(FACTOR)).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_pause_counts_only_where_there_are_usually_none() {
        let begun = Instant::now();
        let mut usual = Usual::new(begun);
        assert_eq!(usual.missing(begun + 60 * SECOND, SECOND), None, "nothing is known yet");
        for second in 1..=10 {
            usual.happened(begun + second * SECOND);
        }
        assert_eq!(usual.missing(begun + 12 * SECOND, SECOND), None, "twice the usual");
        assert_eq!(usual.missing(begun + 14 * SECOND, 5 * SECOND), None, "not as long as was asked for");
        assert_eq!(usual.missing(begun + 20 * SECOND, 5 * SECOND), Some(10 * SECOND));
        usual.happened(begun + 70 * SECOND);
        assert_eq!(usual.missing(begun + 90 * SECOND, 5 * SECOND), None, "a long pause has become usual");
    }
}
