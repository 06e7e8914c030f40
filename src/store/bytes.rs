//! A file, a piece at a time: what a reader holds of it is bounded by its largest record, and never
//! by what it claims.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;

/// How much is read at once, at least.
const PIECE: usize = 1 << 16;
/// How much room is made at once for what a record claims to hold.
const STEP: usize = 1 << 20;

/// A file with the piece of it that was read last.
pub(super) struct SegmentBytes {
    file: File,
    start: u64,
    held: Vec<u8>,
    /// Why there are no more of them, where that is not the file's end.
    failed: Option<Errno>,
}

/// Opens a file or a directory, whatever lies there: to open a FIFO would wait for somebody to
/// write to it, and a terminal could become ours.
pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits()).open(path)
}

/// Opens a file to read it, and nothing but a file. A directory is IsADirectory, and anything else
/// InvalidInput.
pub(super) fn open_file(path: &Path) -> io::Result<File> {
    let file = open(path)?;
    let metadata = file.metadata()?;
    match metadata.is_file() {
        true => Ok(file),
        false if metadata.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        false => Err(io::ErrorKind::InvalidInput.into()),
    }
}

impl SegmentBytes {
    pub(super) fn new(file: File) -> Self {
        Self { file, start: 0, held: Vec::new(), failed: None }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// The bytes from here on, as many as asked for; fewer where the file ends. That some of them
    /// cannot be read is an error.
    pub(super) fn at(&mut self, position: u64, length: usize) -> io::Result<&[u8]> {
        match (self.some_at(position, length)?.len(), self.failed) {
            (had, Some(failed)) if had < length => Err(failed.into()),
            _ => self.some_at(position, length),
        }
    }

    /// Whether less than there is was read last.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// The same up to what cannot be read. That nothing can be is an error.
    pub(super) fn some_at(&mut self, position: u64, length: usize) -> io::Result<&[u8]> {
        if self.within(position, length).is_none() && !(self.failed.is_some() && self.within(position, 1).is_some()) {
            self.fill(position, length.max(PIECE))?;
        }
        let from = usize::try_from(position - self.start).unwrap_or(usize::MAX).min(self.held.len());
        let until = from.saturating_add(length).min(self.held.len());
        Ok(&self.held[from..until])
    }

    /// Forgets what was read: the file may have grown.
    pub(super) fn forget(&mut self) {
        self.held.clear();
        self.failed = None;
    }

    fn within(&self, position: u64, length: usize) -> Option<()> {
        let from = usize::try_from(position.checked_sub(self.start)?).ok()?;
        (from.checked_add(length)? <= self.held.len()).then_some(())
    }

    fn fill(&mut self, position: u64, wanted: usize) -> io::Result<()> {
        self.forget();
        self.start = position;
        while self.held.len() < wanted {
            let have = self.held.len();
            self.held.resize(have + (wanted - have).min(STEP), 0);
            match self.file.read_at(&mut self.held[have..], position + have as u64) {
                Ok(0) => {
                    self.held.truncate(have);
                    return Ok(());
                }
                Ok(read) => self.held.truncate(have + read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => self.held.truncate(have),
                Err(error) => {
                    self.held.truncate(have);
                    let number = error.raw_os_error().map(Errno::from_raw);
                    return match number.filter(|_| have > 0) {
                        // What comes before can be used.
                        Some(number) => {
                            self.failed = Some(number);
                            Ok(())
                        }
                        None => Err(error),
                    };
                }
            }
        }
        Ok(())
    }
}
