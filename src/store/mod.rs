//! Snapshots in a file: written one record after another, read back whole.
//!
//! Promises: a record is written with one call and counts only when it is all there and its checksum agrees, so a writer
//! that dies leaves a file of which everything but at most the last record can be read. An existing file is never
//! overwritten. Files can be read by their owner only: a snapshot tells what a process was doing. The reader bounds what
//! it allocates by what the file holds.

mod reader;
mod writer;

pub use reader::{Damage, Reader, recordings_in};
pub use writer::{EXTENSION, Writer, file_name};

use std::path::PathBuf;

/// The first bytes of every file.
const MAGIC: &[u8; 8] = b"HANGSNAP";
/// Length and checksum before each payload.
const HEAD: usize = 8;

/// Why a recording could not be written or read. Each message ends in what would help.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot open {}: {source}", path.display())]
    Open { path: PathBuf, source: std::io::Error },
    #[error("{} exists already; name another file with -o, or move it away", path.display())]
    Exists { path: PathBuf },
    #[error("cannot write {}: {source}; what was written before is whole", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} is not a recording of hangsnap: it does not begin with HANGSNAP", path.display())]
    NotOurs { path: PathBuf },
    #[error("{} holds no recordings (*.{EXTENSION})", path.display())]
    Empty { path: PathBuf },
    #[error("{} holds no snapshot; record one with `hangsnap --pid PID -o FILE`", path.display())]
    NoSnapshot { path: PathBuf },
}
