//! Units of debug information that the compiler has put into other files (`.dwo`, `.dwp`), as far
//! as addresses need them.
//!
//! Promises: a unit is used only if it bears the id that the program asks for. Of a package only
//! the parts of units that are asked for are read, and its strings. How many units are read is
//! bounded.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::sync::Arc;

use addr2line::{Context, SplitDwarfLoad};
use gimli::{
    DebugCuIndex, DebugInfo, DebugStr, Dwarf, DwarfSections, DwoId, EndianSlice, IndexSectionId,
    LittleEndian as Little, SectionId,
};

use super::sections::{each_section, one_section_named, part_of_section};
use super::sources::{DwoFile, SplitPlaces};
use crate::model::FileAddress;

type DwarfBytes<'a> = EndianSlice<'a, Little>;

/// Files that are read at most for one module's addresses.
const MOST_UNITS: usize = 4096;
/// What look-ups read of a unit, by the names that sections have in such files.
const NEEDED: [SectionId; 6] = [
    SectionId::DebugAbbrev,
    SectionId::DebugInfo,
    SectionId::DebugLine,
    SectionId::DebugRngLists,
    SectionId::DebugStr,
    SectionId::DebugStrOffsets,
];

/// A unit that is in another file.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct SplitUnit {
    id: u64,
    directory: Option<String>,
    path: String,
}

/// What was read of units that are in other files.
#[derive(Default)]
pub(super) struct SplitUnits {
    units: HashMap<u64, DwarfSections<Vec<u8>>>,
    /// The strings of packages, and which unit uses which.
    strings: Vec<Vec<u8>>,
    strings_of: HashMap<u64, usize>,
    /// Where they were found.
    pub(super) places: BTreeSet<String>,
    /// Where the compiler had put those that were not.
    pub(super) lost: Vec<String>,
}

/// The units in other files that these addresses lie in.
pub(super) fn wanted(context: &Context<DwarfBytes<'_>>, addresses: &BTreeSet<FileAddress>) -> BTreeSet<SplitUnit> {
    let text = |bytes: DwarfBytes<'_>| bytes.to_string_lossy().into_owned();
    let mut wanted = BTreeSet::new();
    for address in addresses {
        for (load, _) in context.preload_units(address.0) {
            if let Some(path) = load.path.map(text) {
                wanted.insert(SplitUnit { id: load.dwo_id.0, directory: load.comp_dir.map(text), path });
            }
        }
    }
    wanted
}

impl SplitUnits {
    /// Reads these units, from packages first.
    pub(super) fn load(places: &SplitPlaces<'_>, wanted: &BTreeSet<SplitUnit>) -> Self {
        let mut loaded = Self::default();
        if wanted.is_empty() {
            return loaded;
        }
        for package in places.packages() {
            loaded.load_package(&package, wanted);
        }
        for unit in wanted.iter().take(MOST_UNITS) {
            if loaded.units.contains_key(&unit.id) {
                continue;
            }
            let found = places.objects(unit.directory.as_deref(), &unit.path).into_iter().find_map(|object| {
                let sections = load_object(&object.file, DwoId(unit.id))?;
                Some((sections, object.place))
            });
            if let Some((sections, place)) = found {
                loaded.units.insert(unit.id, sections);
                loaded.places.insert(place);
            }
        }
        for unit in wanted.iter().filter(|unit| !loaded.units.contains_key(&unit.id)) {
            loaded.lost.push(match &unit.directory {
                Some(directory) if !unit.path.starts_with('/') => format!("{directory}/{}", unit.path),
                _ => unit.path.clone(),
            });
        }
        loaded
    }

