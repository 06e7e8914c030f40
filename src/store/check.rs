//! `check`: reads everything, reports damage and indexes that disagree, and rebuilds indexes.
//!
//! Promises: segments are never changed. A damaged segment is left without an index, so that its
//! readers see the damage. The last segment of a recording that is being written is left to its
//! writer. Nothing is repaired where the file system has no locks, because a writer could not be
//! seen there.

use std::path::{Path, PathBuf};

use super::chain::Damage;
use super::claim::Claim;
use super::index::{self, Fault, Index};
use super::origin::Origin;
use super::part::{Scanned, scan};
use super::{Error, layout, leftovers};

/// What is in a recording.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Checked {
    /// Its segments, in their order.
    pub segments: Vec<CheckedSegment>,
    /// Segments that belong to another recording than those before them.
    pub strangers: Vec<Damage>,
    /// Numbers that no snapshot has, between others: the first and the last of each gap.
    pub gaps: Vec<(u64, u64)>,
    /// Numbers that are not greater than the one before them: that one, and the number.
    pub backwards: Vec<(u64, u64)>,
    /// How many snapshots can be read.
    pub snapshots: u64,
    /// The first number and the last.
    pub numbers: Option<(u64, u64)>,
    /// Whether somebody is at it, and will end its last segment.
    pub is_being_written: bool,
    /// What killed processes had left, and was removed.
    pub cleared: Vec<PathBuf>,
}

/// What is in one segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckedSegment {
    /// Its path.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// What of it cannot be used.
    pub damage: Vec<Damage>,
    /// Why its index cannot be believed; None when it agrees, or when the segment needs none.
    pub index: Option<Fault>,
    /// Whether its index was rebuilt.
    pub repaired: bool,
    /// It gets its index from its writer.
    pub is_being_written: bool,
}

impl Checked {
    /// Whether everything that was ever written can be read, and as fast as it should.
    pub fn is_whole(&self) -> bool {
        self.backwards.is_empty()
            && self.strangers.is_empty()
            && self.segments.iter().all(|segment| segment.damage.is_empty() && !segment.is_misled())
    }
}

impl CheckedSegment {
    /// One that nothing can be read of.
    fn lost(damage: Damage) -> Self {
        let (path, bytes) = (damage.path.clone(), damage.lost);
        Self { path, bytes, damage: vec![damage], index: None, repaired: false, is_being_written: false }
    }

    /// Whether its index says something that is not so. That there is none is nothing wrong: the
    /// segment is being written, or its writer was killed.
    pub fn is_misled(&self) -> bool {
        !self.repaired && self.index.is_some_and(|fault| fault != Fault::Missing)
    }
}

/// Reads a recording, or a segment of one, and repairs its indexes if that is wanted.
pub fn check(path: &Path, repair: bool) -> Result<Checked, Error> {
    let is_directory = path.is_dir();
    let repair = repair && is_directory;
    let claim = repair.then(|| Claim::new(path)).transpose();
    let is_being_written = is_directory && layout::is_being_written(path);
    let claim = match claim {
        // All but its last segment can be repaired.
        Err(Error::BeingWritten { .. }) if is_being_written => None,
        claim => claim?,
    };
    let mut checked = Checked { is_being_written, ..Checked::default() };
    if let Some(claim) = &claim {
        checked.cleared = leftovers::clear(path, claim).map_err(|source| Error::Write { path: path.into(), source })?;
    }
    let segments = layout::segments_of(path)?;
    let mut origin = Origin::default();
    for (number, segment) in segments.iter().enumerate() {
        // Between its end and the next one's beginning no process has it open.
        let is_last = number + 1 == segments.len();
        let leave = checked.is_being_written && is_last;
        match check_segment(segment, repair, leave, is_directory, &mut checked) {
            Ok((segment, its)) => {
                let last = checked.numbers.map_or(0, |(_, last)| last);
                checked.strangers.extend(origin.go_on_to(its, &segment.path, last));
                checked.segments.push(segment);
            }
            Err(error) if error.is_gone() && is_directory => {}
            Err(error) if is_directory => {
                let last = checked.numbers.map_or(0, |(_, last)| last);
                checked.segments.push(CheckedSegment::lost(error.into_damage(last)?));
            }
            Err(error) => return Err(error),
        }
    }
    if is_directory {
        let last = checked.numbers.map_or(0, |(_, last)| last);
        checked.segments.extend(layout::damage_of_lost(path, last)?.into_iter().map(CheckedSegment::lost));
    }
    Ok(checked)
}

fn check_segment(
    path: &Path,
    repair: bool,
    leave: bool,
    has_index: bool,
    checked: &mut Checked,
) -> Result<(CheckedSegment, Origin), Error> {
    let Scanned { recording, process, rows, mut damage, salt, end, is_being_written } = scan(path, true)?;
    let is_being_written = is_being_written || leave;
    for found in &mut damage {
        found.after = found.after.max(checked.numbers.map_or(0, |(_, last)| last));
    }
    for row in &rows {
        checked.count(row.summary.number);
    }
    let index = match Index::open(path).and_then(|index| index.rows()) {
        Ok(indexed) if indexed == rows => None,
        Ok(_) => Some(Fault::Wrong),
        Err(fault) => Some(fault),
    };
    let index = index.filter(|_| has_index && !is_being_written);
    let repaired = repair && index.is_some();
    if repaired {
        index::remove(path);
        if let (Some(salt), Some(recording), true) = (salt, &recording, damage.is_empty()) {
            index::write(path, salt, recording, end, &rows)
                .map_err(|source| Error::Index { path: path.into(), source })?;
            if !path.exists() {
                // Its writer has removed it since, and an index alone would suggest a segment that
                // is lost.
                index::remove(path);
            }
        }
    }
    let bytes = std::fs::metadata(path).map_or(end, |metadata| metadata.len());
    let segment = CheckedSegment { path: path.into(), bytes, damage, index, repaired, is_being_written };
    Ok((segment, Origin::new(recording, process)))
}

impl Checked {
    fn count(&mut self, number: u64) {
        self.snapshots += 1;
        let (first, last) = match self.numbers {
            Some((first, last)) => (first, last),
            None => (number, number.saturating_sub(1)),
        };
        if number <= last && self.snapshots > 1 {
            self.backwards.push((last, number));
        }
        if number > last.saturating_add(1) {
            self.gaps.push((last + 1, number - 1));
        }
        self.numbers = Some((first, number));
    }
}
