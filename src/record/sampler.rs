//! The sampler: every target, every interval, until something ends it.

use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, after, at, bounded, never, select};

use super::assemble::Assembler;
use super::pipeline::{Pipeline, PipelineJob, Skipped};
use super::watch::{Event, TargetWatch};
use super::{CaptureOptions, Error, ImageGuard, Output, Report, Sample, recording};
use crate::capture::{Budget, Tracer};
use crate::process::Target;
use crate::store::{Policy, Writer};
use crate::sys::heap::keep_no_large_pieces;

/// Samples that may wait to be stored.
const QUEUE: usize = 4;

/// What to record.
pub struct RecordingPlan {
    /// The processes.
    pub targets: Vec<Target>,
    /// The time from one sample to the next.
    pub interval: Duration,
    /// How each snapshot is taken.
    pub options: CaptureOptions,
    /// The share of time for which threads may be held, in millionths.
    pub max_duty: u32,
    /// How many samples to take of each target; None for no end.
    pub count: Option<u64>,
    /// How long to go on; None for no end.
    pub length: Option<Duration>,
    /// Where the recordings go.
    pub output: Output,
    /// How long recordings are kept, and how safely.
    pub policy: Policy,
}

/// What ended a recording.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    /// The user ended it, by Ctrl-C or a signal.
    Asked,
    /// The number of snapshots that was asked for.
    Count,
    /// The time that was asked for.
    Length,
    /// No target was left.
    TargetsEnded,
    /// Storing or talking failed; the error says more.
    Failed,
}

impl Ended {
    fn describe(self) -> &'static str {
        match self {
            Self::Asked => "stopped",
            Self::Count => "all samples taken",
            Self::Length => "the time is over",
            Self::TargetsEnded => "nothing left to record",
            Self::Failed => "cannot go on",
        }
    }
}

/// A target with what the next sample of it needs.
struct Sampled {
    target: Target,
    watch: TargetWatch,
    guard: ImageGuard,
    budget: Budget,
    alive: bool,
    taken: u64,
    /// Samples left out since the last one that was taken.
    skipped: Skipped,
}

impl Sampled {
    /// Whether there are to be more samples of it.
    fn is_wanted(&self, count: Option<u64>) -> bool {
        self.alive && count.is_none_or(|count| self.taken < count)
    }
}

/// Records until something ends it. `ready` is called once everything is in place; `asked` receives
/// when the user wants an end.
///
/// The first sample of each target is taken before anything is made, so that what cannot be
/// recorded leaves no files.
pub fn run(
    plan: RecordingPlan,
    mut report: Box<dyn Report>,
    asked: &Receiver<()>,
    ready: impl FnOnce(),
) -> Result<Ended, Error> {
    let RecordingPlan { targets, interval, options, max_duty, count, length, output, policy } = plan;
    keep_no_large_pieces();
    let mut tracer = Tracer::new()?;
    let mut sampled = Vec::new();
    let mut first = Vec::new();
    for target in targets {
        let mut guard = ImageGuard::for_changes(&target, &options)?;
        let mut budget = Budget::new(max_duty, options.max_hold);
        let sample = within_budget(&target, 1, &mut guard, &options, &mut budget, &mut tracer)?
            .ok_or_else(|| Error::EndedTooSoon { pid: target.pid(), name: target.process.name.clone() })?;
        let watch = TargetWatch::new(&target, &sample);
        first.push(sample);
        sampled.push(Sampled { target, watch, guard, budget, alive: true, taken: 1, skipped: Skipped::default() });
    }
    let mut writers: Vec<Writer> = Vec::new();
    let mut told = Ok(());
    for (sampled, sample) in sampled.iter().zip(&first) {
        let path = output.path_for(&sampled.target.process);
        let writer = match Writer::create(&path, &recording(Some(interval)), policy) {
            Ok(writer) => writer,
            Err(error) => {
                writers.iter().for_each(Writer::discard);
                return Err(error.into());
            }
        };
        let threads = sample.captured.threads.len();
        told = told.and(report.begin(&sampled.target, threads, interval, options.stop, writer.path()));
        writers.push(writer);
    }
    // Only now: those that this run has begun are marked, and count among none that ended.
    for (sampled, writer) in sampled.iter().zip(&mut writers) {
        writer.succeed(&output.earlier(&sampled.target.process));
    }
    let mut assembler = Assembler::new(&options);
    if let Err(error) = told {
        // The reader has gone, but what was taken is kept.
        for (writer, sample) in writers.iter_mut().zip(first) {
            writer.append(&assembler.assemble(sample))?;
        }
        writers.into_iter().try_for_each(Writer::finish)?;
        return Err(error.into());
    }
    let (jobs, queue) = bounded(QUEUE);
    // A sender that is dropped when the pipeline ends says that it has: its end is the message.
    let (alive, pipeline_ended) = bounded::<()>(0);
    let files = writers.iter().map(|_| Vec::new()).collect();
    let pipeline = Pipeline { writers, report, assembler, files };
    let worker = thread::spawn(move || {
        let _alive = alive;
        pipeline.run(&queue)
    });
    for (target, sample) in first.into_iter().enumerate() {
        // Fails only if the pipeline has ended, which is noticed below.
        let _ = jobs.send(PipelineJob::Sample { target, sample: Box::new(sample) });
    }
    ready();
    let limits = Limits { interval, options, count, length };
    let ended = schedule(&mut sampled, &mut tracer, &limits, &jobs, asked, &pipeline_ended);
    for (target, sampled) in sampled.iter_mut().enumerate() {
        tell_skipped(target, sampled, &jobs);
    }
    drop(jobs);
    let (mut report, result) = match worker.join() {
        Ok(ended) => ended,
        Err(panic) => std::panic::resume_unwind(panic),
    };
    result?;
    report.end(ended.describe())?;
    Ok(ended)
}

