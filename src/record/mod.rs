//! The live program: takes one snapshot, or one after another until something ends it.
//!
//! Promises: whatever happens to the target or to hangsnap, the file stays whole, and what happened is said. Capturing
//! goes before everything else: it runs on the scheduling thread, while unwinding, storing and talking happen behind a
//! bounded queue, and when that is full a sample is skipped before the target is touched.

mod assemble;
mod pipeline;
mod progress;
mod sampler;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use crate::capture::{self, Arena, Captured};
use crate::model::{Process, Recording, Snapshot, StopMode};
use crate::proc::{self, Host};
use crate::store::{self, Writer, file_name};
use crate::sys::memory::ProcessMemory;
use crate::target::{self, Target};
use assemble::Assembler;

pub use progress::Voice;
pub use sampler::{Ended, Plan, run};

/// Why there is no snapshot, or no more of them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Target(#[from] target::Error),
    #[error("cannot read /proc/{pid} ({name}): {source}")]
    Proc { pid: crate::model::Pid, name: String, source: proc::Error },
    #[error("{pid} ({name}) ended before a snapshot of it was complete")]
    EndedTooSoon { pid: crate::model::Pid, name: String },
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("cannot write the output: {0}")]
    Output(#[from] std::io::Error),
}

/// Where recordings go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// A file of this name, for one process.
    File(PathBuf),
    /// A file for each process, named after it, in this directory.
    Directory(PathBuf),
}

/// What was copied in one go, with what is needed to make a snapshot of it.
struct Sample {
    number: u64,
    process: Process,
    root: PathBuf,
    captured: Captured,
    memory: ProcessMemory,
}

impl Sample {
    /// Captures a process now. None when it has ended.
    fn take(target: &Target, number: u64, stop: StopMode, arena: &mut Arena) -> Result<Option<Self>, Error> {
        match Self::try_take(target, number, stop, arena) {
            Ok(sample) => match capture::refused_everywhere(&sample.captured) {
                Some(_) => Err(target.refused().into()),
                None if sample.captured.threads.iter().any(|thread| thread.is_captured()) || target.is_alive() => {
                    Ok(Some(sample))
                }
                None => Ok(None),
            },
            Err(_) if !target.is_alive() => Ok(None),
            Err(proc::Error::NotPermitted) => Err(target.refused().into()),
            Err(source) => Err(Error::Proc { pid: target.pid(), name: target.process.name.clone(), source }),
        }
    }

    fn try_take(target: &Target, number: u64, stop: StopMode, arena: &mut Arena) -> Result<Self, proc::Error> {
        let memory = ProcessMemory::open(target.directory.memory_owner()?);
        let process = target.directory.describe()?;
        let root = target.directory.root();
        let captured = capture::take(&target.directory, stop, arena)?;
        Ok(Self { number, process, root, captured, memory })
    }
}

/// Takes one snapshot of a process.
pub fn once(target: &Target, stop: StopMode) -> Result<Snapshot, Error> {
    let sample = Sample::take(target, 1, stop, &mut Arena::default())?;
    let sample = sample.ok_or_else(|| Error::EndedTooSoon { pid: target.pid(), name: target.process.name.clone() })?;
    Ok(Assembler::default().assemble(sample))
}

/// What a recording made here and now says of itself.
fn recording(interval: Option<Duration>) -> Recording {
    let Host { name, kernel, boot_id } = Host::read();
    Recording {
        version: env!("CARGO_PKG_VERSION").into(),
        host: name,
        kernel,
        boot_id,
        machine: std::env::consts::ARCH.into(),
        interval,
    }
}

/// Keeps one snapshot in a file of its own.
pub fn keep(output: &Output, snapshot: &Snapshot) -> Result<(), Error> {
    let path = output.path_for(&snapshot.process);
    Writer::create(&path, &recording(None))?.append(snapshot)?;
    Ok(())
}

impl Output {
    /// The file for a process that is recorded from now on.
    fn path_for(&self, process: &Process) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Directory(directory) => directory.join(file_name(process, jiff::Timestamp::now())),
        }
    }
}
