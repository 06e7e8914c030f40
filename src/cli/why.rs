//! `why` and `stuck`: the answer, from live processes and from recordings.

use std::process::ExitCode;
use std::time::Duration;

use super::arguments::{StuckArguments, WhyArguments};
use super::configuration::{finder, wanted};
use super::output::output;
use super::patience::Patience;
use super::service::selected;
use super::{explain, finish, finish_with, format};
use crate::capture::Tracer;
use crate::model::StopMode;
use crate::process::{self, Target};
use crate::record::{self, CaptureOptions, Times};
use crate::view::{self, Answer, Seen};

/// Something is stuck.
const STUCK: u8 = 1;
/// Enough to see a thread run, and to be waited for.
const SEVERAL: Times = Times { samples: 4, apart: Duration::from_millis(280) };
const ONCE: Times = Times { samples: 1, apart: Duration::ZERO };

/// Looks at live processes.
pub(super) fn live(arguments: &WhyArguments) -> anyhow::Result<ExitCode> {
    let WhyArguments { processes, pid, selection, once, files, print } = arguments;
    let (mut options, finder) = (CaptureOptions::default(), finder(files)?);
    let mut targets: Vec<Target> = Vec::new();
    let mut all = pid.iter().chain(processes).map(|word| wanted(word)).collect::<anyhow::Result<Vec<_>>>()?;
    all.extend(selected(selection)?);
    for wanted in all {
        let opened = Target::open(&wanted, options.stop).or_else(|error| match error {
            // What another tracer holds can be read in place, and that it does is the answer.
            process::Error::AlreadyTraced { .. } => {
                options.stop = StopMode::None;
                Target::open(&wanted, StopMode::None)
            }
            error => Err(error),
        });
        let target = opened.map_err(|error| explain(error, processes))?;
        if targets.iter().all(|other| other.pid() != target.pid()) {
            targets.push(target);
        }
    }
    let mut tracer = Tracer::new()?;
    let _patience = Patience::about("taking samples and reading debug information");
    let samples = record::look(&targets, &options, if *once { ONCE } else { SEVERAL }, &mut tracer)?;
    let seen: Vec<Seen> = targets
        .iter()
        .zip(samples)
        .map(|(target, samples)| Seen {
            samples,
            finder: finder.clone().below(target.directory.root()),
            not_run_since: Vec::new(),
        })
        .collect();
    for (target, seen) in targets.iter().zip(&seen) {
        if !target.is_alive() {
            let (pid, name) = (target.pid(), &target.process.name);
            let samples = seen.samples.len();
            eprintln!("hangsnap: {pid} ({name}) ended meanwhile; what follows is of {samples} samples until then");
        }
    }
    let mut out = output();
    let answer = view::why(&mut out, &seen, format(print.json, print.wide))?;
    finish(out, [])?;
    Ok(code(answer))
}

/// Looks at recordings.
pub(super) fn recorded(arguments: &StuckArguments) -> anyhow::Result<ExitCode> {
    let StuckArguments { path, at, files, print } = arguments;
    let at = at.parse().map_err(|error| anyhow::anyhow!("--at {at}: {error}"))?;
    let mut out = output();
    let _patience = Patience::about("reading the recording and debug information");
    let (answer, aside) = view::stuck(&mut out, path, &at, &finder(files)?, format(print.json, print.wide))?;
    finish_with(out, aside)?;
    Ok(code(answer))
}

fn code(answer: Answer) -> ExitCode {
    match answer {
        Answer::Stuck => ExitCode::from(STUCK),
        Answer::NotStuck => ExitCode::SUCCESS,
    }
}
