//! From arguments as typed to a configuration that makes sense.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{anyhow, bail};
use clap::ValueEnum;

use super::arguments::{
    DiffArguments, FileArguments, RangeArguments, RegisterSet, SampleArguments, ShowArguments, Stop, SymbolsArguments,
    SyncPolicy,
};
use super::download::progress;
use super::service::selected;
use super::{format, is_directory};
use crate::daemon::{Entry, Place};
use crate::model::{RuntimeAddress, SpecialRegister, StopMode, X86_64Register, parse_share, parse_size, parse_time};
use crate::process::Wanted;
use crate::record::{CaptureOptions, MemoryWish, Output};
use crate::render::Selection;
use crate::store::{self, Policy, Sync};
use crate::symbols::{Debuginfod, Finder, NamedFile, SourceMap};
use crate::variables;
use crate::view::{At, Compared, Format};

/// Below this the sampler would do little else.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);
/// Below this hardly any thread could be stopped and copied.
const SHORTEST_HOLD: Duration = Duration::from_millis(1);
/// The share of time for which threads may be held, unless something else is asked for: 1%, in
/// millionths.
pub(super) const DEFAULT_DUTY: u32 = 10_000;
/// Below this a recording would hold next to nothing.
const SMALLEST_SIZE: u64 = 1 << 20;

/// What to do with live processes.
pub(super) struct Configuration {
    pub(super) targets: Vec<Wanted>,
    /// Those of the targets that were typed as a word of their own, and so could have been meant
    /// for a command.
    pub(super) words: Vec<String>,
    pub(super) options: CaptureOptions,
    pub(super) job: Job,
}

pub(super) enum Job {
    /// One snapshot of each, printed and perhaps kept.
    Print { selection: Selection, format: Format, keep: Option<Output>, finder: Box<Finder> },
    Record {
        interval: Duration,
        /// The share of time for which threads may be held, in millionths.
        max_duty: u32,
        count: Option<u64>,
        length: Option<Duration>,
        output: Output,
        policy: Policy,
    },
}

pub(super) fn check(arguments: SampleArguments) -> anyhow::Result<Configuration> {
    let SampleArguments {
        processes: words,
        pid,
        selection,
        triggers: _,
        every,
        count,
        length,
        output,
        max_size,
        keep_for,
        sync,
        stop,
        max_hold,
        max_duty,
        memory,
        keep,
        bundle,
        redact,
        thread,
        registers,
        locals,
        frame,
        verbose,
        all_frames,
        source,
        json,
        wide,
        files,
    } = arguments;
    let named = pid.iter().map(|text| wanted(text));
    let targets = named.chain(words.iter().map(|word| parsed("PID|NAME", word, word.parse())));
    let mut targets = targets.collect::<anyhow::Result<Vec<Wanted>>>()?;
    targets.extend(selected(&selection)?);
    if every.is_some() && registers == Some(RegisterSet::General) {
        bail!("--registers with --every: recordings hold them anyway; use `hangsnap show FILE --registers`");
    }
    if every.is_some() && (files.sysroot.is_some() || !files.symbols.is_empty()) {
        bail!(
            "--symbols or --sysroot with --every: names are looked up when a recording is shown; use `hangsnap show FILE --symbols ..`"
        );
    }
    if bundle.is_some() && every.is_none() && output.is_none() {
        bail!("--bundle without a recording to keep it in; add -o FILE");
    }
    if redact && registers == Some(RegisterSet::All) {
        bail!(
            "--registers all with --redact: registers for floating point hold copied memory, and are left out; use --registers"
        );
    }
    let options = CaptureOptions {
        stop: match stop {
            Stop::Auto => StopMode::OneAtATime,
            Stop::All => StopMode::All,
            Stop::None => StopMode::None,
        },
        max_hold: time("--max-hold", &max_hold)?,
        floating_point: registers == Some(RegisterSet::All),
        keep_stacks: keep.is_some() || !locals.is_empty(),
        redact,
        bundle: bundle.map(Into::into),
        memory: memory
            .into_iter()
            .map(|text| Ok((text.clone(), memory_wish(&text)?)))
            .collect::<anyhow::Result<_>>()?,
    };
    if options.max_hold < SHORTEST_HOLD {
        bail!("--max-hold {max_hold}: no thread can be captured in that time; use 1ms or more, or --stop none");
    }
    let keep = output.map(|path| where_to(path, targets.len())).transpose()?;
    let job = match every {
        None => Job::Print {
            selection: Selection {
                thread,
                registers: registers.is_some(),
                verbose,
                all_frames,
                source,
                locals: wanted_locals(&locals, frame)?,
            },
            format: format(json, wide),
            keep,
            finder: Box::new(finder(&files)?),
        },
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
            let output = match keep {
                None => Output::Beside(".".into()),
                // What is there already is bounded only by who asks for that, and by what he asks
                // for.
                Some(Output::Directory(path)) if max_size.is_none() && keep_for.is_none() => Output::Beside(path),
                Some(output) => output,
            };
            let policy = policy(max_size.as_deref(), keep_for.as_deref(), sync)?;
            Job::Record {
                interval,
                max_duty: parsed("--max-duty", &max_duty, parse_share(&max_duty, 100))?,
                count,
                length,
                output,
                policy,
            }
        }
    };
    Ok(Configuration { targets, words, options, job })
}

