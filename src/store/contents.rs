//! What a recording holds, segment by segment, and one snapshot out of it without reading the
//! others.
//!
//! Segments are ordered by their numbers, and snapshots with them; realtime may step between any
//! two.

use std::path::{Path, PathBuf};

use super::chain::Damage;
use super::origin::Origin;
use super::part::Part;
use super::{Error, layout};
use crate::model::{Recording, Snapshot, Summary};
use crate::wire::{Row, Span};

/// A snapshot's place in a recording.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Found {
    segment: usize,
    row: usize,
}

enum Slot {
    Unopened(PathBuf),
    Opened(Box<Part>),
    /// Removed since.
    Gone,
    /// No segment at all, or one that cannot be read.
    Lost(Damage),
}

/// A recording that is looked things up in.
pub struct Contents {
    slots: Vec<Slot>,
    is_directory: bool,
    /// Segments that were gone before, and have left their indexes.
    lost: Vec<Damage>,
}

impl Contents {
    /// Lists the segments of a recording; none of them is read yet.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let slots = layout::segments_of(path)?.into_iter().map(Slot::Unopened).collect();
        let is_directory = path.is_dir();
        let lost = if is_directory { layout::damage_of_lost(path, 0)? } else { Vec::new() };
        Ok(Self { slots, is_directory, lost })
    }

    /// How many segments it had when it was opened.
    pub fn segments(&self) -> usize {
        self.slots.len()
    }

    /// What the snapshots have in common, as far as it can be read.
    pub fn recording(&mut self) -> Result<Option<Recording>, Error> {
        for segment in 0..self.slots.len() {
            if let Some(recording) = self.part(segment)?.and_then(|part| part.origin.recording.clone()) {
                return Ok(Some(recording));
            }
        }
        Ok(None)
    }

    /// What a list says of each snapshot, in order.
    pub fn summaries(&mut self) -> Result<Vec<Summary>, Error> {
        let mut summaries = Vec::new();
        for segment in 0..self.slots.len() {
            summaries.extend(self.rows(segment)?.iter().map(|row| row.summary.clone()));
        }
        Ok(summaries)
    }

    /// The same of one segment, for a caller that wants each of them once: no snapshot is found in
    /// it any more.
    pub fn take_summaries(&mut self, segment: usize) -> Result<impl Iterator<Item = Summary> + use<>, Error> {
        self.rows(segment)?;
        let rows = match &mut self.slots[segment] {
            Slot::Opened(part) => part.take_rows(),
            Slot::Unopened(_) | Slot::Gone | Slot::Lost(_) => Vec::new(),
        };
        Ok(rows.into_iter().map(|row| row.summary))
    }

    /// What was seen to be damaged so far: all that there is where all had to be read.
    pub fn damage(&self) -> Vec<Damage> {
        let mut damage = self.lost.clone();
        let (mut last, mut origin) = (0, Origin::default());
        // Where among the damage that begins after which no snapshot has come yet.
        let mut open = damage.len();
        for slot in &self.slots {
            match slot {
                Slot::Unopened(_) | Slot::Gone => {}
                Slot::Lost(lost) => damage.push(Damage { after: last, ..lost.clone() }),
                Slot::Opened(part) => {
                    if let Some(span) = part.span {
                        damage[open..].iter_mut().for_each(|lost| lost.before = lost.before.or(Some(span.numbers.0)));
                    }
                    damage.extend(origin.go_on_to(part.origin.clone(), &part.path, last));
                    damage.extend(part.damage.iter().cloned().map(|one| Damage { after: one.after.max(last), ..one }));
                    if let Some(span) = part.span {
                        (last, open) = (span.numbers.1, damage.len());
                    }
                }
            }
        }
        damage
    }

    /// The first number and the last; None without any.
    pub fn numbers(&mut self) -> Result<Option<(u64, u64)>, Error> {
        let first = self.span_from(0..self.slots.len())?;
        let last = self.span_from((0..self.slots.len()).rev())?;
        Ok(first.zip(last).map(|((_, first), (_, last))| (first.numbers.0, last.numbers.1)))
    }

    /// The first snapshot; None if there is none.
    pub fn first(&mut self) -> Result<Option<Found>, Error> {
        Ok(self.span_from(0..self.slots.len())?.map(|(segment, _)| Found { segment, row: 0 }))
    }

    /// The last snapshot; None if there is none.
    pub fn last(&mut self) -> Result<Option<Found>, Error> {
        let Some((segment, _)) = self.span_from((0..self.slots.len()).rev())? else { return Ok(None) };
        self.at_the_end_of(segment)
    }

    /// The one before.
    pub fn before(&mut self, found: Found) -> Result<Option<Found>, Error> {
        let Found { segment, row } = found;
        if let Some(row) = row.checked_sub(1) {
            return Ok(Some(Found { segment, row }));
        }
        match self.span_from((0..segment).rev())? {
            Some((segment, _)) => self.at_the_end_of(segment),
            None => Ok(None),
        }
    }

    /// The snapshot of this number, if the recording has it.
    pub fn by_number(&mut self, number: u64) -> Result<Option<Found>, Error> {
        let (mut low, mut high) = (0, self.slots.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.span_from((low..=middle).rev())? {
                Some((segment, span)) if number < span.numbers.0 => high = segment,
                Some((segment, span)) if number <= span.numbers.1 => {
                    return self.in_segment(segment, |summary| summary.number == number);
                }
                _ => low = middle + 1,
            }
        }
        Ok(None)
    }

    /// The one whose time is the nearest at or before this moment, in nanoseconds since 1970; of
    /// several of one time, the last. Where the clock was set back, that need not be the last one
    /// that bears an earlier time.
    pub fn by_time(&mut self, moment: i128) -> Result<Option<Found>, Error> {
        let mut nearest: Option<(i64, Found)> = None;
        for segment in (0..self.slots.len()).rev() {
            let Some(Span { realtime_ns: (earliest, latest), .. }) = self.span(segment)? else { continue };
            // Once one has been found, no older segment is, unless the clock was set back.
            let is_of_use = nearest.is_none_or(|(time, _)| latest > time);
            if i128::from(earliest) > moment || !is_of_use {
                continue;
            }
            for (row, Row { summary, .. }) in self.rows(segment)?.iter().enumerate().rev() {
                let time = summary.taken.realtime_ns;
                if i128::from(time) <= moment && nearest.is_none_or(|(nearest, _)| time > nearest) {
                    nearest = Some((time, Found { segment, row }));
                }
            }
        }
        Ok(nearest.map(|(_, found)| found))
    }

    /// What a list says of it.
    pub fn summary(&mut self, found: Found) -> Result<Option<Summary>, Error> {
        Ok(self.rows(found.segment)?.get(found.row).map(|row| row.summary.clone()))
    }

    /// The snapshot itself. None when it is damaged after all, or has just been removed: to search
    /// again finds another.
    pub fn snapshot(&mut self, found: Found) -> Result<Option<Snapshot>, Error> {
        let Some(part) = self.part(found.segment)? else { return Ok(None) };
        match part.snapshot(found.row) {
            Err(error) => self.lose(found.segment, error).map(|()| None),
            read => read,
        }
    }

    fn at_the_end_of(&mut self, segment: usize) -> Result<Option<Found>, Error> {
        self.in_segment(segment, |_| true)
    }

    /// The last one in a segment that this holds of.
    fn in_segment(&mut self, segment: usize, holds: impl Fn(&Summary) -> bool) -> Result<Option<Found>, Error> {
        let row = self.rows(segment)?.iter().rposition(|row| holds(&row.summary));
        Ok(row.map(|row| Found { segment, row }))
    }

    fn span(&mut self, segment: usize) -> Result<Option<Span>, Error> {
        Ok(self.part(segment)?.and_then(|part| part.span))
    }

    /// The first of these segments that holds a snapshot.
    fn span_from(&mut self, segments: impl Iterator<Item = usize>) -> Result<Option<(usize, Span)>, Error> {
        for segment in segments {
            if let Some(span) = self.span(segment)? {
                return Ok(Some((segment, span)));
            }
        }
        Ok(None)
    }

    fn rows(&mut self, segment: usize) -> Result<&[Row], Error> {
        let Some(part) = self.part(segment)? else { return Ok(&[]) };
        if let Err(error) = part.rows() {
            self.lose(segment, error)?;
        }
        match &mut self.slots[segment] {
            Slot::Opened(part) => part.rows(),
            Slot::Unopened(_) | Slot::Gone | Slot::Lost(_) => Ok(&[]),
        }
    }

    /// Goes on without a segment that cannot be read, if there may be others.
    fn lose(&mut self, segment: usize, error: Error) -> Result<(), Error> {
        if !self.is_directory {
            return Err(error);
        }
        self.slots[segment] = if error.is_gone() { Slot::Gone } else { Slot::Lost(error.into_damage(0)?) };
        Ok(())
    }

    fn part(&mut self, segment: usize) -> Result<Option<&mut Part>, Error> {
        if let Slot::Unopened(path) = &self.slots[segment] {
            match Part::open(path) {
                Ok(part) => self.slots[segment] = Slot::Opened(Box::new(part)),
                Err(error) => self.lose(segment, error)?,
            }
        }
        Ok(match &mut self.slots[segment] {
            Slot::Opened(part) => Some(part),
            Slot::Unopened(_) | Slot::Gone | Slot::Lost(_) => None,
        })
    }
}
