//! Where a variable is kept: in memory, or in pieces here and there.

use super::debug::Place;
use super::memory::Memory;
use super::value::Absent;

/// A part of a variable that is kept in one place.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Part {
    /// In bytes; None for all there is.
    pub(super) size: Option<u64>,
    pub(super) source: Source,
}

/// A place in which something is kept.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Source {
    /// At this address.
    Memory(u64),
    /// These are the bytes, in the order of memory.
    Known(Vec<u8>),
    /// Nowhere.
    Absent(Absent),
    /// A pointer to a variable that has no address, and this far into it.
    Implicit(Place, i64),
}

/// A variable or a part of one.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Object {
    parts: Vec<Part>,
    /// Where in all the parts it begins.
    start: u64,
}

impl Object {
    /// What is kept in these parts.
    pub(super) fn new(parts: Vec<Part>) -> Self {
        Self { parts, start: 0 }
    }

    /// What lies at an address.
    pub(super) fn at(address: u64) -> Self {
        Self::new(vec![Part { size: None, source: Source::Memory(address) }])
    }

    /// These bytes.
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        Self::new(vec![Part { size: None, source: Source::Known(bytes) }])
    }

    /// What begins this far into it.
    pub(super) fn from(&self, offset: u64) -> Self {
        Self { parts: self.parts.clone(), start: self.start.wrapping_add(offset) }
    }

    /// The part that it begins in, and where in it.
    fn first(&self) -> Option<(&Part, u64)> {
        let mut offset = self.start;
        for part in &self.parts {
            match part.size {
                Some(size) if offset >= size => offset -= size,
                _ => return Some((part, offset)),
            }
        }
        None
    }

    /// What it points to, if it is a pointer to something that has no address.
    pub(super) fn implicit(&self) -> Option<(Place, i64)> {
        match self.first()? {
            (Part { source: Source::Implicit(place, offset), .. }, 0) => Some((*place, *offset)),
            _ => None,
        }
    }

    /// Its first bytes.
    pub(super) fn read(&self, memory: &Memory<'_>, length: usize) -> Result<Vec<u8>, Absent> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let rest = length - bytes.len();
            let here = self.from(bytes.len() as u64);
            let Some((part, offset)) = here.first() else { return Err(Absent::OptimizedOut) };
            let left = part.size.map_or(u64::MAX, |size| size - offset);
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(rest);
            match &part.source {
                Source::Memory(address) => bytes.extend(memory.read(address.wrapping_add(offset), wanted)?),
                Source::Known(known) => {
                    let known = usize::try_from(offset).ok().and_then(|offset| known.get(offset..));
                    let known = known.and_then(|known| known.get(..wanted)).ok_or(Absent::Unreadable)?;
                    bytes.extend_from_slice(known);
                }
                Source::Absent(absent) => return Err(*absent),
                Source::Implicit(..) => return Err(Absent::OptimizedOut),
            }
        }
        Ok(bytes)
    }
}
