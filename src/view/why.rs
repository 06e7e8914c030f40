//! Says what hangs: of samples that were just taken, and of recordings.

use std::io::Write;
use std::path::Path;

use super::{Aside, At, Error, Format, once_each, select};
use crate::analysis::History;
use crate::analysis::verdict::{Judgement, Level, Observation, judge};
use crate::analysis::waits::Calls;
use crate::model::{ProcessId, Snapshot, Thread};
use crate::render::{self, json};
use crate::store::{self, Contents};
use crate::symbols::{Finder, Names};

/// Snapshots that are compared: the one in question, and those before it.
const SAMPLES: usize = 3;

/// One process: its samples, the oldest first, where its files are, and since when its threads have
/// not run, if that is known from elsewhere.
pub struct Seen {
    /// The oldest first.
    pub samples: Vec<Snapshot>,
    /// Where its files are.
    pub finder: Finder,
    /// Of each thread of the last sample, in nanoseconds since 1970.
    pub not_run_since: Vec<Option<i64>>,
}

impl Seen {
    fn process(&self) -> Option<ProcessId> {
        Some(self.samples.last()?.process.id)
    }

    fn taken(&self) -> Option<i64> {
        Some(self.samples.last()?.taken.realtime_ns)
    }
}

/// Whether anything was found to be stuck.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Answer {
    Stuck,
    NotStuck,
}

/// Says what hangs in these processes, taken together.
pub fn why(out: &mut dyn Write, processes: &[Seen], format: Format) -> Result<Answer, Error> {
    let names: Vec<Names> = processes.iter().map(|seen| Names::resolve(&seen.finder, &seen.samples)).collect();
    let named: Vec<Vec<Vec<Calls<'_>>>> = processes
        .iter()
        .zip(&names)
        .map(|(seen, names)| seen.samples.iter().map(|sample| calls(sample, names)).collect())
        .collect();
    let observations: Vec<Observation<'_>> = processes
        .iter()
        .zip(&named)
        .filter_map(|(seen, named)| {
            let (calls, earlier) = named.split_last()?;
            Some(Observation {
                samples: seen.samples.iter().collect(),
                calls,
                earlier: earlier.iter().map(Vec::as_slice).collect(),
                not_run_since: seen.not_run_since.clone(),
            })
        })
        .collect();
    let judgement = judge(&observations);
    match format {
        Format::Text(width) => render::why(out, &judgement, width)?,
        Format::Json => json::verdict(out, &judgement)?,
    }
    Ok(answer(&judgement))
}

/// What can be said of one snapshot alone.
pub(super) fn of_one(snapshot: &Snapshot, names: &Names) -> Judgement {
    let calls = calls(snapshot, names);
    let since = |thread: &Thread| thread.acquired.unchanged_since().map(|moment| moment.realtime_ns);
    let not_run_since = snapshot.threads.iter().map(since).collect();
    judge(&[Observation { samples: vec![snapshot], calls: &calls, earlier: Vec::new(), not_run_since }])
}

fn calls<'a>(sample: &'a Snapshot, names: &'a Names) -> Vec<Calls<'a>> {
    let of = |thread| Calls::of(sample, thread, |snapshot, frame| names.of(snapshot, frame));
    sample.threads.iter().map(of).collect()
}

fn answer(judgement: &Judgement) -> Answer {
    match judgement.verdicts.iter().any(|verdict| verdict.level == Level::Stuck) {
        true => Answer::Stuck,
        false => Answer::NotStuck,
    }
}

/// Says what hung in a recording, or in each recording of a directory, at one time.
pub fn stuck(
    out: &mut dyn Write,
    path: &Path,
    at: &At,
    finder: &Finder,
    format: Format,
) -> Result<(Answer, Aside), Error> {
    let (mut seen, mut aside) = (Vec::<Seen>::new(), Aside::default());
    for path in store::recordings_in(path)? {
        let mut contents = Contents::open(&path)?;
        let select::Chosen { snapshot, remark } = select::choose(&mut contents, &path, at)?;
        aside.remarks.extend(remark);
        let samples = before(&mut contents, snapshot)?;
        let mut history = History::default();
        samples.iter().for_each(|sample| history.add(sample));
        let since = |thread| history.streak(samples.last()?, thread).map(|streak| streak.not_run_since.realtime_ns);
        let not_run_since = samples.last().map_or_else(Vec::new, |last| last.threads.iter().map(since).collect());
        aside.damage = once_each(std::mem::take(&mut aside.damage), contents.damage());
        let found = Seen { samples, finder: finder.with_bundle(store::bundled(&path)), not_run_since };
        // Two runs may have recorded one process: what was seen last counts.
        match seen.iter_mut().find(|other| other.process() == found.process()) {
            Some(other) if other.taken() < found.taken() => *other = found,
            Some(_) => {}
            None => seen.push(found),
        }
    }
    Ok((why(out, &seen, format)?, aside))
}

/// A snapshot with those before it of the same process, the oldest first. No others need be read: a
/// thread that has not run says itself since when it is unchanged.
fn before(contents: &mut Contents, last: Snapshot) -> Result<Vec<Snapshot>, Error> {
    let mut found = contents.by_number(last.number)?;
    let mut samples = vec![last];
    while let (Some(at), true) = (found, samples.len() < SAMPLES) {
        found = contents.before(at)?;
        let Some(sample) = found.map(|at| contents.snapshot(at)).transpose()?.flatten() else { break };
        if sample.process.id != samples[0].process.id {
            break;
        }
        samples.insert(0, sample);
    }
    Ok(samples)
}
