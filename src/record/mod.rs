//! The live program: takes one snapshot, or one after another until something ends it.
//!
//! Promises: whatever happens to the target or to hangsnap, the file stays whole, and what happened
//! is reported. Capturing comes first: it runs on the scheduling thread. Unwinding, storing and
//! reporting are fed by a bounded queue; when that is full, a sample is skipped before the target
//! is touched.

mod assemble;
mod bundle;
mod facts;
mod image_guard;
mod last_snapshots;
mod look;
mod named;
mod pipeline;
mod report;
mod sampler;
mod space;
mod stream;
mod watch;
mod wishes;

use std::path::PathBuf;
use std::time::Duration;

use crate::capture::{self, CaptureRequest, Captured, Tracer};
use crate::elf::Wanted;
use crate::model::{BundledFile, Process, Recording, Snapshot, StopMode};
use crate::proc::{self, Host};
use crate::process::{self, Target};
use crate::resources::{self, RawLastRan};
use crate::store::{self, Segment, file_name};
use crate::sys::memory::ProcessMemory;
use assemble::Assembler;
use image_guard::ImageGuard;

pub use bundle::bundle_recorded;
pub use look::{Times, look};
pub use pipeline::Skipped;
pub use report::Report;
pub use sampler::{Ended, RecordingPlan, run};
pub use space::AddressSpace;
pub use stream::{Assembly, Stream, TakenSample};
pub use watch::Event;
pub use wishes::MemoryWish;

