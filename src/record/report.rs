//! What a recording says of itself while it is made. The caller decides how that is shown.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::{Event, Skipped};
use crate::model::{Snapshot, StopMode};
use crate::process::Target;
use crate::store::{self, Unsynced};

/// Receives what happens, in order. Targets are numbered in the order in which they begin. An error
/// ends the recording.
pub trait Report: Send {
    /// A target will be recorded.
    fn begin(
        &mut self,
        target: &Target,
        threads: usize,
        interval: Duration,
        stop: StopMode,
        path: &Path,
    ) -> io::Result<()>;
    /// A sample was stored, and takes this many bytes.
    fn sample(&mut self, target: usize, snapshot: &Snapshot, stored: u64) -> io::Result<()>;
    /// A sample found no room; `missing` have not since one did. They go on being taken, and each
    /// is tried.
    fn no_room(&mut self, target: usize, why: &store::Error, missing: u64) -> io::Result<()>;
    /// A sample was stored after `missing` that found no room.
    fn room_again(&mut self, target: usize, missing: u64) -> io::Result<()>;
    /// What was stored may not be on the disk.
    fn unsynced(&mut self, target: usize, unsynced: &Unsynced) -> io::Result<()>;
    /// Samples were not taken.
    fn skipped(&mut self, target: usize, skipped: Skipped) -> io::Result<()>;
    /// Something happened to a target.
    fn event(&mut self, target: usize, event: &Event) -> io::Result<()>;
    /// The recording is over, and why.
    fn end(&mut self, why: &str) -> io::Result<()>;
}