/// The settings of the daemon, if these arguments ask for what it alone does: to record whatever a
/// selection means, or to wait for a trigger.
pub(super) fn flags_of_daemon(arguments: &SampleArguments) -> anyhow::Result<Option<Vec<Entry>>> {
    let SampleArguments { selection, triggers, every, processes, pid, .. } = arguments;
    let (selected, triggers) = (selection.entries(), triggers.entries());
    if triggers.is_empty() && (selected.is_empty() || every.is_none()) {
        return Ok(None);
    }
    let mut flags = selected;
    let entry = |key: &str, value: &str| Entry { key: key.into(), value: value.into(), place: Place::Flag };
    for word in pid.iter().chain(processes) {
        let key = if word.parse::<i32>().is_ok() { "pid" } else { "name" };
        flags.push(entry(key, word));
    }
    flags.extend(triggers);
    if arguments.count.is_some() || arguments.length.is_some() {
        bail!("--count or --for with processes that come and go: there is no end to it; stop it with Ctrl-C");
    }
    if !arguments.memory.is_empty() || arguments.keep.is_some() || arguments.registers.is_some() {
        bail!("--memory, --keep or --registers with processes that come and go: name one process, by its id");
    }
    flags.extend(every.iter().map(|every| entry("every", every)));
    let path = |path: &PathBuf| path.to_str().map(|path| entry("output", path));
    flags.extend(arguments.output.iter().filter_map(path));
    for (key, value) in [("max-size", &arguments.max_size), ("keep-for", &arguments.keep_for)] {
        flags.extend(value.iter().map(|value| entry(key, value)));
    }
    let name = |value: Option<clap::builder::PossibleValue>| {
        value.map(|value| value.get_name().to_owned()).unwrap_or_default()
    };
    flags.push(entry("sync", &name(arguments.sync.to_possible_value())));
    flags.push(entry("stop", &name(arguments.stop.to_possible_value())));
    flags.push(entry("max-hold", &arguments.max_hold));
    flags.push(entry("max-duty", &arguments.max_duty));
    flags.extend(arguments.redact.then(|| entry("redact", "true")));
    Ok(Some(flags))
}

/// What a recording may take by default.
const MAX_SIZE: &str = "512MiB";

fn policy(max_size: Option<&str>, keep_for: Option<&str>, sync: SyncPolicy) -> anyhow::Result<Policy> {
    let sync = match sync {
        SyncPolicy::Never => Sync::Never,
        SyncPolicy::Segment => Sync::Segment,
        SyncPolicy::Sample => Sync::Sample,
    };
    let keep_for = keep_for.map(|text| time("--keep-for", text)).transpose()?;
    let earlier_count = max_size.is_some();
    let max_size = max_size.unwrap_or(MAX_SIZE);
    let bytes = parsed("--max-size", max_size, parse_size(max_size))?;
    if bytes < SMALLEST_SIZE {
        bail!("--max-size {max_size}: too little to hold a recording; use 1MiB or more");
    }
    Ok(Policy { max_size: bytes, earlier_count, keep_for, sync })
}

/// From and to which moment, if it is said.
pub(super) fn check_range(range: &RangeArguments) -> anyhow::Result<(Option<At>, Option<At>)> {
    let at = |option, text: &Option<String>| {
        text.as_deref().map(|text| parsed(option, text, text.parse::<At>())).transpose()
    };
    Ok((at("--from", &range.from)?, at("--to", &range.to)?))
}

/// What `show` was asked for.
pub(super) struct Show {
    pub(super) at: At,
    pub(super) selection: Selection,
    pub(super) finder: Finder,
}

impl Show {
    pub(super) fn check(arguments: &ShowArguments) -> anyhow::Result<Self> {
        let ShowArguments { at, thread, registers, locals, frame, verbose, all_frames, source, files, .. } = arguments;
        Ok(Self {
            at: parsed("--at", at, at.parse())?,
            selection: Selection {
                thread: thread.clone(),
                registers: *registers,
                verbose: *verbose,
                all_frames: *all_frames,
                locals: wanted_locals(locals, *frame)?,
                source: *source,
            },
            finder: finder(files)?,
        })
    }
}

/// Which variables to print, if any are asked for.
fn wanted_locals(locals: &[String], frame: Option<usize>) -> anyhow::Result<Option<variables::Wanted>> {
    if locals.is_empty() {
        return Ok(None);
    }
    let paths = locals.iter().filter(|path| !path.is_empty()).map(|path| parsed("--locals", path, path.parse()));
    Ok(Some(variables::Wanted { paths: paths.collect::<anyhow::Result<_>>()?, frame }))
}

