//! Showing addr2line only the units of `.debug_info` that matter.
//!
//! A unit that does not matter is overwritten with the header of a type unit of the same length
//! (DWARF 5, 7.5.1.3), which readers of code skip. Offsets into the section stay what they were,
//! and the overwritten bytes are kept.

use std::collections::BTreeSet;

use gimli::{DebugAranges, DebugInfo, DebugInfoOffset, EndianSlice, LittleEndian as Little};

use crate::model::FileAddress;

type DwarfBytes<'a> = EndianSlice<'a, Little>;

/// unit_length, version, unit_type, address_size, debug_abbrev_offset, type_signature and
/// type_offset in the 32-bit format.
const TYPE_UNIT_HEADER: usize = 4 + 2 + 1 + 1 + 4 + 8 + 4;
/// The longest unit that the 32-bit format can say.
const MAX_LENGTH: usize = 0xffff_ffef;

/// Bytes of `.debug_info` before they were overwritten, by their offset.
pub(super) type Overwritten = Vec<(usize, [u8; TYPE_UNIT_HEADER])>;

/// The units that matter.
#[derive(Default)]
pub(super) struct Wanted {
    /// Their offsets.
    pub(super) units: BTreeSet<usize>,
    /// Where all of them have ended: where the next unit that `.debug_aranges` knows of begins.
    /// None if there is none.
    pub(super) end: Option<usize>,
}

/// The units that `.debug_aranges` says hold any of these addresses.
pub(super) fn holding(aranges: &DebugAranges<DwarfBytes<'_>>, addresses: &BTreeSet<FileAddress>) -> Wanted {
    let mut wanted = Wanted::default();
    let mut all = BTreeSet::new();
    let mut headers = aranges.headers();
    // What cannot be read holds nothing, as far as can be known; its addresses are looked for in
    // all units later.
    while let Ok(Some(header)) = headers.next() {
        let DebugInfoOffset(unit) = header.debug_info_offset();
        all.insert(unit);
        let mut entries = header.entries();
        while let Ok(Some(entry)) = entries.next() {
            let range = entry.range();
            if addresses.range(FileAddress(range.begin)..).next().is_some_and(|address| address.0 < range.end) {
                wanted.units.insert(unit);
                break;
            }
        }
    }
    wanted.end = wanted.units.last().and_then(|last| all.range(last + 1..).next().copied());
    wanted
}

/// Hides every unit whose offset is not wanted.
pub(super) fn hide_all_but(wanted: &BTreeSet<usize>, info: &mut [u8]) -> Overwritten {
    let mut gaps: Vec<(usize, usize)> = Vec::new();
    let section = DebugInfo::new(info, Little);
    let mut units = section.units();
    while let Ok(Some(unit)) = units.next() {
        let Some(DebugInfoOffset(start)) = unit.debug_info_offset() else {
            continue;
        };
        let end = start + unit.length_including_self();
        if wanted.contains(&start) {
            continue;
        }
        match gaps.last_mut() {
            Some((first, last)) if *last == start && end - *first <= MAX_LENGTH => *last = end,
            _ => gaps.push((start, end)),
        }
    }
    let mut overwritten = Vec::new();
    for (start, end) in gaps {
        // A unit that is too short for the header is left as it is: it has nothing in it to read.
        if let Some(bytes) = info.get_mut(start..end).and_then(|gap| gap.first_chunk_mut::<TYPE_UNIT_HEADER>()) {
            overwritten.push((start, *bytes));
            *bytes = type_unit_header(end - start);
        }
    }
    overwritten
}

/// Undoes `hide_all_but`.
pub(super) fn show_again(overwritten: Overwritten, info: &mut [u8]) {
    for (start, bytes) in overwritten {
        info[start..start + TYPE_UNIT_HEADER].copy_from_slice(&bytes);
    }
}

fn type_unit_header(length: usize) -> [u8; TYPE_UNIT_HEADER] {
    const VERSION: u16 = 5;
    const DW_UT_TYPE: u8 = 2;
    let mut header = [0; TYPE_UNIT_HEADER];
    // The length does not count itself. It fits: a gap is no longer than MAX_LENGTH.
    let counted = u32::try_from(length - 4).unwrap_or(u32::MAX);
    header[..4].copy_from_slice(&counted.to_le_bytes());
    header[4..6].copy_from_slice(&VERSION.to_le_bytes());
    header[6] = DW_UT_TYPE;
    header[7] = 8;
    header
}
