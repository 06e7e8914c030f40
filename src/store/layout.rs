//! What the files of a recording are called, and which of them a path means.

use std::cmp::Reverse;
use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};

use super::{Damage, Error};
use crate::model::Process;
use crate::sys::being_written;

/// What recordings are called after the dot.
pub const EXTENSION: &str = "hangsnap";
/// And what their parts are.
const SEGMENT: &str = "segment";
const INDEX: &str = "index";

/// What the recording of a process is called when the user does not say: the file that it executes,
/// its pid and the time at which the recording was begun (UTC).
pub fn file_name(process: &Process, begun: Timestamp) -> String {
    let begun = begun.to_zoned(TimeZone::UTC).strftime(BEGUN);
    format!("{}-{}-{begun}.{EXTENSION}", program(process), process.id.pid)
}

/// Whether a recording is called as that of this program is when the user does not say, whatever
/// the pid. Version 0.1 called it by what the main thread called itself.
pub(super) fn is_named_after(recording: &Path, process: &Process) -> bool {
    let name =
        recording.file_name().and_then(OsStr::to_str).and_then(|name| name.strip_suffix(EXTENSION)?.strip_suffix('.'));
    let mut parts = name.into_iter().flat_map(|name| name.rsplitn(3, '-'));
    let (begun, pid, name) = (parts.next(), parts.next(), parts.next());
    begun.is_some_and(|begun| civil::DateTime::strptime(BEGUN, begun).is_ok())
        && pid.is_some_and(|pid| pid.parse::<u32>().is_ok())
        && name.is_some_and(|name| name == program(process) || name == plain(&process.name))
}

/// When a recording was begun, as its name says it.
const BEGUN: &str = "%Y%m%dT%H%M%SZ";

/// What a program is called in the names of files. What the main thread calls itself changes while
/// it runs, and says of some programs what they do (`MainThread`) and not what they are.
fn program(process: &Process) -> String {
    // What the kernel adds when the file is no longer there.
    let path = process.executable.trim_end_matches(" (deleted)");
    match Path::new(path).file_name().and_then(OsStr::to_str) {
        Some(name) => plain(&name[..name.floor_char_boundary(LONGEST)]),
        // Of a process whose file may not be known there is nothing else.
        None => plain(&process.name),
    }
}

/// Bytes of a program's name in those of its recordings, which may have 255 in all.
const LONGEST: usize = 64;

fn plain(name: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.');
    name.chars().map(|c| if is_plain(c) { c } else { '_' }).collect()
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

/// The files in a directory that are no segments yet, whatever they were to become.
pub(super) fn begun_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut begun = with_extension(directory, "new")?;
    begun.extend(with_extension(directory, "unfinished")?);
    begun.retain(|path| is_numbered(path));
    Ok(begun)
}

/// The segments in a directory that were about to be removed, under the names that they had.
pub(super) fn leaving_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let leaving = with_extension(directory, "old")?.into_iter().filter(|path| is_numbered(path));
    Ok(leaving.map(|path| path.with_extension(SEGMENT)).collect())
}

/// Whether somebody writes to the recording in this directory.
pub(super) fn is_being_written(directory: &Path) -> bool {
    File::open(directory).is_ok_and(|directory| being_written::is_marked(&directory))
}

/// Where a recording in a directory keeps files that names are taken from.
pub(super) fn bundle_of(directory: &Path) -> PathBuf {
    directory.join("files.bundle")
}

/// Beside a segment.
pub(super) fn index_of(segment: &Path) -> PathBuf {
    segment.with_extension(INDEX)
}

/// Beside a segment.
pub(super) fn pin_of(segment: &Path) -> PathBuf {
    segment.with_extension("pin")
}

/// A segment that is about to be removed. Readers look at no such file, and one that a killed
/// writer leaves is nothing to them.
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

/// Makes a new directory that no other user may look into.
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

pub(super) fn segments_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut segments = with_extension(directory, SEGMENT)?;
    // Numbers have eight digits until there are more of them.
    segments.sort_unstable_by(|one, other| {
        let key = |path: &Path| (path.as_os_str().len(), path.to_path_buf());
        key(one).cmp(&key(other))
    });
    Ok(segments)
}

/// Segments that only the index is left of, after the snapshot of this number. A writer removes
/// the index first, while the segment still has another name.
pub(super) fn damage_of_lost(directory: &Path, after: u64) -> Result<Vec<Damage>, Error> {
    let indexes = with_extension(directory, INDEX).map_err(|source| Error::Open { path: directory.into(), source })?;
    let mut lost: Vec<PathBuf> = indexes.into_iter().map(|index| index.with_extension(SEGMENT)).collect();
    let is_there = |path: &Path| path.symlink_metadata().is_ok();
    lost.retain(|segment| !is_there(segment) && !is_there(&leaving(segment)) && is_there(&index_of(segment)));
    lost.sort_unstable();
    let gone = |segment| Damage::whole_file(segment, after, "the segment is gone, and its index is there".into());
    Ok(lost.into_iter().map(gone).collect())
}

/// The recordings that a path means: itself, or those in a directory, the one first that was
/// written to last; of several of one time, in the order of their names.
pub fn recordings_in(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let open = |source| Error::Open { path: path.into(), source };
    if !fs::metadata(path).map_err(open)?.is_dir() || is_recording(path) {
        return Ok(vec![path.into()]);
    }
    let mut recordings = with_extension(path, EXTENSION).map_err(open)?;
    if recordings.is_empty() {
        return Err(Error::Empty { path: path.into() });
    }
    recordings.sort_by_cached_key(|recording| (Reverse(written(recording)), recording.clone()));
    Ok(recordings)
}

/// When a recording was written to last, as far as its newest segment says.
fn written(recording: &Path) -> Option<SystemTime> {
    let newest = segments_in(recording).ok().and_then(|mut segments| segments.pop());
    fs::metadata(newest.as_deref().unwrap_or(recording)).and_then(|metadata| metadata.modified()).ok()
}

/// The one recording that a path means.
pub fn recording_at(path: &Path) -> Result<PathBuf, Error> {
    let mut recordings = recordings_in(path)?;
    match recordings.len() {
        1 => Ok(recordings.remove(0)),
        count => Err(Error::Several { path: path.into(), count }),
    }
}

/// Whether a file is called as a part of a recording is: by a number, and what is after the first
/// dot.
fn is_numbered(path: &Path) -> bool {
    let name = path.file_name().map(OsStr::as_encoded_bytes).unwrap_or_default();
    let number = name.split(|byte| *byte == b'.').next().unwrap_or_default();
    number.len() >= 8 && number.iter().all(u8::is_ascii_digit)
}

pub(super) fn with_extension(directory: &Path, wanted: &str) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == wanted) {
            files.push(file);
        }
    }
    Ok(files)
}