    fn load_package(&mut self, package: &DwoFile, wanted: &BTreeSet<SplitUnit>) {
        let Some(index) = one_section_named(&package.file, SectionId::DebugCuIndex.name()) else { return };
        let Ok(index) = DebugCuIndex::new(&index, Little).index() else { return };
        let mut strings = None;
        for unit in wanted.iter().take(MOST_UNITS) {
            let Some(parts) = index.find(unit.id).and_then(|row| index.sections(row).ok()) else { continue };
            let mut bytes_of: HashMap<SectionId, Vec<u8>> = HashMap::new();
            for part in parts {
                let id = match part.section {
                    IndexSectionId::DebugAbbrev => SectionId::DebugAbbrev,
                    IndexSectionId::DebugInfo => SectionId::DebugInfo,
                    IndexSectionId::DebugLine => SectionId::DebugLine,
                    IndexSectionId::DebugRngLists => SectionId::DebugRngLists,
                    IndexSectionId::DebugStrOffsets => SectionId::DebugStrOffsets,
                    _ => continue,
                };
                let bytes = id
                    .dwo_name()
                    .and_then(|name| part_of_section(&package.file, name, part.offset.into(), part.size.into()));
                bytes_of.insert(id, bytes.unwrap_or_default());
            }
            let Some(sections) = checked(bytes_of, DwoId(unit.id)) else { continue };
            let strings = *strings.get_or_insert_with(|| {
                let name = SectionId::DebugStr.dwo_name().unwrap_or_default();
                self.strings.push(one_section_named(&package.file, name).unwrap_or_default());
                self.strings.len() - 1
            });
            self.strings_of.insert(unit.id, strings);
            self.units.insert(unit.id, sections);
            self.places.insert(package.place.clone());
        }
    }

    /// What addr2line asks for, if it was found.
    pub(super) fn dwarf<'a>(&'a self, load: &SplitDwarfLoad<DwarfBytes<'a>>) -> Option<Arc<Dwarf<DwarfBytes<'a>>>> {
        let id = load.dwo_id.0;
        let mut dwarf = self.units.get(&id)?.borrow(|section| EndianSlice::new(section, Little));
        if let Some(strings) = self.strings_of.get(&id).and_then(|number| self.strings.get(*number)) {
            dwarf.debug_str = DebugStr::new(strings, Little);
        }
        dwarf.make_dwo(&load.parent);
        Some(Arc::new(dwarf))
    }
}

/// Reads the sections of a `.dwo` file that holds the unit with this id.
fn load_object(file: &File, id: DwoId) -> Option<DwarfSections<Vec<u8>>> {
    let mut bytes_of = HashMap::new();
    let named: Vec<(SectionId, &'static str)> = NEEDED.iter().filter_map(|id| Some((*id, id.dwo_name()?))).collect();
    each_section(file, &named, None, |id, bytes| {
        bytes_of.insert(id, bytes);
    });
    checked(bytes_of, id)
}

/// The sections, if there is such a unit in them, and of .debug_info that unit alone: types may
/// come before it.
fn checked(mut bytes_of: HashMap<SectionId, Vec<u8>>, wanted: DwoId) -> Option<DwarfSections<Vec<u8>>> {
    let place = {
        let info = DebugInfo::new(bytes_of.get(&SectionId::DebugInfo)?, Little);
        let abbreviations = gimli::DebugAbbrev::new(bytes_of.get(&SectionId::DebugAbbrev)?, Little);
        let mut units = info.units();
        let mut place = None;
        while let Ok(Some(header)) = units.next() {
            let id = match header.type_() {
                gimli::UnitType::SplitCompilation(id) => Some(id),
                gimli::UnitType::Compilation => {
                    // As GNU's extension of DWARF 4 has it.
                    let known = header.abbreviations(&abbreviations).ok()?;
                    let mut entries = header.entries(&known);
                    let root = entries.next_dfs().ok()??;
                    match root.attr_value(gimli::DW_AT_GNU_dwo_id) {
                        Some(gimli::AttributeValue::DwoId(id)) => Some(id),
                        Some(value) => value.udata_value().map(DwoId),
                        None => None,
                    }
                }
                _ => None,
            };
            if id == Some(wanted) {
                let start = header.debug_info_offset()?.0;
                place = Some(start..start.checked_add(header.length_including_self())?);
                break;
            }
        }
        place?
    };
    let info = bytes_of.get_mut(&SectionId::DebugInfo)?;
    info.truncate(place.end);
    info.drain(..place.start.min(info.len()));
    DwarfSections::load(|id| Ok::<_, std::convert::Infallible>(bytes_of.remove(&id).unwrap_or_default())).ok()
}
