//! One process that is looked at: when its next sample is due, and what a look at it each second
//! says.
//!
//! A look costs two system calls: /proc/PID/stat and the process's CPU clock. The looks of the last
//! minute are kept for the incident.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::incident::Incident;
use super::learned::Usual;
use super::storing::seconds;
use super::trigger::{Burst, Condition, Trigger};
use crate::model::ProcessId;
use crate::proc::{Vitals, pressure, vitals_of};
use crate::record::Stream;

/// Looks that are kept.
const LOOKS: usize = 60;
/// Less CPU time than this since the last look is none: the clock of a process that is looked at
/// may count what an interrupt took.
const NO_TIME: Duration = Duration::from_nanos(1);

/// An incident whose samples are being taken.
pub(super) struct Ongoing {
    pub(super) incident: Incident,
    pub(super) burst: Burst,
    pub(super) left: u32,
    pub(super) raised: Instant,
}

/// One look.
#[derive(Clone, Copy)]
struct Look {
    at: Instant,
    vitals: Vitals,
}

/// A process that is looked at.
pub(super) struct Watched {
    pub(super) id: ProcessId,
    pub(super) selector: usize,
    pub(super) label: String,
    pub(super) stream: Stream,
    /// When its next sample is due.
    pub(super) due: Instant,
    pub(super) ongoing: Option<Ongoing>,
    runs: Usual,
    looks: VecDeque<Look>,
    /// Since when the condition of the trigger of this number holds.
    since: Vec<(usize, Instant)>,
}

impl Watched {
    pub(super) fn new(stream: Stream, selector: usize, label: String, due: Instant) -> Self {
        Self {
            id: stream.target().process.id,
            selector,
            label,
            stream,
            due,
            ongoing: None,
            runs: Usual::new(Instant::now()),
            looks: VecDeque::new(),
            since: Vec::new(),
        }
    }

    /// Says when the next sample is due, one being taken now.
    pub(super) fn schedule(&mut self, interval: Duration, now: Instant) {
        let interval = match &self.ongoing {
            Some(ongoing) => ongoing.burst.every.min(interval),
            None => interval,
        };
        // What is late is not made up for.
        self.due = (self.due + interval).max(now + interval / 2).min(now + interval);
    }

    /// Counts a sample that was taken: the incident, if that was its last.
    pub(super) fn count_sample(&mut self) -> Option<Incident> {
        let ongoing = self.ongoing.as_mut()?;
        if ongoing.left == ongoing.burst.samples {
            ongoing.incident.latency = ongoing.raised.elapsed();
        }
        ongoing.left = ongoing.left.saturating_sub(1);
        self.ongoing.take_if(|ongoing| ongoing.left == 0).map(|ongoing| ongoing.incident)
    }

    /// Looks at the process: which triggers fire, and why. None when it has ended.
    pub(super) fn look(&mut self, triggers: &[Trigger], now: Instant) -> Option<Vec<(usize, String)>> {
        let vitals = vitals_of(self.id.pid).filter(|vitals| vitals.start == self.id.start)?;
        let last = self.looks.back().copied();
        if last.is_none_or(|last| vitals.cpu.saturating_sub(last.vitals.cpu) >= NO_TIME) {
            self.runs.happened(now);
        }
        if self.looks.len() == LOOKS {
            self.looks.pop_front();
        }
        self.looks.push_back(Look { at: now, vitals });
        let mut fired = Vec::new();
        let own = self.selector;
        let of_it = |(_, trigger): &(usize, &Trigger)| trigger.selector.is_none_or(|selector| selector == own);
        for (number, trigger) in triggers.iter().enumerate().filter(of_it) {
            if let Some(reason) = self.judge(number, &trigger.condition, last, vitals, now) {
                fired.push((number, reason));
            }
        }
        Some(fired)
    }

    fn judge(
        &mut self,
        number: usize,
        condition: &Condition,
        last: Option<Look>,
        vitals: Vitals,
        now: Instant,
    ) -> Option<String> {
        match condition {
            Condition::Hang { lasting } => {
                let missing = self.runs.missing(now, *lasting)?;
                Some(format!("no thread has run for {}, which is unusual for it", seconds(missing)))
            }
            Condition::Cpu { above, share, lasting } => {
                let last = last?;
                let time = now.duration_since(last.at).as_secs_f64().max(1e-3);
                let used = vitals.cpu.saturating_sub(last.vitals.cpu).as_secs_f64() / time * 1e6;
                let holds = if *above { used > f64::from(*share) } else { used < f64::from(*share) };
                let time = self.holding(number, holds, *lasting, now)?;
                let word = if *above { "more" } else { "less" };
                Some(format!("{word} than {}% of a CPU for {}", f64::from(*share) / 1e4, seconds(time)))
            }
            Condition::Threads { above } => {
                (vitals.threads > *above).then(|| format!("it has {} threads, more than {above}", vitals.threads))
            }
            Condition::Memory { above } => {
                let mib = |bytes: u64| bytes >> 20;
                let more = vitals.resident > *above;
                more.then(|| format!("it has {} MiB in memory, more than {} MiB", mib(vitals.resident), mib(*above)))
            }
            Condition::Pressure { resource, share, lasting } => {
                let some = pressure(resource)?;
                let time = self.holding(number, some > *share, *lasting, now)?;
                Some(format!(
                    "the host waits for {resource} {}% of the time, for {}",
                    f64::from(some) / 1e4,
                    seconds(time)
                ))
            }
            // Looked at elsewhere: with the snapshots, or by threads of their own.
            Condition::Blocked { .. } | Condition::Heartbeat { .. } | Condition::Probe { .. } => None,
        }
    }

    /// For how long a condition holds, if for at least this long.
    fn holding(&mut self, number: usize, holds: bool, least: Duration, now: Instant) -> Option<Duration> {
        if !holds {
            self.since.retain(|(trigger, _)| *trigger != number);
            return None;
        }
        let since = match self.since.iter().find(|(trigger, _)| *trigger == number) {
            Some((_, since)) => *since,
            None => {
                self.since.push((number, now));
                now
            }
        };
        let time = now.duration_since(since);
        (time >= least).then_some(time)
    }

    /// Other triggers hold from now on, with other numbers.
    pub(super) fn forget_triggers(&mut self) {
        self.since.clear();
    }

    /// The looks of the last minute, a line each.
    pub(super) fn before(&self, now: Instant) -> Vec<String> {
        let pairs = self.looks.iter().zip(self.looks.iter().skip(1));
        let line = |(before, look): (&Look, &Look)| {
            let time = look.at.duration_since(before.at).as_secs_f64().max(1e-3);
            let cpu = look.vitals.cpu.saturating_sub(before.vitals.cpu).as_secs_f64() / time * 100.0;
            format!(
                "-{:.0} s  {cpu:.1}% CPU, {} threads, {} MiB, main thread {}",
                now.duration_since(look.at).as_secs_f64(),
                look.vitals.threads,
                look.vitals.resident >> 20,
                look.vitals.state.name(),
            )
        };
        pairs.map(line).collect()
    }
}
