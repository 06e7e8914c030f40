//! Guards samples against `execve`: each sample is of one image of a program only.
//!
//! `ImageGuard::sample` is the one loop around a capture. It captures again
//! * when the process has executed another program meanwhile, up to `MOST_LOOKS` times: what was
//!   copied is of two programs;
//! * when the process cannot be captured, for up to `EXECUTING`: while it executes another program
//!   its threads are dying and its main thread's id changes hands, so it may seem gone or out of
//!   reach.
//!
//! What a tracer that died left undone is done by another one within one capture
//! (`capture::Tracer::take`).
//!
//! Promises: if the process executes faster than it can be looked at, the sample says so, and holds
//! nothing that might be of two programs mixed. If the process has ended by the end of its sample,
//! it cannot be known whether it had executed another program before; the sample says that, too.

use std::thread;
use std::time::{Duration, Instant};

use super::{CaptureOptions, Error, Sample, wishes};
use crate::capture::CaptureRequest;
use crate::model::{Notice, Reason, StopMode, Subject};
use crate::proc::ImageId;
use crate::process::{ProcessAccess, Target, TimeoutWorker};
use crate::sys::memory::ProcessMemory;

/// How often a process is looked at for one sample.
const MOST_LOOKS: usize = 8;
/// How long a process that executes another program may seem gone or out of reach: until its other
/// threads have died. They need a CPU for that, and one attempt to capture them may itself wait for
/// a tenth of a second.
const EXECUTING: Duration = Duration::from_secs(1);
/// The time from one look to the next at a process that is out of reach.
const PAUSE: Duration = Duration::from_millis(1);
/// How long a name may be missing of a program that is just being loaded.
const LOADING: Duration = Duration::from_millis(100);

/// A request, and the image that it is for: the variables of another image lie elsewhere.
pub(super) struct ImageGuard {
    request: CaptureRequest,
    image: Option<ImageId>,
    /// Memory of that image, opened when it was new: it has gone when another is executed, wherever
    /// that is put.
    witness: Option<ProcessAccess>,
    worker: TimeoutWorker,
    /// Images so far.
    images: u64,
    /// Samples since the image was new.
    samples: u64,
    /// Memory that was asked for by name and that the program which runs now has not.
    nameless: Vec<Notice>,
}

/// What has come of one capture.
enum Attempt {
    /// A sample, or the last that can be had of the process.
    OfOneImage(Sample),
    /// The process executed another program meanwhile; the stacks are left out.
    OfSeveralImages(Sample),
    /// The process had ended before.
    Ended,
}

/// What an image has become since a sample was begun.
enum Since {
    Same,
    Another,
    Ended,
}

impl ImageGuard {
    /// What to ask for of a process as it is now. Errors if memory is asked for by a name that it
    /// does not have.
    pub(super) fn new(target: &Target, options: &CaptureOptions) -> Result<Self, Error> {
        let begun = Instant::now();
        let worker = TimeoutWorker::default();
        loop {
            let image = target.directory.image().ok().flatten();
            let witness = witness(target, &worker);
            match options.request(target) {
                Err(_) if begun.elapsed() < LOADING => thread::sleep(PAUSE),
                request => {
                    let (request, nameless) = (request?, Vec::new());
                    return Ok(Self { request, image, witness, worker, images: 1, samples: 0, nameless });
                }
            }
        }
    }

    /// The same for a recording: the pipeline has its last sample and needs no more than
    /// what has changed since, unless the bytes of all stacks are to be kept.
    pub(super) fn for_changes(target: &Target, options: &CaptureOptions) -> Result<Self, Error> {
        let mut guard = Self::new(target, options)?;
        guard.request.after = (!options.keep_stacks).then_some(0);
        Ok(guard)
    }

    /// Which threads the next samples may hold.
    pub(super) fn hold(&mut self, stop: StopMode) {
        self.request.stop = stop;
    }