struct Limits {
    interval: Duration,
    options: CaptureOptions,
    count: Option<u64>,
    length: Option<Duration>,
}

impl Limits {
    /// When the sample of this number is due, from when the first was taken.
    fn time_of(&self, number: u64) -> Duration {
        let interval = u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(interval.saturating_mul(number.saturating_sub(1)))
    }

    /// The number of the sample that was due last.
    fn number_at(&self, elapsed: Duration) -> u64 {
        let passed = elapsed.as_nanos() / self.interval.as_nanos().max(1);
        u64::try_from(passed).unwrap_or(u64::MAX).saturating_add(1)
    }
}

fn schedule(
    sampled: &mut [Sampled],
    tracer: &mut Tracer,
    limits: &Limits,
    jobs: &Sender<PipelineJob>,
    asked: &Receiver<()>,
    pipeline_ended: &Receiver<()>,
) -> Ended {
    let begun = Instant::now();
    let over = limits.length.map_or_else(never, after);
    let mut number = 1;
    loop {
        if sampled.iter().all(|sampled| !sampled.alive) {
            return Ended::TargetsEnded;
        }
        if !sampled.iter().any(|sampled| sampled.is_wanted(limits.count)) {
            return Ended::Count;
        }
        select! {
            recv(begun.checked_add(limits.time_of(number + 1)).map_or_else(never, at)) -> _ => {}
            recv(asked) -> _ => return Ended::Asked,
            recv(over) -> _ => return Ended::Length,
            recv(pipeline_ended) -> _ => return Ended::Failed,
        }
        let late = limits.number_at(begun.elapsed()).saturating_sub(number + 1);
        number += 1 + late;
        let wanted = |(_, sampled): &(usize, &mut Sampled)| sampled.is_wanted(limits.count);
        for (target, sampled) in sampled.iter_mut().enumerate().filter(wanted) {
            sampled.skipped.late += late;
            sample(target, sampled, number, &limits.options, tracer, jobs);
        }
    }
}

/// Takes one sample of one target and hands it over with what has happened since the last. A send
/// fails only if the pipeline has ended, which the schedule notices.
fn sample(
    target: usize,
    sampled: &mut Sampled,
    number: u64,
    options: &CaptureOptions,
    tracer: &mut Tracer,
    jobs: &Sender<PipelineJob>,
) {
    if jobs.is_full() {
        sampled.skipped.unstored += 1;
        return;
    }
    tell_skipped(target, sampled, jobs);
    let taken = match sampled.target.is_alive() {
        true => {
            let Sampled { target, guard, budget, .. } = sampled;
            within_budget(target, number, guard, options, budget, tracer)
        }
        false => Ok(None),
    };
    match taken {
        Ok(Some(sample)) => {
            for event in sampled.watch.look(&sampled.target, &sample) {
                let _ = jobs.send(PipelineJob::Event { target, event });
            }
            sampled.taken += 1;
            let _ = jobs.send(PipelineJob::Sample { target, sample: Box::new(sample) });
        }
        Ok(None) => {
            sampled.alive = false;
            let _ = jobs.send(PipelineJob::Event { target, event: sampled.watch.ended() });
        }
        Err(error) => {
            // A program that changes its user can put itself out of reach.
            sampled.alive = false;
            let _ = jobs.send(PipelineJob::Event { target, event: Event::Lost { why: error.to_string() } });
        }
    }
}

/// Takes a sample in the way that the target's share of time allows.
pub(super) fn within_budget(
    target: &Target,
    number: u64,
    guard: &mut ImageGuard,
    options: &CaptureOptions,
    budget: &mut Budget,
    tracer: &mut Tracer,
) -> Result<Option<Sample>, Error> {
    guard.sample(target, options, |request| {
        let (allowed, notice) = budget.allow(request);
        let mut sample = Sample::take(target, number, &allowed, tracer)?;
        if let Some(sample) = &mut sample {
            budget.spend(&sample.captured);
            sample.captured.notices.extend(notice);
        }
        Ok(sample)
    })
}

fn tell_skipped(target: usize, sampled: &mut Sampled, jobs: &Sender<PipelineJob>) {
    let skipped = std::mem::take(&mut sampled.skipped);
    if skipped != Skipped::default() {
        let _ = jobs.send(PipelineJob::Skipped { target, skipped });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_numbered_by_when_they_are_due() {
        let limits = |interval| Limits { interval, options: CaptureOptions::default(), count: None, length: None };
        let seconds = limits(Duration::from_secs(5));
        for (number, due) in [(1, 0), (2, 5), (721, 3600)] {
            let due = Duration::from_secs(due);
            assert_eq!((seconds.time_of(number), seconds.number_at(due)), (due, number));
            assert_eq!(seconds.number_at(due + Duration::from_millis(4999)), number);
        }
        // No interval is too short or too long.
        let shortest = limits(Duration::from_nanos(1));
        assert_eq!(shortest.number_at(Duration::from_secs(1)), 1_000_000_001);
        let longest = limits(Duration::MAX);
        assert_eq!((longest.number_at(Duration::from_secs(1)), longest.time_of(1)), (1, Duration::ZERO));
        assert_eq!(longest.time_of(u64::MAX), Duration::from_nanos(u64::MAX));
    }
}
