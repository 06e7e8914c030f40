//! `hangsnap check`: reads everything and says what is damaged, what is lost, and whether the
//! indexes agree.

use std::io::Write;
use std::path::Path;

use super::Error;
use crate::render::{bytes, printable};
use crate::store::{self, Checked, CheckedSegment};

/// Checks a recording, or every recording in a directory, and rebuilds indexes if that is wanted.
/// Whether all is whole.
pub fn check(out: &mut dyn Write, path: &Path, repair: bool) -> Result<bool, Error> {
    let mut is_whole = true;
    for path in store::recordings_in(path)? {
        let checked = store::check(&path, repair)?;
        write(out, &path, &checked)?;
        is_whole &= checked.is_whole();
    }
    Ok(is_whole)
}

fn write(out: &mut dyn Write, path: &Path, checked: &Checked) -> Result<(), Error> {
    let Checked { segments, strangers, gaps, backwards, snapshots, numbers, is_being_written, cleared } = checked;
    let size = bytes(segments.iter().fold(0, |sum: u64, segment| sum.saturating_add(segment.bytes)));
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let numbers = numbers.map_or(String::new(), |(first, last)| format!(" ({first} to {last})"));
    let count = segments.len();
    let state = if checked.is_whole() { "whole" } else { "damaged" };
    let still = if *is_being_written { "; it is being written" } else { "" };
    writeln!(
        out,
        "{}: {state}; {snapshots} snapshots{numbers} in {count} segment{}, {size}{still}",
        printable(&path.display().to_string()),
        plural(count)
    )?;
    for segment in segments {
        write_segment(out, segment)?;
    }
    for stranger in strangers {
        writeln!(out, "  {}", printable(&stranger.to_string()))?;
    }
    for path in cleared {
        writeln!(out, "  {}: removed; a process that was killed had left it", printable(&path.display().to_string()))?;
    }
    for (before, number) in backwards.iter().take(8) {
        writeln!(out, "  snapshot {number} comes after {before}: segments are not in order, or of another recording")?;
    }
    // Gaps may lie over each other where numbers go backwards.
    let missing = gaps.iter().fold(0, |sum: u64, (first, last)| sum.saturating_add(last - first + 1));
    if missing > 0 {
        let listed: Vec<String> = gaps.iter().take(8).map(|(first, last)| format!("{first} to {last}")).collect();
        let more = if gaps.len() > 8 { format!(" and {} more gaps", gaps.len() - 8) } else { String::new() };
        writeln!(
            out,
            "  {missing} numbers are not there ({}{more}): damaged, removed, skipped, or without room when they were taken",
            listed.join(", ")
        )?;
    }
    Ok(())
}

fn write_segment(out: &mut dyn Write, segment: &CheckedSegment) -> Result<(), Error> {
    for damage in &segment.damage {
        writeln!(out, "  {}", printable(&damage.to_string()))?;
    }
    if segment.is_being_written {
        let path = printable(&segment.path.display().to_string());
        return Ok(writeln!(out, "  {path}: is being written, and gets its index when it ends")?);
    }
    if let Some(fault) = segment.index {
        let done = match (segment.repaired, segment.damage.is_empty()) {
            (true, true) => "rebuilt",
            (true, false) => "removed, so that readers of the segment see its damage",
            (false, _) => "the segment is read instead; --repair rebuilds it",
        };
        writeln!(out, "  index of {}: {fault}; {done}", printable(&segment.path.display().to_string()))?;
    }
    Ok(())
}
