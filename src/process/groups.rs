//! Which mappings of a process make one image.

use std::ops::Range;

use crate::model::RuntimeAddress;
use crate::proc::{Backing, Mapping, MemoryMap};

/// How much further apart in memory than in the file the pieces of an image may lie. Linkers leave
/// gaps to align pieces to pages, and the largest pages have 1 GiB.
const MAX_GAP: u64 = 1 << 30;

/// A group of mappings that belong to one image.
pub(super) struct Group<'m> {
    /// The first that is of the file.
    pub(super) first: &'m Mapping,
    pub(super) code: Option<&'m Mapping>,
    /// Executable anonymous memory among its pieces, or right before them: where none of the code
    /// is of the file, its text may have been moved there, as programs do to have it in huge pages.
    pub(super) moved: Option<&'m Mapping>,
    pub(super) end: RuntimeAddress,
}

/// Mappings of one file in ascending order of offset are one image, whatever anonymous memory lies
/// between them; a lower offset begins another copy, and so does a place far off: a program may map
/// a piece of itself once more, to have it near the code that it makes. Only images with code
/// matter, or with anonymous memory that may be their code.
pub(super) fn groups(map: &MemoryMap) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut anonymous: Option<&Mapping> = None;
    for mapping in map.iter() {
        if mapping.backing == Backing::Anonymous || mapping.backing == Backing::MainStack {
            anonymous = Some(mapping).filter(|mapping| mapping.executable).or(anonymous);
            continue;
        }
        let code = mapping.executable.then_some(mapping);
        match groups.last_mut() {
            Some(group) if group.goes_on_with(mapping) => {
                group.end = mapping.range.end;
                group.code = group.code.or(code);
                group.moved = group.moved.or(anonymous);
            }
            _ => {
                let before = anonymous.filter(|before| before.range.end == mapping.range.start && mapping.offset > 0);
                groups.push(Group { first: mapping, code, moved: before, end: mapping.range.end });
            }
        }
        anonymous = None;
    }
    groups.retain(|group| group.code.is_some() || group.moved.is_some());
    groups
}

impl Group<'_> {
    /// Where it lies, with the memory that its code was moved to.
    pub(super) fn range(&self) -> Range<RuntimeAddress> {
        let moved = self.moved.filter(|_| self.code.is_none());
        moved.map_or(self.first.range.start, |moved| moved.range.start.min(self.first.range.start))..self.end
    }

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

    #[test]
    fn anonymous_memory_may_be_the_code_of_the_file_around_it_or_behind_it() {
        let text = b"00400000-00401000 r--p 00000000 fe:00 42                     /bin/moved\n\
                     00401000-00404000 r-xp 00000000 00:00 0 \n\
                     00404000-00406000 r--p 00004000 fe:00 42                     /bin/moved\n\
                     00800000-00a00000 r-xp 00000000 00:00 0 \n\
                     00a00000-00a01000 rw-p 00200000 fe:00 43                     /bin/old\n\
                     00b00000-00b01000 r-xp 00000000 00:00 0 \n\
                     00c00000-00c01000 rw-p 00200000 fe:00 44                     /data\n";
        let map = MemoryMap::parse(text).expect("the lines are well-formed");
        let found: Vec<_> = groups(&map).iter().map(|group| (group.range().start.0, group.end.0)).collect();
        assert_eq!(found, [(0x40_0000, 0x40_6000), (0x80_0000, 0xa0_1000)]);
    }
}
