//! Appending records to a new file.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Error, HEAD, MAGIC};
use crate::model::{Process, Recording, Snapshot};
use crate::wire::Encoder;

/// What recordings are called behind the dot.
pub const EXTENSION: &str = "hangsnap";

/// A recording that is being written.
pub struct Writer {
    file: File,
    path: PathBuf,
    encoder: Encoder,
    /// How many bytes of the file are whole records.
    whole: u64,
}

impl Writer {
    /// Begins a recording in a new file, making its directory where there is none.
    pub fn create(path: &Path, recording: &Recording) -> Result<Self, Error> {
        let open = |source| Error::Open { path: path.into(), source };
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(open)?;
        }
        let file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Error::Exists { path: path.into() });
            }
            Err(error) => return Err(open(error)),
        };
        let mut encoder = Encoder::default();
        let mut first = MAGIC.to_vec();
        frame(&encoder.recording(recording), &mut first);
        let mut writer = Self { file, path: path.into(), encoder, whole: 0 };
        writer.write(&first)?;
        Ok(writer)
    }

    /// Appends a snapshot and tells how many bytes it took.
    pub fn append(&mut self, snapshot: &Snapshot) -> Result<usize, Error> {
        let mut record = Vec::new();
        frame(&self.encoder.snapshot(snapshot).payload, &mut record);
        self.write(&record)?;
        Ok(record.len())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        match self.file.write_all(bytes) {
            Ok(()) => {
                self.whole += bytes.len() as u64;
                Ok(())
            }
            Err(source) => {
                // On a full disk a part may have been written. Should cutting it off fail too, the reader does so.
                let _ = self.file.set_len(self.whole);
                Err(Error::Write { path: self.path.clone(), source })
            }
        }
    }

    /// Removes a recording that has come to nothing.
    pub fn discard(self) {
        // What cannot be removed is a file without a snapshot, which the reader says of it.
        let _ = fs::remove_file(&self.path);
    }
}

/// Puts length and checksum before a payload.
fn frame(payload: &[u8], record: &mut Vec<u8>) {
    record.reserve(HEAD + payload.len());
    // A snapshot of 4 GiB would be a million threads.
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    record.extend_from_slice(&length.to_le_bytes());
    record.extend_from_slice(&crc32fast::hash(payload).to_le_bytes());
    record.extend_from_slice(payload);
}

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
