//! The offline programs: list, show and diff recordings, check and pin them, and make others of them.
//!
//! Promises: works on files alone, on any machine, and prints of a file what was printed live. A damaged file is used as
//! far as it goes, and the damage is handed back to be told.

mod check;
mod extract;
mod pin;
mod scrub;
mod select;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::analysis::{History, compare};
use crate::model::Snapshot;
use crate::render::{self, ListedRecording, Selection, json};
use crate::store::{self, Contents, Damage, Reader};
use crate::symbols::{Finder, Names};

pub use check::check;
pub use extract::{Extract, cut, merge};
pub use pin::pin;
pub use scrub::scrub;
pub use select::At;
use select::Chosen;

/// Why nothing can be shown. Each message ends in what would help.
#[derive(Debug, thiserror::Error)]
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
    Text,
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
    match format {
        Format::Text => render::show(out, snapshot, &names, selection)?,
        Format::Json => json::show(out, snapshot, &names, selection)?,
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
    print(out, &snapshot, finder, selection, format)?;
    Ok(Aside { remarks: remark.into_iter().collect(), damage: contents.damage() })
}

/// Prints what changed between two snapshots of a recording, by default the last two.
pub fn diff(
    out: &mut dyn Write,
    path: &Path,
    between: Option<(&At, &At)>,
    finder: &Finder,
    format: Format,
) -> Result<Aside, Error> {
    let path = store::recording_at(path)?;
    let mut contents = Contents::open(&path)?;
    let mut remarks = Vec::new();
    let (first, second) = match between {
        Some((first, second)) => {
            let mut choose = |at| {
                let Chosen { snapshot, remark } = select::choose(&mut contents, &path, at)?;
                remarks.extend(remark);
                Ok::<_, Error>(snapshot)
            };
            let (first, second) = (choose(first)?, choose(second)?);
            if first.number <= second.number { (first, second) } else { (second, first) }
        }
        None => select::last_two(&mut contents, &path)?,
    };
    // For how long a thread has been where it is takes every snapshot up to the later one.
    let (mut history, mut damage) = (History::default(), Vec::new());
    let mut reader = Reader::open(&path)?;
    while let Some(next) = reader.next_snapshot()? {
        match next {
            Ok(snapshot) => {
                history.add(&snapshot);
                if snapshot.number >= second.number {
                    break;
                }
            }
            Err(found) => damage.push(found),
        }
    }
    let comparison = compare(&first, &second, &history);
    let names = Names::resolve(finder, [&first, &second]);
    match format {
        Format::Text => render::diff(out, &comparison, &names)?,
        Format::Json => json::diff(out, &comparison, &names)?,
    }
    Ok(Aside { remarks, damage: once_each(damage, contents.damage()) })
}

/// What was met of damage in two ways, each place once.
fn once_each(mut damage: Vec<Damage>, more: Vec<Damage>) -> Vec<Damage> {
    damage.extend(more);
    damage.sort_by(|one, other| (&one.path, one.at).cmp(&(&other.path, other.at)));
    damage.dedup_by(|one, other| one.path == other.path && one.at == other.at);
    damage
}

/// Prints the snapshots of a recording, or of every recording in a directory. What is returned is what could not be read:
/// one file that is no recording does not hide the others.
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
        Format::Text => render::list(out, &listed, snapshots)?,
        Format::Json => json::list(out, &listed, snapshots)?,
    }
    read?;
    Ok(contents.damage())
}