    /// Takes a sample by `take`, which is called with a request, as often as is needed for one that
    /// is of one image. None when the process has ended. The sample has to be handed on: the next
    /// one may refer to it.
    pub(super) fn sample(
        &mut self,
        target: &Target,
        options: &CaptureOptions,
        mut take: impl FnMut(&CaptureRequest) -> Result<Option<Sample>, Error>,
    ) -> Result<Option<Sample>, Error> {
        let (mut mixed, mut looks, mut begun) = (None, 0, Instant::now());
        let whole = loop {
            match self.attempt(target, options, &mut take) {
                Ok(Attempt::OfOneImage(sample)) => break Some(sample),
                Ok(Attempt::Ended) => break None,
                Ok(Attempt::OfSeveralImages(sample)) => {
                    (mixed, looks, begun) = (Some(sample), looks + 1, Instant::now());
                    if looks == MOST_LOOKS {
                        break None;
                    }
                }
                Err(_) if begun.elapsed() < EXECUTING => thread::sleep(PAUSE),
                Err(error) => return Err(error),
            }
        };
        // Nothing that is left out may be referred to.
        self.refer_to(whole.as_ref().map_or(0, |sample| sample.captured.number));
        Ok(whole.or(mixed).map(|sample| self.complete(sample)))
    }

    /// Captures the process once, and finds out what that is a sample of.
    fn attempt(
        &mut self,
        target: &Target,
        options: &CaptureOptions,
        take: &mut impl FnMut(&CaptureRequest) -> Result<Option<Sample>, Error>,
    ) -> Result<Attempt, Error> {
        self.renew(target, options);
        let Some(mut sample) = take(&self.request)? else {
            return Ok(Attempt::Ended);
        };
        Ok(match self.since(target, &sample) {
            Since::Same => Attempt::OfOneImage(sample),
            Since::Ended => {
                sample.captured.notices.push(of_process(Reason::Ended));
                Attempt::OfOneImage(sample)
            }
            Since::Another => {
                sample.captured.leave_out_stacks();
                Attempt::OfSeveralImages(sample)
            }
        })
    }

    fn complete(&mut self, mut sample: Sample) -> Sample {
        self.samples += 1;
        sample.captured.notices.extend(self.nameless.iter().cloned());
        sample.images = self.images;
        sample
    }

    /// From now on only what has changed since this snapshot is needed; since none, if it is 0.
    fn refer_to(&mut self, number: u64) {
        self.request.after = self.request.after.map(|_| number);
    }

    /// Waits until that can be known: while the thread that is asked ends, or its id changes hands,
    /// it cannot.
    fn since(&self, target: &Target, sample: &Sample) -> Since {
        let begun = Instant::now();
        loop {
            match target.directory.image() {
                // Between two images it may have been twice.
                Ok(now) if now.is_none() || now != self.image => return Since::Another,
                // Who keeps its memory locked would keep this waiting, too.
                Ok(_) if sample.captured.memory_is_readable && self.has_gone() => return Since::Another,
                Ok(_) => return Since::Same,
                Err(_) if !target.is_alive() || begun.elapsed() > EXECUTING => return Since::Ended,
                Err(_) => thread::sleep(PAUSE),
            }
        }
    }

    fn has_gone(&self) -> bool {
        self.witness.as_ref().is_some_and(ProcessAccess::has_gone)
    }

    /// Makes a new request if the process has executed another program.
    fn renew(&mut self, target: &Target, options: &CaptureOptions) {
        // Where there is none yet, what is looked at now is not of one image.
        let Ok(image @ Some(_)) = target.directory.image() else {
            return;
        };
        let has_gone = self.has_gone();
        if image == self.image && !has_gone {
            // What is loaded by and by may have the name that its program has not.
            if !self.nameless.is_empty() && self.samples.is_power_of_two() {
                self.locate(target, options);
            }
            return;
        }
        self.images += u64::from(self.image.is_some());
        self.image = image;
        self.witness = witness(target, &self.worker);
        self.samples = 0;
        self.request.is_go = target.is_go();
        self.locate(target, options);
    }

    /// Finds out where memory lies that was asked for.
    fn locate(&mut self, target: &Target, options: &CaptureOptions) {
        self.request.memory.clear();
        self.nameless.clear();
        for wish in &options.memory {
            match wishes::locate(std::slice::from_ref(wish), target) {
                Ok(located) => self.request.memory.extend(located),
                Err(_) => {
                    let what = format!("finding --memory {} in the program that it executes now", wish.0);
                    self.nameless.push(of_process(Reason::Refused { what, errno: libc::ENOENT }));
                }
            }
        }
    }
}

fn witness(target: &Target, worker: &TimeoutWorker) -> Option<ProcessAccess> {
    Some(ProcessAccess::new(ProcessMemory::open(target.directory.memory_owner().ok()?), true, worker.clone()))
}

fn of_process(reason: Reason) -> Notice {
    Notice { subject: Subject::Process, reason }
}
