//! The beginning of an incident: whether it may begin, and what is known of it by then.

use std::time::{Duration, Instant};

use super::Alarm;
use super::cooldown::{Cooldowns, Quiet};
use super::incident::Incident;
use super::log::{Level, Log};
use super::trigger::{Burst, Trigger};
use super::watched::{Ongoing, Watched};
use crate::model::Timestamp;

/// What an incident is called that somebody asked for.
const BY_HAND: &str = "trigger";

/// Whether a trigger may fire for a target now. What is asked for by hand always may.
pub(super) fn may_begin(watched: &Watched, trigger: Option<&Trigger>, cooldowns: &mut Cooldowns, log: &Log) -> bool {
    let Some(trigger) = trigger else { return true };
    let key = format!("{}|{}:{}", trigger.text, watched.id.pid, watched.id.start.0);
    match cooldowns.fire(&watched.label, &key, trigger.cooldown) {
        Ok(()) => true,
        Err(Quiet::For(_)) => false,
        Err(Quiet::TooMany) => {
            let text =
                format!("{}: too many incidents in the last hour; no more are taken of it for now", watched.label);
            log.repeated(Level::Warning, &format!("many {}", watched.label), &text);
            false
        }
    }
}

/// The incident that begins now.
pub(super) fn begin(
    target: u64,
    watched: &Watched,
    alarm: &Alarm,
    trigger: Option<&Trigger>,
    now: Timestamp,
) -> Ongoing {
    let burst = trigger.map_or_else(Burst::default, |trigger| trigger.burst);
    let incident = Incident {
        target,
        label: watched.label.clone(),
        process: watched.stream.target().process.clone(),
        trigger: trigger.map_or_else(|| BY_HAND.into(), |trigger| trigger.text.clone()),
        reason: alarm.reason.clone(),
        at_ns: now.realtime_ns,
        latency: Duration::ZERO,
        before: watched.before(Instant::now()),
    };
    Ongoing { incident, burst, left: burst.samples, raised: alarm.raised }
}
