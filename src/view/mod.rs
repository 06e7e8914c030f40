//! The offline programs: list, show and diff recordings, check and pin them, and make others of
//! them.
//!
//! Promises: works on files alone, on any machine, and prints of a file what was printed live. A
//! damaged file is used as far as it goes, and its damage is returned to be reported.

mod check;
mod extract;
mod pin;
mod scrub;
mod select;
mod symbols;
mod why;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::analysis::{History, compare};
use crate::model::Snapshot;
use crate::render::{self, ListedRecording, Lookups, Selection, Width, json};
use crate::store::{self, Contents, Damage, Reader};
use crate::symbols::{Finder, Names, SourceLines};
use crate::variables::Locals;

pub use check::check;
pub use extract::{Extract, cut, merge};
pub use pin::pin;
pub use scrub::scrub;
pub use select::At;
use select::Chosen;
pub use symbols::symbols;
pub use why::{Answer, Seen, stuck, why};

/// Why nothing can be shown. Each message ends in what would help.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each says what it is")]
pub enum Error {
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error("{0}")]
    Damaged(Damage),
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    #[error("{path} holds no snapshot {wanted}; it holds {held}, see `hangsnap list {path}`")]
    NoSuchSnapshot { path: String, wanted: String, held: String },
    #[error(
        "no thread of snapshot {number} has the id or the name `{wanted}`; `hangsnap show` without --thread lists them"
    )]
    NoSuchThread { number: u64, wanted: String },
    #[error("{path} holds no snapshot of that time; it holds {held}, see `hangsnap list {path}`")]
    NothingThen { path: String, held: String },
    #[error("{} and {} {why}, so their snapshots have no common order; cut each to a file of its own", one.display(), other.display())]
    NoOrder { one: PathBuf, other: PathBuf, why: &'static str },
    #[error("{path} holds {held}, and a comparison needs two; record more with --every and --count")]
    TooFewSnapshots { path: String, held: String },
}

/// How to print.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    /// For people, in lines of this width.
    Text(Width),
    /// For programs.
    Json,
}

/// Prints one snapshot: what both the live program and the offline one do.
pub fn print(
    out: &mut dyn Write,
    snapshot: &Snapshot,
    finder: &Finder,
    selection: &Selection,
    format: Format,
) -> Result<(), Error> {
    ensure_selected(snapshot, selection)?;
    let names = Names::resolve(finder, [snapshot]);
    let variables = match &selection.locals {
        Some(wanted) => Locals::resolve(finder, snapshot, &selection.threads(snapshot), &wanted.paths),
        None => Locals::default(),
    };
    match format {
        Format::Text(width) => {
            // Of one thread all is said below, and who asks for details wants those.
            let is_brief = !selection.verbose && !selection.registers && selection.locals.is_none();
            let is_long = is_brief && selection.thread.is_none() && snapshot.threads.len() > 1;
            let judgement = is_long.then(|| why::of_one(snapshot, &names));
            let source = selection.source.then(|| SourceLines::new(finder.clone()));
            let lookups = Lookups { names: &names, variables: &variables, source: source.as_ref() };
            render::show(out, snapshot, lookups, selection, judgement.as_ref(), width)?;
        }
        Format::Json => json::show(out, snapshot, &names, &variables, selection)?,
    }
    Ok(())
}

/// Whether a selection selects anything of a snapshot.
pub fn ensure_selected(snapshot: &Snapshot, selection: &Selection) -> Result<(), Error> {
    match &selection.thread {
        Some(wanted) if selection.threads(snapshot).is_empty() => {
            Err(Error::NoSuchThread { number: snapshot.number, wanted: wanted.clone() })
        }
        _ => Ok(()),
    }
}

/// What is to be said beside what was printed.
#[derive(Default, Debug)]
pub struct Aside {
    /// Of each snapshot that is of another time than the one that was named, which one it is.
    pub remarks: Vec<String>,
    /// What could not be read.
    pub damage: Vec<Damage>,
}

/// Prints the chosen snapshot of a recording.
pub fn show(
    out: &mut dyn Write,
    path: &Path,
    at: &At,
    finder: &Finder,
    selection: &Selection,
    format: Format,
) -> Result<Aside, Error> {
    let path = store::recording_at(path)?;
    let mut contents = Contents::open(&path)?;
    let Chosen { snapshot, remark } = select::choose(&mut contents, &path, at)?;
    let finder = &finder.with_bundle(store::bundled(&path));
    print(out, &snapshot, finder, selection, format)?;
    Ok(Aside { remarks: remark.into_iter().collect(), damage: contents.damage() })
}

