//! Which mappings of a process make one image.

use crate::model::RuntimeAddress;
use crate::proc::{Backing, Mapping, MemoryMap};

/// How much further apart in memory than in the file the pieces of an image may lie. Linkers leave gaps to align pieces to
/// pages, the largest of which have 1 GiB.
const MAX_GAP: u64 = 1 << 30;

/// A group of mappings that belong to one image.
pub(super) struct Group<'m> {
    pub(super) first: &'m Mapping,
    pub(super) code: Option<&'m Mapping>,
    pub(super) end: RuntimeAddress,
}

/// Mappings of one file in ascending order of offset are one image, whatever anonymous memory lies between them; a
/// lower offset begins another copy, and so does a place far off: a program may map a piece of itself once more, to have
/// it near the code that it makes. Only images with code matter.
pub(super) fn groups(map: &MemoryMap) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for mapping in map.iter() {
        if mapping.backing == Backing::Anonymous || mapping.backing == Backing::MainStack {
            continue;
        }
        let code = mapping.executable.then_some(mapping);
        match groups.last_mut() {
            Some(group) if group.goes_on_with(mapping) => {
                group.end = mapping.range.end;
                group.code = group.code.or(code);
            }
            _ => groups.push(Group { first: mapping, code, end: mapping.range.end }),
        }
    }
    groups.retain(|group| group.code.is_some());
    groups
}

impl Group<'_> {
    fn goes_on_with(&self, mapping: &Mapping) -> bool {
        let apart = mapping.range.start.0.saturating_sub(self.first.range.start.0);
        self.first.backing == mapping.backing
            && mapping.backing != Backing::Vdso
            && mapping.offset > self.first.offset
            && apart.saturating_sub(mapping.offset - self.first.offset) <= MAX_GAP
    }
}
