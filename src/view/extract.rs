//! One file made of recordings: a range of time cut out of one, or several joined one after
//! another.
//!
//! Promises: snapshots are in the order in which they were taken, by CLOCK_MONOTONIC. Their numbers
//! stay, but those of a later recording continue after those of the one before it. Recordings
//! without a common order are refused: those of different machines or boots, and those made at the
//! same time. Damaged parts of the sources are left out and reported. Snapshots are encoded again
//! as differences, so counters (see `Counters` in the .proto) may come out smaller by one unit
//! more.

use std::collections::HashSet;
use std::io::Write;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use super::select::{Range, held};
use super::{At, Error};
use crate::model::Recording;
use crate::render::{bytes, printable};
use crate::store::{self, Contents, Damage, Reader, Segment};

/// Where snapshots go, and what is made of them on the way.
pub struct Extract<'a> {
    /// The file that is made.
    pub output: &'a Path,
    /// Whether memory and words of the command line are left out.
    pub redact: bool,
}

/// What was taken.
#[derive(Default)]
struct Extracted {
    snapshots: u64,
    bytes: u64,
    /// What of the sources could not be read.
    damage: Vec<Damage>,
}

/// A recording with at least one snapshot.
struct Source<'a> {
    path: &'a Path,
    recording: Recording,
    /// When the first and the last were taken, in nanoseconds of CLOCK_MONOTONIC.
    span: RangeInclusive<u64>,
}

/// Cuts a range of time out of a recording. What is returned is what of it could not be read.
pub fn cut(
    out: &mut dyn Write,
    path: &Path,
    (from, to): (Option<&At>, Option<&At>),
    extract: &Extract<'_>,
) -> Result<Vec<Damage>, Error> {
    let path = store::recording_at(path)?;
    let mut contents = Contents::open(&path)?;
    let range = Range::of(&mut contents, &path, from, to)?;
    let extracted = extract.make(&in_order(std::slice::from_ref(&path))?, &range)?;
    let held = held(contents.numbers()?);
    extracted.report(out, extract).ok_or(Error::NothingThen { path: path.display().to_string(), held })?
}

/// Puts recordings one after another. What is returned is what of them could not be read.
pub fn merge(out: &mut dyn Write, paths: &[PathBuf], extract: &Extract<'_>) -> Result<Vec<Damage>, Error> {
    let extracted = extract.make(&in_order(paths)?, &Range::all())?;
    // Each of them holds a snapshot, or they would have no order.
    extracted.report(out, extract).unwrap_or(Ok(Vec::new()))
}

impl Extract<'_> {
    /// Makes the file. Nothing is left of it if this fails.
    fn make(&self, sources: &[Source<'_>], range: &Range) -> Result<Extracted, Error> {
        let mut extracted = Extracted::default();
        let mut segment = None;
        match (self.copy(sources, range, &mut segment, &mut extracted), segment) {
            (Ok(()), _) => Ok(extracted),
            (Err(error), segment) => {
                segment.into_iter().for_each(Segment::discard);
                Err(error)
            }
        }
    }

    fn copy(
        &self,
        sources: &[Source<'_>],
        range: &Range,
        segment: &mut Option<Segment>,
        extracted: &mut Extracted,
    ) -> Result<(), Error> {
        let mut behind = 0;
        for source in sources {
            let mut last = 0;
            segment.iter_mut().for_each(Segment::begin_anew);
            let mut reader = Reader::open(source.path)?;
            while let Some(next) = reader.next_snapshot()? {
                let mut snapshot = match next {
                    Ok(snapshot) => snapshot,
                    Err(damage) => {
                        extracted.damage.push(damage);
                        continue;
                    }
                };
                last = snapshot.number;
                if !range.contains(&snapshot) {
                    continue;
                }
                snapshot.count_on(behind);
                if self.redact {
                    snapshot.redact();
                }
                let segment = match segment {
                    Some(segment) => segment,
                    None => segment.insert(Segment::create(self.output, &source.recording)?),
                };
                extracted.bytes += segment.append(&snapshot)? as u64;
                extracted.snapshots += 1;
            }
            behind = last.saturating_add(behind);
        }
        if let Some(segment) = segment {
            let mut kept = HashSet::new();
            for file in sources.iter().flat_map(|source| store::bundled(source.path)) {
                if kept.insert((file.build_id.clone(), file.path.clone(), file.role, file.size)) {
                    segment.append_bundled(&file)?;
                }
            }
        }
        Ok(())
    }
}

impl Extracted {
    /// Says what was taken. None if that is nothing.
    fn report(self, out: &mut dyn Write, extract: &Extract<'_>) -> Option<Result<Vec<Damage>, Error>> {
        let Self { snapshots, bytes: size, damage } = self;
        let plural = if snapshots == 1 { "" } else { "s" };
        let path = extract.output.display().to_string();
        (snapshots > 0).then(|| {
            writeln!(out, "{snapshots} snapshot{plural}, {}, in {}", bytes(size), printable(&path))?;
            Ok(damage)
        })
    }
}

/// The sources in the order in which they were recorded, if there is one.
fn in_order(paths: &[PathBuf]) -> Result<Vec<Source<'_>>, Error> {
    let mut sources = Vec::new();
    for path in paths {
        let mut contents = Contents::open(path)?;
        let times: Vec<u64> = contents.summaries()?.iter().map(|summary| summary.taken.monotonic_ns).collect();
        let (Some(first), Some(last)) = (times.first(), times.last()) else {
            return Err(store::Error::NoSnapshot { path: path.clone() }.into());
        };
        let recording = contents.recording()?.unwrap_or_default();
        sources.push(Source { path, recording, span: *first..=*last });
    }
    sources.sort_by_key(|source| *source.span.start());
    for pair in sources.windows(2) {
        let [before, after] = pair else { continue };
        let clash = |why| Error::NoOrder { one: before.path.into(), other: after.path.into(), why };
        if (&before.recording.host, &before.recording.machine) != (&after.recording.host, &after.recording.machine) {
            return Err(clash("were recorded on different machines"));
        }
        if before.recording.boot_id != after.recording.boot_id {
            return Err(clash("were recorded before and after a restart of the machine"));
        }
        if before.span.end() >= after.span.start() {
            return Err(clash("were recorded at the same time"));
        }
    }
    Ok(sources)
}
