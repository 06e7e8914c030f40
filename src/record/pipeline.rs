//! Behind the queue: unwinds, stores and reports what the scheduling thread captured.

use crossbeam_channel::Receiver;

use super::assemble::Assembler;
use super::progress::Progress;
use super::watch::Event;
use super::{Error, Sample};
use crate::model::Process;
use crate::store::Writer;

/// What the scheduling thread hands over, about the target of this number.
pub(super) enum Job {
    Sample { target: usize, sample: Box<Sample> },
    Skipped { target: usize, count: u64 },
    Event { target: usize, event: Event },
}

/// The recordings of a run that are being written.
pub(super) struct Pipeline {
    pub(super) writers: Vec<Writer>,
    pub(super) progress: Progress,
    pub(super) assembler: Assembler,
}

impl Pipeline {
    /// Works off the queue until it is closed.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) -> (Progress, Result<(), Error>) {
        let mut last: Vec<Option<Process>> = vec![None; self.writers.len()];
        for job in jobs {
            if let Err(error) = self.work(job, &mut last) {
                return (self.progress, Err(error));
            }
        }
        (self.progress, Ok(()))
    }

    fn work(&mut self, job: Job, last: &mut [Option<Process>]) -> Result<(), Error> {
        match job {
            Job::Sample { target, sample } => {
                let snapshot = self.assembler.assemble(*sample);
                let stored = self.writers[target].append(&snapshot)?;
                self.progress.sample(target, &snapshot, stored)?;
                last[target] = Some(snapshot.process);
            }
            Job::Skipped { target, count } => self.progress.skipped(target, count)?,
            Job::Event { target, event } => {
                // Modules of a program that is no longer running would never be asked for again.
                if let (Event::Executed { .. } | Event::Ended { .. } | Event::Lost { .. }, Some(process)) =
                    (&event, last[target].take())
                {
                    self.assembler.forget(&process);
                }
                self.progress.event(target, &event)?;
            }
        }
        Ok(())
    }
}
