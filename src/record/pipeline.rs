//! The far end of the queue: unwinds, stores and reports what the scheduling thread captured.

use crossbeam_channel::Receiver;

use super::assemble::Assembler;
use super::watch::Event;
use super::{Error, Report, Sample};
use crate::model::{BundledFile, Process};
use crate::store::{Stored, Writer};

/// What the scheduling thread hands over, about the target of this number.
pub(super) enum PipelineJob {
    Sample { target: usize, sample: Box<Sample> },
    Skipped { target: usize, skipped: Skipped },
    Event { target: usize, event: Event },
}

/// Samples that were not taken.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Skipped {
    /// Those before them were still being stored.
    pub unstored: u64,
    /// Their time had passed when the others were done, or hangsnap had a CPU.
    pub late: u64,
}

/// The recordings of a run that are being written.
pub(super) struct Pipeline {
    pub(super) writers: Vec<Writer>,
    pub(super) report: Box<dyn Report>,
    pub(super) assembler: Assembler,
    /// Files that are to be stored in each recording.
    pub(super) files: Vec<Vec<BundledFile>>,
}

impl Pipeline {
    /// Works off the queue until it is closed.
    pub(super) fn run(mut self, jobs: &Receiver<PipelineJob>) -> (Box<dyn Report>, Result<(), Error>) {
        let mut last: Vec<Option<Process>> = vec![None; self.writers.len()];
        let mut worked = Ok(());
        for job in jobs {
            worked = self.work(job, &mut last);
            if worked.is_err() {
                break;
            }
        }
        for writer in self.writers {
            worked = worked.and(writer.finish().map_err(Error::from));
        }
        (self.report, worked)
    }

    fn work(&mut self, job: PipelineJob, last: &mut [Option<Process>]) -> Result<(), Error> {
        match job {
            PipelineJob::Sample { target, sample } => {
                let snapshot = self.assembler.assemble(*sample);
                let stored = self.writers[target].append(&snapshot);
                for unsynced in self.writers[target].unsynced() {
                    self.report.unsynced(target, &unsynced)?;
                }
                let stored = stored?;
                self.files[target].extend(self.assembler.take_files());
                // What finds no room now may find it later. The snapshots do without.
                if self.writers[target].bundle(&self.files[target]).is_ok() {
                    self.files[target].clear();
                }
                match stored {
                    Stored::Yes { bytes, missing } => {
                        self.report.room_again(target, missing)?;
                        self.report.sample(target, &snapshot, bytes)?;
                    }
                    Stored::NoRoom { why, missing } => self.report.no_room(target, &why, missing)?,
                }
                last[target] = Some(snapshot.process.clone());
                self.assembler.remember(snapshot);
            }
            PipelineJob::Skipped { target, skipped } => self.report.skipped(target, skipped)?,
            PipelineJob::Event { target, event } => {
                // Modules of a program that is no longer running would never be asked for again.
                match (&event, &last[target]) {
                    (Event::Executed { .. }, Some(process)) => self.assembler.forget_modules(process),
                    (Event::Ended { .. } | Event::Lost { .. }, Some(process)) => self.assembler.forget(process),
                    (Event::Forked(_), _) | (_, None) => {}
                }
                self.report.event(target, &event)?;
            }
        }
        Ok(())
    }
}
