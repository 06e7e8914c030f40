//! A few samples of some processes, close together, for an answer on the spot.
//!
//! Promises: threads that sleep are read in place in the first sample, and are then found not to
//! have run: none of them is held, so what is said of since when they sleep is not about us.
//! Threads that run are held in the samples after it. All samples of one process are of the same
//! one.

use std::thread;
use std::time::{Duration, Instant};

use super::{Assembler, CaptureOptions, Error, ImageGuard, Sample};
use crate::capture::Tracer;
use crate::model::{Snapshot, StopMode};
use crate::process::Target;

/// This many samples, this far apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Times {
    /// How many snapshots of each process.
    pub samples: u64,
    /// The time from one to the next.
    pub apart: Duration,
}

/// Takes them, of each process in turn; those of each process together.
pub fn look(
    targets: &[Target],
    options: &CaptureOptions,
    times: Times,
    tracer: &mut Tracer,
) -> Result<Vec<Vec<Snapshot>>, Error> {
    let mut assembler = Assembler::new(options);
    let mut guards =
        targets.iter().map(|target| ImageGuard::for_changes(target, options)).collect::<Result<Vec<_>, _>>()?;
    let mut seen: Vec<Vec<Snapshot>> = targets.iter().map(|_| Vec::new()).collect();
    for number in 1..=times.samples {
        let begun = Instant::now();
        for ((target, guards), seen) in targets.iter().zip(&mut guards).zip(&mut seen) {
            let is_first_of_several = number == 1 && times.samples > 1;
            guards.hold(if is_first_of_several { StopMode::None } else { options.stop });
            let sample = guards.sample(target, options, |order| Sample::take(target, number, order, tracer))?;
            let Some(sample) = sample else {
                if seen.is_empty() {
                    return Err(Error::EndedTooSoon { pid: target.pid(), name: target.process.name.clone() });
                }
                continue;
            };
            let snapshot = assembler.assemble(sample);
            assembler.remember(snapshot.clone());
            seen.push(snapshot);
        }
        if number < times.samples {
            thread::sleep(times.apart.saturating_sub(begun.elapsed()));
        }
    }
    Ok(seen)
}
