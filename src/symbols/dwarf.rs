//! Functions, inlined functions and lines from DWARF, by way of addr2line.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fs::File;

use addr2line::{Context, FrameIter};
use gimli::{DwarfSections, EndianSlice, LittleEndian as Little, SectionId};
use object::read::elf::ElfFile64;
use object::{LittleEndian, Object, ObjectSection, ReadCache, ReadRef};

use super::Function;
use super::demangle::demangle;
use crate::elf::PositionedFile;
use crate::model::FileAddress;

type Bytes<'a> = EndianSlice<'a, Little>;

/// A section whose uncompressed size is beyond this is not loaded; a browser's .debug_info is half of it.
const MAX_SECTION: u64 = 4 << 30;
/// Functions inlined into one another at one address; no compiler goes that deep.
const MAX_INLINED: usize = 256;

/// What the debug information says of these addresses; those it says nothing of are left out.
pub(super) fn functions<'d, R: ReadRef<'d>>(
    elf: &ElfFile64<'d, LittleEndian, R>,
    supplementary: Option<&File>,
    addresses: &BTreeSet<FileAddress>,
) -> Vec<(FileAddress, Vec<Function>)> {
    let sections = load(elf);
    let positioned = supplementary.and_then(|file| PositionedFile::new(file).ok());
    let cache = positioned.map(ReadCache::new);
    let supplementary =
        cache.as_ref().and_then(|cache| ElfFile64::<LittleEndian, _>::parse(cache).ok()).map(|elf| load(&elf));
    let dwarf = sections.borrow_with_sup(supplementary.as_ref(), |section| EndianSlice::new(section, Little));
    let Ok(context) = Context::from_dwarf(dwarf) else {
        return Vec::new();
    };
    addresses.iter().filter_map(|address| Some((*address, functions_at(&context, *address)?))).collect()
}

/// The sections that line and function look-ups need; an empty one for each that is missing or damaged.
fn load<'d, R: ReadRef<'d>>(elf: &ElfFile64<'d, LittleEndian, R>) -> DwarfSections<Cow<'d, [u8]>> {
    let section = |id: SectionId| -> Result<Cow<'d, [u8]>, gimli::Error> {
        use SectionId::*;
        let needed = matches!(
            id,
            DebugAbbrev
                | DebugAddr
                | DebugAranges
                | DebugInfo
                | DebugLine
                | DebugLineStr
                | DebugRanges
                | DebugRngLists
                | DebugStr
                | DebugStrOffsets
        );
        let section = needed
            .then(|| elf.section_by_name(id.name()))
            .flatten()
            .filter(|section| section.size() <= MAX_SECTION)
            .and_then(|section| section.uncompressed_data().ok());
        Ok(section.unwrap_or_default())
    };
    DwarfSections::load(section).unwrap_or_default()
}

fn functions_at(context: &Context<Bytes<'_>>, address: FileAddress) -> Option<Vec<Function>> {
    let mut frames: FrameIter<'_, Bytes<'_>> = context.find_frames(address.0).skip_all_loads().ok()?;
    let mut functions = Vec::new();
    while functions.len() < MAX_INLINED
        && let Ok(Some(frame)) = frames.next()
    {
        functions.push(Function {
            name: frame.function.and_then(|name| Some(demangle(&name.raw_name().ok()?))),
            file: frame.location.as_ref().and_then(|location| location.file).map(str::to_owned),
            line: frame.location.as_ref().and_then(|location| location.line),
        });
    }
    (!functions.is_empty()).then_some(functions)
}
