//! All debug information of a module, for those who read more of it than names.
//!
//! It is found as for names: a file is used only if its build-id is the module's. Sections of
//! `.dwo` files are not among it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fs::File;

use gimli::{DwarfSections, EndianSlice, LittleEndian, SectionId};

use super::{Finder, sections};
use crate::model::Module;

/// What the values of variables take.
const SECTIONS: [SectionId; 13] = [
    SectionId::DebugAbbrev,
    SectionId::DebugAddr,
    SectionId::DebugAranges,
    SectionId::DebugInfo,
    // Not for lines: a unit is refused if what it refers to is missing.
    SectionId::DebugLine,
    SectionId::DebugLineStr,
    SectionId::DebugLoc,
    SectionId::DebugLocLists,
    SectionId::DebugRanges,
    SectionId::DebugRngLists,
    SectionId::DebugStr,
    SectionId::DebugStrOffsets,
    SectionId::DebugTypes,
];

/// What was found of a module.
#[derive(Default)]
pub struct DebugInformation {
    /// The file that was loaded.
    pub program: Option<File>,
    /// Its debug information, or that which was split off it. Sections that are missing are empty.
    pub sections: DwarfSections<Vec<u8>>,
    /// What dwz moved out of it.
    pub supplementary: Option<DwarfSections<Vec<u8>>>,
}

/// The files of a module, with all that they say.
pub fn debug_information(finder: &Finder, module: &Module) -> DebugInformation {
    let files = finder.find(module);
    let mut sections = files.debug.as_ref().map(|found| load(&found.file)).unwrap_or_default();
    let mut units = sections.borrow(|section| EndianSlice::new(section, LittleEndian)).units();
    if !matches!(units.next(), Ok(Some(_)))
        && let Some(program) = &files.program
    {
        sections = load(&program.file);
    }
    let supplementary = files.supplementary.as_ref().map(|found| load(&found.file));
    DebugInformation { sections, supplementary, program: files.program.map(|found| found.file) }
}

fn load(file: &File) -> DwarfSections<Vec<u8>> {
    let mut bytes_of = HashMap::new();
    sections::each_section(file, &SECTIONS.map(|id| (id, id.name())), None, |id, bytes| {
        bytes_of.insert(id.name(), bytes);
    });
    let take = |id: SectionId| Ok::<_, Infallible>(bytes_of.remove(id.name()).unwrap_or_default());
    let Ok(sections) = DwarfSections::load(take);
    sections
}
