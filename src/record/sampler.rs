//! The sampler: every target, every interval, until something ends it.

use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, after, bounded, never, select, tick};

use super::assemble::Assembler;
use super::pipeline::{Job, Pipeline};
use super::progress::{Progress, Voice};
use super::watch::{Event, Watch};
use super::{Error, Manner, Output, Sample, recording};
use crate::capture::{Budget, Order, Tracer};
use crate::store::{Policy, Writer};
use crate::sys::heap::keep_no_large_pieces;
use crate::target::Target;

/// Samples that may wait to be stored.
const QUEUE: usize = 4;

/// What to record.
pub struct Plan {
    pub targets: Vec<Target>,
    pub interval: Duration,
    pub manner: Manner,
    /// The share of time for which threads may be held, in millionths.
    pub max_duty: u32,
    /// How many samples to take of each target; None for no end.
    pub count: Option<u64>,
    /// How long to go on; None for no end.
    pub length: Option<Duration>,
    pub output: Output,
    /// How long recordings are kept, and how safely.
    pub policy: Policy,
}

/// What ended a recording.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ended {
    Asked,
    Count,
    Length,
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
    watch: Watch,
    order: Order,
    budget: Budget,
    alive: bool,
    /// Samples left out since the last one that was taken.
    skipped: u64,
}

/// Records until something ends it. `ready` is called once everything is in place; `asked` receives when the user wants
/// an end.
///
/// The first sample of each target is taken before anything is made, so that what cannot be recorded leaves nothing behind.
pub fn run(plan: Plan, voice: Voice, asked: &Receiver<()>, ready: impl FnOnce()) -> Result<Ended, Error> {
    let Plan { targets, interval, manner, max_duty, count, length, output, policy } = plan;
    keep_no_large_pieces();
    let mut tracer = Tracer::new()?;
    let mut sampled = Vec::new();
    let mut first = Vec::new();
    for target in targets {
        let order = for_changes(&manner, manner.order(&target)?, 0);
        let mut budget = Budget::new(max_duty, order.max_hold);
        let sample = within_budget(&target, 1, &order, &mut budget, &mut tracer)?
            .ok_or_else(|| Error::EndedTooSoon { pid: target.pid(), name: target.process.name.clone() })?;
        let watch = Watch::new(&target);
        let order = for_changes(&manner, order, sample.captured.number);
        first.push(sample);
        sampled.push(Sampled { target, watch, order, budget, alive: true, skipped: 0 });
    }
    let mut progress = Progress::new(voice);
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
        told = told.and(progress.begin(&sampled.target, threads, interval, manner.stop, writer.path()));
        writers.push(writer);
    }
    // Only now: those that this run has begun are marked, and count among none that ended.
    for (sampled, writer) in sampled.iter().zip(&mut writers) {
        writer.succeed(&output.earlier(&sampled.target.process));
    }
    let mut assembler = Assembler::new(&manner);
    if let Err(error) = told {
        // Nobody listens any more, but what was taken is kept.
        for (writer, sample) in writers.iter_mut().zip(first) {
            writer.append(&assembler.assemble(sample))?;
        }
        writers.into_iter().try_for_each(Writer::finish)?;
        return Err(error.into());
    }
    let (jobs, queue) = bounded(QUEUE);
    // A sender that is dropped when the pipeline ends tells that it has: its end is the message.
    let (alive, pipeline_ended) = bounded::<()>(0);
    let pipeline = Pipeline { writers, progress, assembler };
    let worker = thread::spawn(move || {
        let _alive = alive;
        pipeline.run(&queue)
    });
    for (target, sample) in first.into_iter().enumerate() {
        // Fails only if the pipeline has ended, which is noticed below.
        let _ = jobs.send(Job::Sample { target, sample: Box::new(sample) });
    }
    ready();
    let limits = Limits { interval, manner, count, length };
    let ended = schedule(&mut sampled, &mut tracer, &limits, &jobs, asked, &pipeline_ended);
    for (target, sampled) in sampled.iter_mut().enumerate() {
        tell_skipped(target, sampled, &jobs);
    }
    drop(jobs);
    let (mut progress, result) = match worker.join() {
        Ok(ended) => ended,
        Err(panic) => std::panic::resume_unwind(panic),
    };
    result?;
    progress.end(ended.describe())?;
    Ok(ended)
}

