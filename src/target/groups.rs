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
    /// Whether the beginning of the image, with its headers and notes, is not mapped here.
    pub(super) fn is_part(&self) -> bool {
        self.first.offset > 0 && self.first.backing != Backing::Vdso
    }

    /// Whether the same file is mapped there from its beginning.
    pub(super) fn is_part_of(&self, whole: &Group<'_>) -> bool {
        self.is_part() && !whole.is_part() && self.first.backing == whole.first.backing
    }

    fn goes_on_with(&self, mapping: &Mapping) -> bool {
        let apart = mapping.range.start.0.saturating_sub(self.first.range.start.0);
        self.first.backing == mapping.backing
            && mapping.backing != Backing::Vdso
            && mapping.offset > self.first.offset
            && apart.saturating_sub(mapping.offset - self.first.offset) <= MAX_GAP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_far_off_is_another_image_and_what_lies_between_is_none() {
        let text = b"00400000-00b6e000 r--p 00000000 fe:00 42                     /usr/bin/node\n\
                     00b6f000-025fe000 r-xp 0076f000 fe:00 42                     /usr/bin/node\n\
                     7fc740003000-7fc74003f000 rwxp 00000000 00:00 0 \n\
                     7fc75fe40000-7fc75ffd2000 r-xp 014c4000 fe:00 42             /usr/bin/node\n\
                     7fc767a1e000-7fc767a44000 r--p 00000000 fe:00 43             /lib/libc.so.6\n\
                     7fc767a44000-7fc767b9a000 r-xp 00026000 fe:00 43             /lib/libc.so.6\n";
        let map = MemoryMap::parse(text).expect("the lines are well-formed");
        let found: Vec<_> = groups(&map).iter().map(|group| (group.first.range.start.0, group.end.0)).collect();
        let expected =
            [(0x40_0000, 0x25f_e000), (0x7fc7_5fe4_0000, 0x7fc7_5ffd_2000), (0x7fc7_67a1_e000, 0x7fc7_67b9_a000)];
        assert_eq!(found, expected);
    }
}
