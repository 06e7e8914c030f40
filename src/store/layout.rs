//! What the files of a recording are called, and which of them a path means.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Error;
use crate::model::Process;

/// What recordings are called behind the dot.
pub const EXTENSION: &str = "hangsnap";
/// And what their parts are.
const SEGMENT: &str = "segment";
const INDEX: &str = "index";

/// What the recording of a process is called when the user does not say: program, pid and the time it was begun (UTC).
pub fn file_name(process: &Process, begun: Timestamp) -> String {
    let name: String = process
        .name
        .chars()
        .map(|c| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' })
        .collect();
    let begun = begun.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ");
    format!("{name}-{}-{begun}.{EXTENSION}", process.id.pid)
}

/// The segment of this number in a recording's directory.
pub(super) fn segment(directory: &Path, number: u32) -> PathBuf {
    directory.join(format!("{number:08}.{SEGMENT}"))
}

/// The same while it is not yet one.
pub(super) fn unnamed(directory: &Path, number: u32) -> PathBuf {
    directory.join(format!("{number:08}.new"))
}

/// What takes a file's place when it is finished, beside it.
pub(super) fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".unfinished");
    name.into()
}

/// Removes segments that have no names yet or none any more, because whoever wrote or removed them was killed.
pub(super) fn remove_unnamed(directory: &Path) -> io::Result<()> {
    for extension in ["new", "old"] {
        with_extension(directory, extension)?.into_iter().try_for_each(fs::remove_file)?;
    }
    Ok(())
}

/// Beside a segment.
pub(super) fn index_of(segment: &Path) -> PathBuf {
    segment.with_extension(INDEX)
}

/// Beside a segment.
pub(super) fn pin_of(segment: &Path) -> PathBuf {
    segment.with_extension("pin")
}

/// A segment that is about to be removed. Readers look at no such file, and one that a killed writer leaves behind is
/// nothing to them.
pub(super) fn leaving(segment: &Path) -> PathBuf {
    segment.with_extension("old")
}

/// Makes the directory that is to hold this file, where there is none.
pub(super) fn make_parent(path: &Path) -> Result<(), Error> {
    match path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        Some(directory) => DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|source| Error::Open { path: path.into(), source }),
        None => Ok(()),
    }
}

/// Makes a new directory that nobody else may look into.
pub(super) fn make(directory: &Path) -> Result<(), Error> {
    make_parent(directory)?;
    DirBuilder::new().mode(0o700).create(directory).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists { path: directory.into() },
        _ => Error::Open { path: directory.into(), source },
    })
}

/// Waits until the disk has the names in the directory that holds this path.
pub(super) fn sync_names(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
}

/// Whether a path is the directory of a recording, and not one that holds recordings.
pub fn is_recording(path: &Path) -> bool {
    segments_in(path).is_ok_and(|segments| !segments.is_empty())
}

/// The segments of a recording, oldest first: of a file, itself.
pub(super) fn segments_of(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let open = |source| Error::Open { path: path.into(), source };
    if !fs::metadata(path).map_err(open)?.is_dir() {
        return Ok(vec![path.into()]);
    }
    let segments = segments_in(path).map_err(open)?;
    if segments.is_empty() {
        return Err(Error::NoSnapshot { path: path.into() });
    }
    Ok(segments)
}

fn segments_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut segments = with_extension(directory, SEGMENT)?;
    // Numbers have eight digits until there are more of them.
    segments.sort_unstable_by(|one, other| {
        let key = |path: &Path| (path.as_os_str().len(), path.to_path_buf());
        key(one).cmp(&key(other))
    });
    Ok(segments)
}

/// Segments of which only the index is there. A writer removes the index first, while the segment still has another name.
pub(super) fn segments_lost(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut lost: Vec<PathBuf> =
        with_extension(directory, INDEX)?.into_iter().map(|index| index.with_extension(SEGMENT)).collect();
    let is_there = |path: &Path| path.symlink_metadata().is_ok();
    lost.retain(|segment| !is_there(segment) && !is_there(&leaving(segment)) && is_there(&index_of(segment)));
    lost.sort_unstable();
    Ok(lost)
}

/// The recordings that a path means: itself, or those in a directory, in the order of their names.
pub fn recordings_in(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let open = |source| Error::Open { path: path.into(), source };
    if !fs::metadata(path).map_err(open)?.is_dir() || is_recording(path) {
        return Ok(vec![path.into()]);
    }
    let mut recordings = with_extension(path, EXTENSION).map_err(open)?;
    if recordings.is_empty() {
        return Err(Error::Empty { path: path.into() });
    }
    recordings.sort_unstable();
    Ok(recordings)
}

/// The one recording that a path means.
pub fn recording_at(path: &Path) -> Result<PathBuf, Error> {
    let mut recordings = recordings_in(path)?;
    match recordings.len() {
        1 => Ok(recordings.remove(0)),
        count => Err(Error::Several { path: path.into(), count }),
    }
}

fn with_extension(directory: &Path, wanted: &str) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == wanted) {
            files.push(file);
        }
    }
    Ok(files)
}
