//! Writing one segment: a new file, each record with one call.
//!
//! Promises: nothing is written before there is a snapshot to write. A record that could not be
//! written completely is cut off again. The file is marked while it is being written, so that a
//! reader does not take an incomplete last record for a torn one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::Error;
use super::frame::{self, SEGMENT_MAGIC, Salt};
use crate::model::{BundledFile, Recording, Snapshot};
use crate::sys::being_written;
use crate::wire::{self, Encoder, Row};

/// A segment that is being written.
pub struct Segment {
    file: File,
    path: PathBuf,
    salt: Salt,
    encoder: Encoder,
    /// What stands before the first snapshot, until that is written.
    beginning: Vec<u8>,
    /// How many bytes of the file are whole records.
    whole: u64,
    begun: Instant,
}

impl Segment {
    /// Begins a segment in a new file, making its directory where there is none.
    pub fn create(path: &Path, recording: &Recording) -> Result<Self, Error> {
        super::layout::make_parent(path)?;
        Self::begin(path, recording).map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => Error::Exists { path: path.into() },
            _ => Error::Open { path: path.into(), source },
        })
    }

    pub(super) fn begin(path: &Path, recording: &Recording) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        being_written::mark(&file);
        let (mut encoder, salt) = (Encoder::default(), Salt::new());
        let mut beginning = SEGMENT_MAGIC.to_vec();
        frame::put(salt, &encoder.recording(recording), &mut beginning)?;
        Ok(Self { file, path: path.into(), salt, encoder, beginning, whole: 0, begun: Instant::now() })
    }

    /// Appends a snapshot and returns how many bytes that took.
    pub fn append(&mut self, snapshot: &Snapshot) -> Result<usize, Error> {
        let before = self.whole;
        self.write(snapshot, false).map_err(|source| Error::Write { path: self.path.clone(), source })?;
        Ok(usize::try_from(self.whole - before).unwrap_or(usize::MAX))
    }

    /// The same; where it is and what it is go into the index. After an error nothing more can be
    /// written: the encoder believes that the snapshot is there.
    pub(super) fn write(&mut self, snapshot: &Snapshot, durable: bool) -> io::Result<Row> {
        let encoded = self.encoder.snapshot(snapshot);
        let offset = self.put(&encoded.payload, durable)?;
        let length = encoded.payload.len() as u64;
        Ok(Row { offset, length, whole: encoded.whole, summary: encoded.summary })
    }

    /// Writes a record, and returns where it is.
    fn put(&mut self, payload: &[u8], durable: bool) -> io::Result<u64> {
        let mut record = std::mem::take(&mut self.beginning);
        let offset = self.whole + record.len() as u64;
        frame::put(self.salt, payload, &mut record)?;
        let written = self.file.write_all(&record).and_then(|()| if durable { self.file.sync_data() } else { Ok(()) });
        if let Err(error) = written {
            // On a full disk a part may have been written. Should cutting it off fail too, the
            // reader does so.
            let _ = self.file.set_len(self.whole);
            return Err(error);
        }
        self.whole += record.len() as u64;
        Ok(offset)
    }

    /// Goes on with a file that was ended, for what is no snapshot: the encoder knows nothing of
    /// those that are there.
    pub(super) fn resume(path: &Path, salt: Salt, whole: u64) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).open(path)?;
        being_written::mark(&file);
        let mut segment = Self {
            file,
            path: path.into(),
            salt,
            encoder: Encoder::default(),
            beginning: Vec::new(),
            whole,
            begun: Instant::now(),
        };
        segment.file.seek(io::SeekFrom::Start(whole))?;
        Ok(segment)
    }

    /// Appends a file that names are taken from.
    pub fn append_bundled(&mut self, bundled: &BundledFile) -> Result<(), Error> {
        let written = self.put(&wire::bundled(bundled), false);
        written.map(|_| ()).map_err(|source| Error::Write { path: self.path.clone(), source })
    }

    /// The next snapshot is stored whole, whatever came before it.
    pub fn begin_anew(&mut self) {
        self.encoder.begin_anew();
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn salt(&self) -> Salt {
        self.salt
    }

    /// How long it is.
    pub(super) fn bytes(&self) -> u64 {
        self.whole
    }

    /// Since when it is written to.
    pub(super) fn begun(&self) -> Instant {
        self.begun
    }

    /// Gives it its name. Until then no reader looks at it.
    pub(super) fn name(&mut self, path: PathBuf) -> io::Result<()> {
        fs::rename(&self.path, &path)?;
        self.path = path;
        Ok(())
    }

    /// Whether somebody has removed it, so that what is written goes nowhere.
    pub(super) fn is_removed(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }

    /// Waits until the disk has it.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Removes a segment that has come to nothing.
    pub fn discard(self) {
        // What cannot be removed is a file without a snapshot, which the reader says of it.
        let _ = fs::remove_file(&self.path);
    }
}
