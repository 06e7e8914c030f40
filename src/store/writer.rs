//! A recording that is being written: one segment after another in a directory of its own.
//!
//! Promises: each segment that has a name begins with a whole snapshot and can be read alone,
//! whatever happens. A full disk is no error once a snapshot has been stored: snapshots without
//! room are counted, and the recording continues in a new segment when there is room again. The
//! policy decides what is forced to disk, and when. If the disk may lack a part of a segment, that
//! is reported, and is an error for the last segment only.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::retention::{Age, Past, Retention};
use super::segment::Segment;
use super::{Error, earlier, index, layout};
use crate::model::{BundledFile, Recording, Snapshot};
use crate::sys::being_written;
use crate::wire::Row;

/// No segment is longer, nor written for a longer time.
const LONGEST: u64 = 8 << 20;
const OLDEST: Duration = Duration::from_secs(3600);
/// A segment is at most this part of what a recording may take.
const PART: u64 = 8;

/// When the disk is made to have what was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sync {
    /// When the kernel likes.
    Never,
    /// When a segment ends.
    Segment,
    /// With each sample.
    Sample,
}

/// How long a recording is kept, and how safely.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// What all segments may take together, but for pinned ones.
    pub max_size: u64,
    /// Whether those of earlier runs count, too.
    pub earlier_count: bool,
    /// After how long a segment is removed.
    pub keep_for: Option<Duration>,
    /// When its data is forced to disk.
    pub sync: Sync,
}

impl Default for Policy {
    fn default() -> Self {
        Self { max_size: 512 << 20, earlier_count: false, keep_for: None, sync: Sync::Segment }
    }
}

/// What became of a snapshot.
#[derive(Debug)]
#[expect(missing_docs, reason = "the comment on each says what its fields are")]
pub enum Stored {
    /// It took this many bytes; before it, this many found no room.
    Yes { bytes: u64, missing: u64 },
    /// There is no room for it, and this many have found none now.
    NoRoom { why: Error, missing: u64 },
}

/// A segment that the disk may not have all of, although its snapshots were stored.
#[derive(Debug, thiserror::Error)]
#[error("the disk may not have all of {} ({snapshots} snapshot{}): {source}; `hangsnap check` says what can be read", path.display(), if *snapshots == 1 { "" } else { "s" })]
pub struct Unsynced {
    path: PathBuf,
    /// How many it holds.
    pub snapshots: u64,
    source: io::Error,
}

/// A recording that is being written.
pub struct Writer {
    directory: PathBuf,
    /// Marks this recording as being written, between two segments too. None where a
    /// file system has no locks.
    mark: Option<File>,
    recording: Recording,
    policy: Policy,
    retention: Retention,
    longest: u64,
    current: Option<(Segment, Vec<Row>)>,
    /// The number of the last segment.
    number: u32,
    /// Snapshots that have found no room since the last one that did.
    missing: u64,
    /// Files that names are taken from.
    bundle: Option<Segment>,
    /// What is to be reported of segments that were named or ended.
    unsynced: Vec<Unsynced>,
}

impl Writer {
    /// Begins a recording in a new directory.
    pub fn create(directory: &Path, recording: &Recording, policy: Policy) -> Result<Self, Error> {
        layout::make(directory)?;
        let mark = File::open(directory).ok().filter(being_written::mark_directory);
        let longest = LONGEST.min(policy.max_size / PART);
        Ok(Self {
            directory: directory.into(),
            mark,
            recording: recording.clone(),
            policy,
            retention: Retention::new(policy.max_size.saturating_sub(longest), policy.earlier_count, policy.keep_for),
            longest,
            current: None,
            number: 0,
            missing: 0,
            bundle: None,
            unsynced: Vec::new(),
        })
    }

    /// The recording's directory.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// Takes recordings of earlier runs under this one's bounds: what is too old or too much of
    /// them goes now, or when its time comes.
    pub fn succeed(&mut self, recordings: &[PathBuf]) {
        if self.mark.is_none() {
            // Those that are being written could not be distinguished from the others.
            return;
        }
        self.retention.add_earlier(earlier::segments(recordings));
        self.retention.expire(Instant::now());
    }

    /// Stores a snapshot. That there is no room is an error only for the first one.
    pub fn append(&mut self, snapshot: &Snapshot) -> Result<Stored, Error> {
        self.retention.expire(Instant::now());
        if let Some((segment, _)) = &self.current {
            // Somebody removed it, or the whole directory: then no other can be begun either, and
            // that is reported.
            if segment.is_removed() {
                self.current = None;
            } else if segment.begun().elapsed() >= OLDEST {
                self.end_on_the_way()?;
            }
        }
        let mut stored = self.store(snapshot);
        if matches!(&stored, Err(error) if is_want_of_room(error)) && self.current.is_some() {
            // Perhaps only this file may not grow any further. What it has is whole.
            self.end_on_the_way()?;
            stored = self.store(snapshot);
        }
        match stored {
            Ok(bytes) => {
                if self.current.as_ref().is_some_and(|(segment, _)| segment.bytes() >= self.longest) {
                    self.end_on_the_way()?;
                }
                Ok(Stored::Yes { bytes, missing: std::mem::take(&mut self.missing) })
            }
            Err(source) => {
                self.current = None;
                if self.number == 0 {
                    self.discard();
                } else if is_want_of_room(&source) {
                    self.missing += 1;
                    return Ok(Stored::NoRoom { why: self.cannot_write(source), missing: self.missing });
                }
                Err(self.cannot_write(source))
            }
        }
    }