/// Which snapshots are compared.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Compared {
    /// The last two.
    LastTwo,
    /// These two.
    Snapshots(At, At),
    /// The last one with the last one of another recording.
    Other(PathBuf),
}

/// Prints what changed between two snapshots.
pub fn diff(
    out: &mut dyn Write,
    path: &Path,
    compared: &Compared,
    finder: &Finder,
    format: Format,
) -> Result<Aside, Error> {
    let path = store::recording_at(path)?;
    let mut contents = Contents::open(&path)?;
    let mut remarks = Vec::new();
    let mut seen = contents.damage();
    let mut recordings = vec![path.clone()];
    let (first, second) = match compared {
        Compared::Snapshots(first, second) => {
            let mut choose = |at| {
                let Chosen { snapshot, remark } = select::choose(&mut contents, &path, at)?;
                remarks.extend(remark);
                Ok::<_, Error>(snapshot)
            };
            let (first, second) = (choose(first)?, choose(second)?);
            if first.number <= second.number { (first, second) } else { (second, first) }
        }
        Compared::LastTwo => select::last_two(&mut contents, &path)?,
        Compared::Other(other) => {
            let other = store::recording_at(other)?;
            let mut others = Contents::open(&other)?;
            let first = select::choose(&mut contents, &path, &At::Last)?.snapshot;
            let second = select::choose(&mut others, &other, &At::Last)?.snapshot;
            seen.extend(others.damage());
            // What another process did says nothing of how long a thread of this one has been where
            // it is.
            recordings.retain(|_| first.process.id == second.process.id && other != path);
            recordings.push(other);
            (first, second)
        }
    };
    seen.extend(contents.damage());
    // For how long a thread has been where it is takes every snapshot up to the later one.
    let (mut history, mut damage) = (History::default(), Vec::new());
    for recording in &recordings {
        let mut reader = Reader::open(recording)?;
        while let Some(next) = reader.next_snapshot()? {
            match next {
                Ok(snapshot) => {
                    history.add(&snapshot);
                    if snapshot.taken == second.taken && snapshot.number == second.number {
                        break;
                    }
                }
                Err(found) => damage.push(found),
            }
        }
    }
    let comparison = compare(&first, &second, &history);
    let finder = &finder.with_bundle(recordings.iter().flat_map(|recording| store::bundled(recording)).collect());
    let names = Names::resolve(finder, [&first, &second]);
    match format {
        Format::Text(width) => {
            let judgements = [why::of_one(&first, &names), why::of_one(&second, &names)];
            render::diff(out, &comparison, judgements.each_ref(), &names, width)?;
        }
        Format::Json => json::diff(out, &comparison, &names)?,
    }
    Ok(Aside { remarks, damage: once_each(damage, seen) })
}

/// What was met of damage in two ways, each place once.
fn once_each(mut damage: Vec<Damage>, more: Vec<Damage>) -> Vec<Damage> {
    damage.extend(more);
    damage.sort_by(|one, other| (&one.path, one.at).cmp(&(&other.path, other.at)));
    damage.dedup_by(|one, other| one.path == other.path && one.at == other.at);
    damage
}

/// Prints the snapshots of a recording, or of every recording in a directory. What is returned is
/// what could not be read: one file that is no recording does not hide the others.
pub fn list(out: &mut dyn Write, path: &Path, format: Format) -> Result<Vec<Error>, Error> {
    let paths = store::recordings_in(path)?;
    let mut failures = Vec::new();
    for path in &paths {
        match list_one(out, path, format) {
            Ok(damage) => failures.extend(damage.into_iter().map(Error::Damaged)),
            Err(error @ Error::Output(_)) => return Err(error),
            Err(error) => failures.push(error),
        }
    }
    Ok(failures)
}

fn list_one(out: &mut dyn Write, path: &Path, format: Format) -> Result<Vec<Damage>, Error> {
    let mut contents = Contents::open(path)?;
    let listed = ListedRecording { path: path.display().to_string(), recording: contents.recording()? };
    // Segment by segment, and no more of them in memory than one: a list can be long.
    let mut read = Ok(());
    let snapshots = (0..contents.segments())
        .map_while(|segment| contents.take_summaries(segment).map_err(|error| read = Err(error)).ok())
        .flatten();
    match format {
        Format::Text(width) => render::list(out, &listed, snapshots, width)?,
        Format::Json => json::list(out, &listed, snapshots)?,
    }
    read?;
    Ok(contents.damage())
}
