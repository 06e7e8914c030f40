//! Recordings on disk: snapshots are written one record after another, and read back as far as they
//! are whole.
//!
//! A recording is a directory of segments. Each can be read alone. A single snapshot is
//! one segment in a file of its own.
//!
//! Promises: a record is written with one call, and counts only if it is complete and its checksums
//! agree, so a writer that dies loses at most the last record. A reader continues after damage and
//! reports what is lost. An existing recording is never written to. Only the owner can read the
//! files. Memory is bounded by what a file holds, and by its largest record. An index only saves
//! time: it is checked before it is used.
//!
//! Does not name threads or frames: `wire` and `symbols` do.

mod bundle;
mod bytes;
mod chain;
mod check;
mod claim;
mod contents;
mod earlier;
mod frame;
mod index;
mod layout;
mod leftovers;
mod origin;
mod part;
mod pin;
mod reader;
mod records;
mod retention;
mod scrub;
mod segment;
mod writer;

pub use bundle::{add as add_bundled, bundled};
pub use chain::Damage;
pub use check::{Checked, CheckedSegment, check};
pub use contents::{Contents, Found};
pub use earlier::earlier;
pub use index::Fault;
pub use layout::{EXTENSION, file_name, is_recording, recording_at, recordings_in};
pub use pin::{Pinned, pin, unpin};
pub use reader::Reader;
pub use scrub::{Scrubbed, scrub};
pub use segment::Segment;
pub use writer::{Policy, Stored, Sync, Unsynced, Writer};

use std::path::PathBuf;

/// Why a recording could not be written or read. Each message ends in what would help.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each says what it is")]
pub enum Error {
    #[error("cannot open {}: {source}", path.display())]
    Open { path: PathBuf, source: std::io::Error },
    #[error("{} exists already; name another file with -o, or move it away", path.display())]
    Exists { path: PathBuf },
    #[error("cannot write {}: {source}; what was written before is whole", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("{} has been removed while it was being written; record again", path.display())]
    Removed { path: PathBuf },
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} is not a recording of hangsnap: it does not begin as one does", path.display())]
    NotOurs { path: PathBuf },
    #[error("{} holds no recordings (*.{EXTENSION})", path.display())]
    Empty { path: PathBuf },
    #[error("{} holds {count} recordings; name one of them", path.display())]
    Several { path: PathBuf, count: usize },
    #[error("{} holds no snapshot; record one with `hangsnap --pid PID -o FILE`", path.display())]
    NoSnapshot { path: PathBuf },
    #[error("{} is a file, and nothing removes it; only the segments of a recording's directory are pinned", path.display())]
    NotPinnable { path: PathBuf },
    #[error("cannot pin {}: {source}", path.display())]
    Pin { path: PathBuf, source: std::io::Error },
    #[error("{} has another name, under which it would stay as it is; remove that first", path.display())]
    OtherNames { path: PathBuf },
    #[error("{} is a link, and what it leads to would stay as it is; scrub that, and remove the link", path.display())]
    Link { path: PathBuf },
    #[error("{} is being written by a sampler, a scrub or a repair; let that end first, or record with --redact", path.display())]
    BeingWritten { path: PathBuf },
    #[error("there are no locks where {} is ({source}), so it is unknown whether it is being written; copy it elsewhere first", path.display())]
    NoLocks { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Unsynced(#[from] Unsynced),
    #[error("cannot write the index of {}: {source}", path.display())]
    Index { path: PathBuf, source: std::io::Error },
}

impl Error {
    /// Makes damage of what keeps one segment among others from being read: the others can be.
    /// After the snapshot of this number.
    fn into_damage(self, after: u64) -> Result<Damage, Self> {
        match self {
            Self::NotOurs { path } => Ok(Damage::whole_file(path, after, "nothing that is a record".into())),
            Self::Open { path, source } | Self::Read { path, source } => {
                Ok(Damage::whole_file(path, after, format!("it cannot be read ({source})")))
            }
            error => Err(error),
        }
    }

    /// A segment that was listed and is no longer there: it has been removed because of its age or
    /// for want of room.
    fn is_gone(&self) -> bool {
        matches!(self, Self::Open { source, .. } if source.kind() == std::io::ErrorKind::NotFound)
    }
}
