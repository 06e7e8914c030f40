//! What lies where in the debug information of a file: its units, their code, and types that are
//! known by a signature.
//!
//! Promises: the work is bounded, in a file that is made to cost much by time.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::time::{Duration, Instant};

use gimli::constants as dw;
use gimli::{
    AttributeValue, DebugInfoOffset, DebugTypeSignature, DebuggingInformationEntry, Dwarf, EndianSlice, LittleEndian,
    UnitType,
};

pub(super) type Bytes<'a> = EndianSlice<'a, LittleEndian>;
pub(super) type Unit<'a> = gimli::Unit<Bytes<'a>>;
pub(super) type Entry<'a> = DebuggingInformationEntry<Bytes<'a>>;

/// More units than any file has.
const MOST_UNITS: usize = 1 << 18;
/// Ranges of addresses that one entry or one unit may have.
const MOST_RANGES: usize = 1 << 16;
/// For as long the units are looked at of a file that does not list them: each may describe its
/// entries at the same great length, and small files of that kind would take hours.
const LONGEST: Duration = Duration::from_secs(10);

/// Where the units begin, in order.
pub(super) fn starts(dwarf: &Dwarf<Bytes<'_>>) -> Vec<usize> {
    let mut units = dwarf.units();
    let mut found = Vec::new();
    while found.len() < MOST_UNITS
        && let Ok(Some(header)) = units.next()
    {
        found.extend(header.debug_info_offset().map(|offset| offset.0));
    }
    found
}

/// What `.debug_aranges` says of units, and of those that it leaves out, what they say
/// themselves.
pub(super) fn unit_ranges(dwarf: &Dwarf<Bytes<'_>>, starts: &[usize]) -> Vec<(u64, u64, usize)> {
    let mut found = Vec::new();
    let mut said = HashSet::new();
    let mut headers = dwarf.debug_aranges.headers();
    while let Ok(Some(header)) = headers.next() {
        let unit = header.debug_info_offset().0;
        let mut entries = header.entries();
        for _ in 0..MOST_RANGES {
            let Ok(Some(entry)) = entries.next() else { break };
            let range = entry.range();
            said.insert(unit);
            found.push((range.begin, range.end, unit));
        }
    }
    let begun = Instant::now();
    for start in starts.iter().filter(|start| !said.contains(start)) {
        let header = dwarf.unit_header(DebugInfoOffset(*start));
        let Ok(unit) = header.and_then(|header| dwarf.unit(header)) else { continue };
        let Ok(root) = unit.entry(unit.header.root_offset()) else { continue };
        found.extend(ranges(dwarf, &unit, &root).map(|range| (range.start, range.end, *start)));
        if begun.elapsed() > LONGEST {
            break;
        }
    }
    found
}

/// Where the types lie that are known by a signature.
pub(super) fn type_units(dwarf: &Dwarf<Bytes<'_>>) -> HashMap<DebugTypeSignature, usize> {
    let mut found = HashMap::new();
    let mut units = dwarf.units();
    for _ in 0..MOST_UNITS {
        let Ok(Some(header)) = units.next() else { break };
        if let UnitType::Type { type_signature, type_offset } = header.type_()
            && let Some(offset) = type_offset.to_debug_info_offset(&header)
        {
            found.insert(type_signature, offset.0);
        }
    }
    found
}

/// The addresses of an entry's code.
pub(super) fn ranges<'a>(
    dwarf: &Dwarf<Bytes<'a>>,
    unit: &Unit<'a>,
    entry: &Entry<'a>,
) -> impl Iterator<Item = Range<u64>> {
    let start = entry.attr_value(dw::DW_AT_low_pc).and_then(|start| dwarf.attr_address(unit, start).ok()?);
    let length = entry.attr(dw::DW_AT_high_pc).and_then(|end| match end.value() {
        AttributeValue::Udata(length) => Some(length),
        _ => None,
    });
    // A length that leads past the end of all addresses is a lie.
    let is_sound = start.zip(length).is_none_or(|(start, length)| start.checked_add(length).is_some());
    let mut ranges = Some(entry).filter(|_| is_sound).and_then(|entry| dwarf.die_ranges(unit, entry).ok());
    let next = move || ranges.as_mut()?.next().ok().flatten().map(|range| range.begin..range.end);
    std::iter::from_fn(next).take(MOST_RANGES)
}