/// What `symbols` was asked for: of one snapshot, or of all.
pub(super) fn check_symbols(arguments: &SymbolsArguments) -> anyhow::Result<(Option<At>, Finder)> {
    let at = arguments.at.as_deref().map(|text| parsed("--at", text, text.parse::<At>())).transpose()?;
    Ok((at, finder(&arguments.files)?))
}

pub(super) fn check_diff(arguments: &DiffArguments) -> anyhow::Result<(Compared, Finder)> {
    let at = |text: &String| parsed("snapshot", text, text.parse::<At>());
    let compared = match (&arguments.first, &arguments.second) {
        (Some(first), Some(second)) => Compared::Snapshots(at(first)?, at(second)?),
        (Some(other), _) if Path::new(other).exists() => Compared::Other(other.into()),
        (Some(word), _) => bail!(
            "{word}: no such recording, and of two snapshots to compare the other is missing; write `hangsnap diff {} {word} last`, \
             or name a second recording",
            arguments.file.display()
        ),
        (None, _) => Compared::LastTwo,
    };
    Ok((compared, finder(&arguments.files)?))
}

pub(super) fn finder(files: &FileArguments) -> anyhow::Result<Finder> {
    let FileArguments { sysroot, symbols, source_map } = files;
    if let Some(directory) = sysroot
        && !directory.is_dir()
    {
        bail!("--sysroot {}: not a directory; name the tree that holds the process's files", directory.display());
    }
    let maps = source_map.iter().map(|text| source_of(text)).collect::<anyhow::Result<_>>()?;
    let (directories, files): (Vec<PathBuf>, Vec<PathBuf>) = symbols.iter().cloned().partition(|path| path.is_dir());
    let named = files
        .iter()
        .map(|path| NamedFile::open(path).map_err(|error| anyhow!("--symbols {}: {error}", path.display())))
        .collect::<anyhow::Result<_>>()?;
    Ok(Finder::new(sysroot.iter().cloned().collect())
        .with_named(named, directories)
        .with_source_maps(maps)
        .with_debuginfod(Debuginfod::from_environment(progress)))
}

/// `/build=/home/me/src`
fn source_of(text: &str) -> anyhow::Result<SourceMap> {
    match text.split_once('=') {
        Some((from, to)) if !from.is_empty() && !to.is_empty() => Ok(SourceMap { from: from.into(), to: to.into() }),
        _ => bail!("--source-map {text}: write the directory of the debug information, =, and the one that is here"),
    }
}

fn where_to(path: PathBuf, targets: usize) -> anyhow::Result<Output> {
    // The directory of a recording is what it is itself, and not where others go.
    if is_directory(&path) && !store::is_recording(&path) {
        return Ok(Output::Directory(path));
    }
    match targets {
        1 => Ok(Output::File(path)),
        // A recording is of one process; several need a directory, which is made.
        _ if path.exists() => {
            bail!(
                "{} is not a directory; each process gets a recording of its own, so name a directory",
                path.display()
            )
        }
        _ => Ok(Output::Directory(path)),
    }
}

fn time(option: &str, text: &str) -> anyhow::Result<Duration> {
    parsed(option, text, parse_time(text))
}

/// `ADDRESS:LENGTH`, `REGISTER:LENGTH` or `SYMBOL[:LENGTH]`; a symbol may have colons of its own,
/// as C++ names do.
fn memory_wish(text: &str) -> anyhow::Result<MemoryWish> {
    let wrong = || anyhow!("--memory {text}: write ADDRESS:LENGTH, REGISTER:LENGTH or SYMBOL[:LENGTH]");
    let number = |digits: &str| match digits.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => digits.parse().ok(),
    };
    let (name, length) = match text.rsplit_once(':') {
        Some((name, digits)) => match number(digits) {
            Some(0) => bail!("--memory {text}: a length of zero copies nothing"),
            Some(length) => (name, Some(length)),
            None => (text, None),
        },
        None => (text, None),
    };
    let general = X86_64Register::ALL.into_iter().find(|register| register.name() == name);
    let special = SpecialRegister::ALL.into_iter().find(|register| register.name() == name);
    match (number(name), general, special, length) {
        _ if name.is_empty() => Err(wrong()),
        (Some(address), _, _, Some(length)) => Ok(MemoryWish::Address(RuntimeAddress(address), length)),
        (_, Some(register), _, Some(length)) => Ok(MemoryWish::Register(register, length)),
        (_, _, Some(register), Some(length)) => Ok(MemoryWish::Special(register, length)),
        (None, None, None, length) => Ok(MemoryWish::Symbol(name.into(), length)),
        _ => Err(wrong()),
    }
}

/// The process that --pid names.
pub(super) fn wanted(text: &str) -> anyhow::Result<Wanted> {
    parsed("--pid", text, text.parse())
}

fn parsed<T, E: std::fmt::Display>(option: &str, text: &str, result: Result<T, E>) -> anyhow::Result<T> {
    result.map_err(|error| anyhow!("{option} {text}: {error}"))
}