struct Limits {
    interval: Duration,
    manner: Manner,
    count: Option<u64>,
    length: Option<Duration>,
}

fn schedule(
    sampled: &mut [Sampled],
    tracer: &mut Tracer,
    limits: &Limits,
    jobs: &Sender<Job>,
    asked: &Receiver<()>,
    pipeline_ended: &Receiver<()>,
) -> Ended {
    let ticks = tick(limits.interval);
    let over = limits.length.map_or_else(never, after);
    let mut number = 1;
    loop {
        if limits.count.is_some_and(|count| number >= count) {
            return Ended::Count;
        }
        select! {
            recv(ticks) -> _ => {}
            recv(asked) -> _ => return Ended::Asked,
            recv(over) -> _ => return Ended::Length,
            recv(pipeline_ended) -> _ => return Ended::Failed,
        }
        number += 1;
        for (target, sampled) in sampled.iter_mut().enumerate().filter(|(_, sampled)| sampled.alive) {
            sample(target, sampled, number, &limits.manner, tracer, jobs);
        }
        if sampled.iter().all(|sampled| !sampled.alive) {
            return Ended::TargetsEnded;
        }
    }
}

/// Takes one sample of one target and hands it over with what has happened since the last. A send fails only if the
/// pipeline has ended, which the schedule notices.
fn sample(target: usize, sampled: &mut Sampled, number: u64, manner: &Manner, tracer: &mut Tracer, jobs: &Sender<Job>) {
    if jobs.is_full() {
        sampled.skipped += 1;
        return;
    }
    tell_skipped(target, sampled, jobs);
    let taken = match sampled.target.is_alive() {
        true => within_budget(&sampled.target, number, &sampled.order, &mut sampled.budget, tracer),
        false => Ok(None),
    };
    match taken {
        Ok(Some(sample)) => {
            for event in sampled.watch.look(&sampled.target, &sample.captured) {
                if matches!(event, Event::Executed { .. }) {
                    // Its variables are somewhere else now, or nowhere; the rest of the order holds.
                    match manner.order(&sampled.target) {
                        Ok(order) => sampled.order = for_changes(manner, order, sample.captured.number),
                        Err(_) => sampled.order.memory.clear(),
                    }
                }
                let _ = jobs.send(Job::Event { target, event });
            }
            sampled.order.after = sampled.order.after.map(|_| sample.captured.number);
            let _ = jobs.send(Job::Sample { target, sample: Box::new(sample) });
        }
        Ok(None) => {
            sampled.alive = false;
            let _ = jobs.send(Job::Event { target, event: sampled.watch.ended() });
        }
        Err(error) => {
            // A program that changes its user can put itself out of reach.
            sampled.alive = false;
            let _ = jobs.send(Job::Event { target, event: Event::Lost { why: error.to_string() } });
        }
    }
}

/// The order for a sample of which the pipeline has that of this number, and needs no more than what has changed since, unless the
/// bytes of all stacks are to be kept.
fn for_changes(manner: &Manner, order: Order, number: u64) -> Order {
    Order { after: (!manner.keep_stacks).then_some(number), ..order }
}

/// Takes a sample in the way that the target's share of time allows.
fn within_budget(
    target: &Target,
    number: u64,
    order: &Order,
    budget: &mut Budget,
    tracer: &mut Tracer,
) -> Result<Option<Sample>, Error> {
    let (allowed, notice) = budget.allow(order);
    let mut sample = Sample::take(target, number, &allowed, tracer)?;
    if let Some(sample) = &mut sample {
        budget.spend(&sample.captured);
        sample.captured.notices.extend(notice);
    }
    Ok(sample)
}

fn tell_skipped(target: usize, sampled: &mut Sampled, jobs: &Sender<Job>) {
    let count = std::mem::take(&mut sampled.skipped);
    if count > 0 {
        let _ = jobs.send(Job::Skipped { target, count });
    }
}