/// Why there is no snapshot, or no more of them.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each says what it is")]
pub enum Error {
    #[error(transparent)]
    Target(#[from] process::Error),
    #[error("cannot read /proc/{pid} ({name}): {source}")]
    Proc { pid: crate::model::Pid, name: String, source: proc::Error },
    #[error("{pid} ({name}) ended before a snapshot of it was complete")]
    EndedTooSoon { pid: crate::model::Pid, name: String },
    #[error(transparent)]
    Capture(#[from] capture::Error),
    #[error(transparent)]
    Memory(#[from] wishes::NoSuchSymbol),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("cannot write the output: {0}")]
    Output(#[from] std::io::Error),
}

/// Where recordings go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Of this name, for one process.
    File(PathBuf),
    /// One for each process, named after it, in this directory; with what earlier runs left there
    /// it keeps to one bound.
    Directory(PathBuf),
    /// The same in this directory, where the user did not ask for anything to be removed.
    Beside(PathBuf),
}

/// How snapshots are to be taken, of whichever process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CaptureOptions {
    /// Which threads may be held.
    pub stop: StopMode,
    /// The longest time that a thread may be held.
    pub max_hold: Duration,
    /// Whether x87 and SSE registers are wanted.
    pub floating_point: bool,
    /// Whether the bytes of the stacks are to be kept.
    pub keep_stacks: bool,
    /// Whether memory and words of the command line are to be left out of what is kept.
    pub redact: bool,
    /// Which parts of the files on stacks are to be kept, too.
    pub bundle: Option<Wanted>,
    /// Memory to copy, each piece with what the user typed.
    pub memory: Vec<(String, MemoryWish)>,
}

impl Default for CaptureOptions {
    fn default() -> Self {
        Self {
            stop: StopMode::OneAtATime,
            max_hold: Duration::from_millis(10),
            floating_point: false,
            keep_stacks: false,
            redact: false,
            bundle: None,
            memory: Vec::new(),
        }
    }
}

impl CaptureOptions {
    /// The order for snapshots of one process.
    fn request(&self, target: &Target) -> Result<CaptureRequest, Error> {
        let Self { stop, max_hold, floating_point, memory, .. } = self;
        let memory = wishes::locate(memory, target)?;
        let is_go = target.is_go();
        Ok(CaptureRequest {
            stop: *stop,
            max_hold: *max_hold,
            floating_point: *floating_point,
            is_go,
            memory,
            after: None,
        })
    }
}

/// What was copied in one go, with what is needed to make a snapshot of it.
struct Sample {
    number: u64,
    root: PathBuf,
    captured: Captured,
    memory: ProcessMemory,
    /// When its threads had run last, before any was held. Empty where only changes are looked for.
    last_ran: Vec<RawLastRan>,
    /// How many images of programs had been seen of the process by then.
    images: u64,
}

impl Sample {
    /// Captures a process now, once (`ImageGuard::sample` tries again). None when it has ended.
    fn take(
        target: &Target,
        number: u64,
        request: &CaptureRequest,
        tracer: &mut Tracer,
    ) -> Result<Option<Self>, Error> {
        match Self::try_take(target, number, request, tracer) {
            Ok(sample) => match sample.captured.refused_everywhere() {
                // Where the bounds on holding allow no thread to be held, some may not be read
                // either; that is no end.
                Some(_) if request.stop != StopMode::None || target.directory.permits_access().is_err() => {
                    Err(target.refused().into())
                }
                Some(_) => Ok(Some(sample)),
                None if sample.captured.is_anything_captured() || target.is_alive() => Ok(Some(sample)),
                None => Ok(None),
            },
            Err(_) if !target.is_alive() => Ok(None),
            Err(capture::Error::Process(proc::Error::NotPermitted)) => Err(target.refused().into()),
            Err(capture::Error::Process(source)) => {
                Err(Error::Proc { pid: target.pid(), name: target.process.name.clone(), source })
            }
            Err(error @ capture::Error::Start(_)) => Err(error.into()),
        }
    }

    fn try_take(
        target: &Target,
        number: u64,
        request: &CaptureRequest,
        tracer: &mut Tracer,
    ) -> Result<Self, capture::Error> {
        let memory = ProcessMemory::open(target.directory.memory_owner()?);
        let root = target.directory.root();
        let last_ran = match request.after {
            None | Some(0) => resources::last_ran(target.pid()),
            Some(_) => Vec::new(),
        };
        let captured = tracer.take(&target.directory, request)?;
        Ok(Self { number, root, captured, memory, last_ran, images: 0 })
    }
}

/// Takes one snapshot of a process.
pub fn once(target: &Target, options: &CaptureOptions, tracer: &mut Tracer) -> Result<Kept, Error> {
    let mut guard = ImageGuard::new(target, options)?;
    let sample = guard.sample(target, options, |request| Sample::take(target, 1, request, tracer))?;
    let sample = sample.ok_or_else(|| Error::EndedTooSoon { pid: target.pid(), name: target.process.name.clone() })?;
    let mut assembler = Assembler::for_one(options);
    let snapshot = assembler.assemble(sample);
    Ok(Kept { snapshot, files: assembler.take_files() })
}

/// A snapshot, with the files that are to be kept with it.
pub struct Kept {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// As was asked for.
    pub files: Vec<BundledFile>,
}

/// What a recording made here and now says of itself.
pub fn recording(interval: Option<Duration>) -> Recording {
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
pub fn keep(output: &Output, kept: &Kept) -> Result<(), Error> {
    let Kept { snapshot, files } = kept;
    let path = output.path_for(&snapshot.process);
    let mut segment = Segment::create(&path, &recording(None))?;
    let stored = segment.append(snapshot).and_then(|_| files.iter().try_for_each(|file| segment.append_bundled(file)));
    match stored {
        Ok(()) => Ok(()),
        Err(error) => {
            segment.discard();
            Err(error.into())
        }
    }
}

impl Output {
    /// The recording of a process that is recorded from now on.
    fn path_for(&self, process: &Process) -> PathBuf {
        match self {
            Self::File(path) => path.clone(),
            Self::Directory(directory) | Self::Beside(directory) => {
                directory.join(file_name(process, jiff::Timestamp::now()))
            }
        }
    }

    /// The recordings of earlier runs that are to be kept within the bounds of this one's.
    pub fn earlier(&self, process: &Process) -> Vec<PathBuf> {
        match self {
            Self::File(_) | Self::Beside(_) => Vec::new(),
            Self::Directory(directory) => store::earlier(directory, process),
        }
    }
}
