//! The share of time for which threads of a target may be held.
//!
//! Time that passes earns credit, the time for which the most affected thread was held spends it. A
//! snapshot may hold threads only for as long as there is credit for, so that over any length of
//! time no thread is held for more than the share of it, and the credit that was saved up: one full
//! hold. What there is not enough credit for is taken in a less intrusive way.

use std::time::Duration;

use super::{CaptureRequest, Captured};
use crate::model::{Cause, Notice, Reason, StopMode, Subject};
use crate::sys::clock::Instant;

/// The least time that is worth beginning with: with less, a tracer that has to wait for its CPU
/// would be killed.
const LEAST: Duration = Duration::from_millis(2);

/// The account of one target.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// The share, in millionths.
    share: u32,
    most: Duration,
    credit: Duration,
    at: Instant,
    /// What the last snapshot of all threads together cost.
    together: Duration,
}

impl Budget {
    /// `share` is in millionths; `max_hold` is what may be saved up.
    pub fn new(share: u32, max_hold: Duration) -> Self {
        Self { share, most: max_hold, credit: max_hold, at: Instant::now(), together: LEAST.min(max_hold) }
    }

    /// The request that may be made now in place of this one, and the notice that says so if it is
    /// another.
    pub fn allow(&mut self, request: &CaptureRequest) -> (CaptureRequest, Option<Notice>) {
        self.allow_at(request, Instant::now())
    }

    fn allow_at(&mut self, request: &CaptureRequest, now: Instant) -> (CaptureRequest, Option<Notice>) {
        let earned = now.since(self.at).as_nanos() * u128::from(self.share) / 1_000_000;
        self.at = now;
        let earned = Duration::from_nanos(u64::try_from(earned).unwrap_or(u64::MAX));
        self.credit = self.credit.saturating_add(earned).min(self.most);
        let stop = match request.stop {
            StopMode::All if self.credit >= self.together => StopMode::All,
            StopMode::All | StopMode::OneAtATime if self.credit >= LEAST.min(self.most / 2) => StopMode::OneAtATime,
            _ => StopMode::None,
        };
        let allowed = CaptureRequest { stop, max_hold: request.max_hold.min(self.credit), ..request.clone() };
        let degraded = Notice { subject: Subject::Process, reason: Reason::Degraded { to: stop, cause: Cause::Duty } };
        (allowed, (stop != request.stop).then_some(degraded))
    }

    /// Accounts for a snapshot.
    pub fn spend(&mut self, captured: &Captured) {
        self.spend_time(captured.stop, captured.longest_hold());
    }

    fn spend_time(&mut self, stop: StopMode, longest: Duration) {
        if stop == StopMode::All {
            // The next may take a little longer, and must find the time for it.
            self.together = (longest + longest / 4).max(LEAST).min(self.most);
        }
        self.credit = self.credit.saturating_sub(longest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOLD: Duration = Duration::from_millis(10);

    fn request(stop: StopMode) -> CaptureRequest {
        CaptureRequest { stop, max_hold: HOLD, floating_point: false, is_go: false, memory: Vec::new(), after: None }
    }

    fn after(start: Instant, time: Duration) -> Instant {
        Instant::from_nanoseconds(start.nanoseconds() + u64::try_from(time.as_nanos()).expect("short"))
    }

    /// A thousand snapshots of all threads, 8 ms each, every 100 ms, and 1% may be spent: all
    /// that is held together is no more than 1% and one hold.
    #[test]
    fn the_share_of_time_is_never_exceeded() {
        let mut budget = Budget::new(10_000, HOLD);
        let start = budget.at;
        let (mut held, mut together) = (Duration::ZERO, 0);
        for number in 0..1000 {
            let now = after(start, Duration::from_millis(100) * number);
            let (allowed, notice) = budget.allow_at(&request(StopMode::All), now);
            assert_eq!(notice.is_some(), allowed.stop != StopMode::All);
            let takes = match allowed.stop {
                StopMode::All => Duration::from_millis(8),
                StopMode::OneAtATime => Duration::from_micros(40),
                StopMode::None => Duration::ZERO,
            };
            let longest = takes.min(allowed.max_hold);
            budget.spend_time(allowed.stop, longest);
            held += longest;
            together += u32::from(allowed.stop == StopMode::All);
            assert!(held <= now.since(start) / 100 + HOLD, "{held:?} after {number} snapshots");
        }
        assert!(together > 30, "only {together} of them were taken as asked");
    }

    #[test]
    fn what_costs_little_is_always_allowed() {
        let mut budget = Budget::new(10_000, HOLD);
        let start = budget.at;
        for number in 0..1000 {
            let now = after(start, Duration::from_secs(5) * number);
            let (allowed, notice) = budget.allow_at(&request(StopMode::OneAtATime), now);
            assert_eq!((allowed, notice), (request(StopMode::OneAtATime), None));
            budget.spend_time(StopMode::OneAtATime, Duration::from_micros(100));
        }
    }

    #[test]
    fn without_credit_nothing_is_stopped() {
        let mut budget = Budget::new(10_000, HOLD);
        let start = budget.at;
        budget.spend_time(StopMode::All, HOLD);
        let (allowed, notice) = budget.allow_at(&request(StopMode::All), start);
        assert_eq!(allowed.stop, StopMode::None);
        assert!(notice.is_some());
    }
}