    /// Keeps files that names are taken from, beside the segments.
    pub fn bundle(&mut self, files: &[BundledFile]) -> Result<(), Error> {
        for file in files {
            let bundle = match &mut self.bundle {
                Some(bundle) => bundle,
                None => {
                    let path = layout::bundle_of(&self.directory);
                    self.bundle.insert(Segment::create(&path, &self.recording)?)
                }
            };
            bundle.append_bundled(file)?;
        }
        Ok(())
    }

    /// Ends the recording; what has been written can be read whether or not this is called.
    pub fn finish(mut self) -> Result<(), Error> {
        Ok(self.end_segment()?)
    }

    /// The segments that the disk may not have for want of room, each of them once.
    pub fn unsynced(&mut self) -> Vec<Unsynced> {
        std::mem::take(&mut self.unsynced)
    }

    /// Removes a recording that has come to nothing.
    pub fn discard(&self) {
        // What is not empty holds a snapshot, and stays.
        let _ = fs::remove_dir(&self.directory);
    }

    fn store(&mut self, snapshot: &Snapshot) -> io::Result<u64> {
        let durable = self.policy.sync == Sync::Sample;
        let before = match &mut self.current {
            Some((segment, rows)) => {
                let before = segment.bytes();
                rows.push(segment.write(snapshot, durable)?);
                before
            }
            None => {
                self.begin_segment(snapshot, durable)?;
                0
            }
        };
        let now = self.current.as_ref().map_or(0, |(segment, _)| segment.bytes());
        Ok(now - before)
    }

    /// Begins the next segment with this snapshot. It gets its name when it holds it.
    fn begin_segment(&mut self, snapshot: &Snapshot, durable: bool) -> io::Result<()> {
        let number = self.number + 1;
        let mut segment = Segment::begin(&layout::unnamed(&self.directory, number), &self.recording)?;
        let path = layout::segment(&self.directory, number);
        let row = match segment.write(snapshot, durable).and_then(|row| segment.name(path).map(|()| row)) {
            Ok(row) => row,
            Err(error) => {
                segment.discard();
                return Err(error);
            }
        };
        let path = segment.path().to_path_buf();
        // It has its name, whether the disk has that or not.
        self.number = number;
        self.current = Some((segment, vec![row]));
        let synced = match (self.policy.sync, number) {
            (Sync::Never, _) => Ok(()),
            (_, 1) => layout::sync_names(&path).and_then(|()| layout::sync_names(&self.directory)),
            (_, _) => layout::sync_names(&path),
        };
        match synced {
            Err(source) if is_want_of_room(&source) => {
                self.unsynced.push(Unsynced { path, snapshots: 1, source });
                Ok(())
            }
            synced => synced,
        }
    }

    fn end_segment(&mut self) -> Result<(), Unsynced> {
        let Some((segment, rows)) = self.current.take() else { return Ok(()) };
        let synced = if self.policy.sync == Sync::Never { Ok(()) } else { segment.sync() };
        // Without room for an index the segment is read instead.
        let index = index::write(segment.path(), segment.salt(), &self.recording, segment.bytes(), &rows).unwrap_or(0);
        let (path, bytes, snapshots) = (segment.path().to_path_buf(), segment.bytes() + index, rows.len() as u64);
        self.retention.add(Past { path: path.clone(), bytes, age: Age::new(), is_of_earlier_run: false });
        // Reported only now: the segment takes its room, and is to go one day, whether the disk has
        // it or not.
        synced.map_err(|source| Unsynced { path, snapshots, source })
    }

    /// The same where the recording goes on. A disk that becomes full as it is made to have the
    /// segment is no error: its snapshots were stored, and perhaps can be read all the same.
    fn end_on_the_way(&mut self) -> Result<(), Error> {
        match self.end_segment() {
            Err(unsynced) if is_want_of_room(&unsynced.source) => {
                self.unsynced.push(unsynced);
                Ok(())
            }
            ended => Ok(ended?),
        }
    }

    fn cannot_write(&self, source: io::Error) -> Error {
        let path = self.directory.clone();
        match self.directory.exists() {
            true => Error::Write { path, source },
            false if self.number == 0 => Error::Open { path, source },
            false => Error::Removed { path },
        }
    }
}

/// Whether a snapshot could be stored were there more room.
fn is_want_of_room(error: &io::Error) -> bool {
    let number = error.raw_os_error().map(Errno::from_raw);
    matches!(number, Some(Errno::ENOSPC | Errno::EDQUOT | Errno::EFBIG))
}
