//! An exclusive lock on a recording, held while it is scrubbed, repaired or expired.
//!
//! Promises: one process at a time holds a claim, and none can be had while the recording is being
//! written: a writer marks the directory before it puts anything in it. Readers do not see a claim,
//! and pins can be set and removed meanwhile. A claim ends with the process that holds it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{Error, bytes};
use crate::sys::being_written;

/// A directory, or a file that is no part of one, for as long as this is there.
pub(super) struct Claim {
    _open: File,
}

impl Claim {
    pub(super) fn new(path: &Path) -> Result<Self, Error> {
        let open = |source| Error::Open { path: path.into(), source };
        let file = bytes::open(path).map_err(open)?;
        let is_ours = being_written::claim(&file)
            .map_err(|number| Error::NoLocks { path: path.into(), source: number.into() })?;
        // The process that had claimed it before may have put another file in its place since it
        // was opened.
        match is_ours && is_same(&file, path).map_err(open)? {
            true => Ok(Self { _open: file }),
            false => Err(Error::BeingWritten { path: path.into() }),
        }
    }
}

fn is_same(file: &File, path: &Path) -> io::Result<bool> {
    let (claimed, there) = (file.metadata()?, fs::metadata(path)?);
    Ok((claimed.dev(), claimed.ino()) == (there.dev(), there.ino()))
}
