//! Samples of one target, each taken when the caller says so: for a daemon, whose targets come and
//! go and have times of their own.
//!
//! Promises what the sampler does: each sample is of one program, within the target's share of
//! time. Each that was taken must be assembled, in order, for the next may refer to it.

use super::assemble::Assembler;
use super::sampler::within_budget;
use super::watch::TargetWatch;
use super::{CaptureOptions, Error, Event, ImageGuard, Sample};
use crate::capture::{Budget, Tracer};
use crate::model::{Process, Snapshot};
use crate::process::Target;

/// A target and what the next sample of it needs.
pub struct Stream {
    target: Target,
    guard: ImageGuard,
    budget: Budget,
    options: CaptureOptions,
    watch: Option<TargetWatch>,
    number: u64,
}

/// What was copied of a target, and is not yet a snapshot.
pub struct TakenSample(Box<Sample>);

/// Turns what was copied into snapshots, for all streams.
pub struct Assembly(Assembler);

impl Stream {
    /// For this target. `max_duty` is the share of time for which threads may be held, in
    /// millionths. Errors if memory is asked for by a name that it does not have.
    pub fn new(target: Target, options: &CaptureOptions, max_duty: u32) -> Result<Self, Error> {
        let guard = ImageGuard::for_changes(&target, options)?;
        let budget = Budget::new(max_duty, options.max_hold);
        Ok(Self { target, guard, budget, options: options.clone(), watch: None, number: 0 })
    }

    /// The target.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// That the target has ended, and which processes have come from it.
    pub fn ended(&self) -> Event {
        self.watch.as_ref().map_or(Event::Ended { successors: Vec::new() }, TargetWatch::ended)
    }

    /// Takes the next sample, and says what has happened to the target since the one before. None
    /// when it has ended.
    pub fn take(&mut self, tracer: &mut Tracer) -> Result<Option<(TakenSample, Vec<Event>)>, Error> {
        if !self.target.is_alive() {
            return Ok(None);
        }
        let number = self.number + 1;
        let Self { target, guard, budget, options, .. } = self;
        let Some(sample) = within_budget(target, number, guard, options, budget, tracer)? else {
            return Ok(None);
        };
        self.number = number;
        let events = match &mut self.watch {
            Some(watch) => watch.look(&self.target, &sample),
            None => {
                self.watch = Some(TargetWatch::new(&self.target, &sample));
                Vec::new()
            }
        };
        Ok(Some((TakenSample(Box::new(sample)), events)))
    }
}

impl Assembly {
    /// For streams with these options.
    pub fn new(options: &CaptureOptions) -> Self {
        Self(Assembler::new(options))
    }

    /// The snapshot of what was copied.
    pub fn snapshot(&mut self, taken: TakenSample) -> Snapshot {
        self.0.assemble(*taken.0)
    }

    /// Keeps of a snapshot what the next of the same process may refer to.
    pub fn remember(&mut self, snapshot: Snapshot) {
        self.0.remember(snapshot);
    }

    /// Forgets the modules of a process that executes another program.
    pub fn forget_modules(&mut self, process: &Process) {
        self.0.forget_modules(process);
    }

    /// Forgets a process that has ended.
    pub fn forget(&mut self, process: &Process) {
        self.0.forget(process);
    }
}
