//! From arguments as typed to a configuration that makes sense.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{anyhow, bail};
use jiff::SignedDuration;

use super::arguments::{DiffArguments, SampleArguments, ShowArguments, Stop};
use super::{format, is_directory};
use crate::model::StopMode;
use crate::record::Output;
use crate::render::Selection;
use crate::symbols::Finder;
use crate::target::Wanted;
use crate::view::{At, Format};

/// Below this the sampler would do little else.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);

/// What to do with live processes.
pub(super) struct Configuration {
    pub(super) targets: Vec<Wanted>,
    pub(super) stop: StopMode,
    pub(super) job: Job,
}

pub(super) enum Job {
    /// One snapshot of each, printed and perhaps kept.
    Print {
        selection: Selection,
        format: Format,
        keep: Option<Output>,
    },
    Record {
        interval: Duration,
        count: Option<u64>,
        length: Option<Duration>,
        output: Output,
    },
}

pub(super) fn check(arguments: SampleArguments) -> anyhow::Result<Configuration> {
    let SampleArguments { pid, every, count, length, output, stop, thread, registers, json } = arguments;
    let targets =
        pid.iter().map(|text| parsed("--pid", text, text.parse())).collect::<anyhow::Result<Vec<Wanted>>>()?;
    let stop = match stop {
        Stop::Auto => StopMode::OneAtATime,
        Stop::All => StopMode::All,
    };
    let keep = output.map(|path| where_to(path, targets.len())).transpose()?;
    let job = match every {
        None => Job::Print { selection: Selection { thread, registers }, format: format(json), keep },
        Some(every) => {
            let interval = time("--every", &every)?;
            if interval < SHORTEST_INTERVAL {
                bail!("--every {every}: too short an interval to work with; use 1ms or more, such as 5s");
            }
            let count = count.map(|text| parsed("--count", &text, text.parse::<u64>())).transpose()?;
            if count == Some(0) {
                bail!("--count 0: there would be nothing to record; use 1 or more");
            }
            let length = length.map(|text| time("--for", &text)).transpose()?;
            let output = keep.unwrap_or_else(|| Output::Directory(PathBuf::from(".")));
            Job::Record { interval, count, length, output }
        }
    };
    Ok(Configuration { targets, stop, job })
}

/// What `show` was asked for.
pub(super) struct Show {
    pub(super) at: At,
    pub(super) selection: Selection,
    pub(super) finder: Finder,
}

impl Show {
    pub(super) fn check(arguments: &ShowArguments) -> anyhow::Result<Self> {
        let ShowArguments { at, thread, registers, sysroot, .. } = arguments;
        Ok(Self {
            at: parsed("--at", at, at.parse())?,
            selection: Selection { thread: thread.clone(), registers: *registers },
            finder: finder(sysroot.as_deref())?,
        })
    }
}

pub(super) fn check_diff(arguments: &DiffArguments) -> anyhow::Result<(Option<(At, At)>, Finder)> {
    let at = |text: &String| parsed("snapshot", text, text.parse::<At>());
    let between = match arguments.between.as_slice() {
        [first, second] => Some((at(first)?, at(second)?)),
        _ => None,
    };
    Ok((between, finder(arguments.sysroot.as_deref())?))
}

fn finder(sysroot: Option<&Path>) -> anyhow::Result<Finder> {
    if let Some(directory) = sysroot
        && !directory.is_dir()
    {
        bail!("--sysroot {}: not a directory; name the tree that holds the process's files", directory.display());
    }
    Ok(Finder::new(sysroot.map(Path::to_path_buf).into_iter().collect()))
}

fn where_to(path: PathBuf, targets: usize) -> anyhow::Result<Output> {
    if is_directory(&path) {
        return Ok(Output::Directory(path));
    }
    match targets {
        1 => Ok(Output::File(path)),
        // One file holds one process; several need a directory, which is made.
        _ if path.exists() => {
            bail!("{} is a file, and each process gets one of its own; name a directory", path.display())
        }
        _ => Ok(Output::Directory(path)),
    }
}

fn time(option: &str, text: &str) -> anyhow::Result<Duration> {
    let duration: SignedDuration =
        text.parse().map_err(|_| anyhow!("{option} {text}: not a length of time; write 500ms, 5s, 10m or 1h"))?;
    match Duration::try_from(duration) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => bail!("{option} {text}: must be longer than zero; write 500ms, 5s, 10m or 1h"),
    }
}

fn parsed<T, E: std::fmt::Display>(option: &str, text: &str, result: Result<T, E>) -> anyhow::Result<T> {
    result.map_err(|error| anyhow!("{option} {text}: {error}"))
}
