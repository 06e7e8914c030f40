//! `hangsnap scrub`: takes memory and words of the command line out of recordings.

use std::io::Write;
use std::path::Path;

use super::Error;
use crate::render::printable;
use crate::store::{self, Damage, Scrubbed};

/// Scrubs a recording, or every recording in a directory. What is returned is what could not be
/// read, and is gone now.
pub fn scrub(out: &mut dyn Write, path: &Path) -> Result<Vec<Damage>, Error> {
    let mut gone = Vec::new();
    for path in store::recordings_in(path)? {
        let Scrubbed { segments, snapshots, dropped } = store::scrub(&path)?;
        let plural = if segments == 1 { "" } else { "s" };
        let name = printable(&path.display().to_string());
        writeln!(out, "{name}: scrubbed; {snapshots} snapshots in {segments} segment{plural} rewritten")?;
        gone.extend(dropped);
    }
    Ok(gone)
}
