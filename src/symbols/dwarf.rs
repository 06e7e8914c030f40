//! Functions, inlined functions and lines from DWARF, by way of addr2line.
//!
//! addr2line looks at every unit of a file before it answers its first question, and most files
//! have thousands. Where `.debug_aranges` says which units the addresses lie in, it is shown those
//! alone (see `units`), and `.debug_info` is decompressed up to the last of them and no further; an
//! address that this leaves without a name is asked for again with all of them.

use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::fs::File;
use std::panic::resume_unwind;
use std::thread;

use addr2line::{Context, FrameIter, FunctionName};
use gimli::{DebugAranges, DebugInfo, DwLang, Dwarf, DwarfSections, EndianSlice, LittleEndian as Little, SectionId};

use super::ahead::Ahead;
use super::scopes::Scopes;
use super::sections::{each_section, one_section};
use super::sources::SplitPlaces;
use super::split_units::{self, SplitUnits};
use super::{Function, units};
use crate::elf::{demangle, demangle_ada};
use crate::model::FileAddress;

type DwarfBytes<'a> = EndianSlice<'a, Little>;
type Found = Vec<(FileAddress, Vec<Function>)>;

/// Functions inlined into one another at one address; no compiler goes that deep.
const MAX_INLINED: usize = 256;
/// What line and function look-ups read, besides .debug_info and .debug_aranges.
const NEEDED: [SectionId; 8] = [
    SectionId::DebugAbbrev,
    SectionId::DebugAddr,
    SectionId::DebugLine,
    SectionId::DebugLineStr,
    SectionId::DebugRanges,
    SectionId::DebugRngLists,
    SectionId::DebugStr,
    SectionId::DebugStrOffsets,
];

/// The sections of one file that matter here. `.debug_info` by itself, because units may be hidden
/// in it.
struct Loaded {
    info: Vec<u8>,
    others: DwarfSections<Vec<u8>>,
}

/// What the debug information of a file says of these addresses; those it says nothing of are left
/// out.
pub(super) fn functions(
    file: &File,
    supplementary: Option<&File>,
    split: &mut SplitParts<'_>,
    addresses: &BTreeSet<FileAddress>,
    ahead: &Ahead,
) -> Found {
    let aranges = one_section(file, SectionId::DebugAranges, None).unwrap_or_default();
    let wanted = units::holding(&DebugAranges::new(&aranges, Little), addresses);
    let mut loaded = load(file, aranges, wanted.end, ahead);
    let supplementary = supplementary.map(load_whole);
    if wanted.units.is_empty() {
        return look_up(&loaded, supplementary.as_ref(), split, addresses);
    }
    let overwritten = units::hide_all_but(&wanted.units, &mut loaded.info);
    let mut found = look_up(&loaded, supplementary.as_ref(), split, addresses);
    found.retain(|(_, functions)| functions.iter().all(|function| function.name.is_some()));
    let answered: BTreeSet<FileAddress> = found.iter().map(|(address, _)| *address).collect();
    let missing: BTreeSet<FileAddress> = addresses.difference(&answered).copied().collect();
    if !missing.is_empty() {
        match wanted.end {
            Some(_) => loaded.info = one_section(file, SectionId::DebugInfo, None).unwrap_or_default(),
            None => units::show_again(overwritten, &mut loaded.info),
        }
        found.extend(look_up(&loaded, supplementary.as_ref(), split, &missing));
    }
    found
}

/// Where parts of debug information may be that are in files of their own, and what was found of
/// them.
pub(super) struct SplitParts<'a> {
    pub(super) places: SplitPlaces<'a>,
    /// The files that were used.
    pub(super) found: BTreeSet<String>,
    /// The files that are not where the compiler had put them.
    pub(super) lost: BTreeSet<String>,
}

impl<'a> SplitParts<'a> {
    pub(super) fn at(places: SplitPlaces<'a>) -> Self {
        Self { places, found: BTreeSet::new(), lost: BTreeSet::new() }
    }
}

fn look_up(
    loaded: &Loaded,
    supplementary: Option<&Loaded>,
    split: &mut SplitParts<'_>,
    addresses: &BTreeSet<FileAddress>,
) -> Found {
    let context = || {
        let mut dwarf = loaded.dwarf();
        if let Some(supplementary) = supplementary {
            dwarf.set_sup(supplementary.dwarf());
        }
        Context::from_dwarf(dwarf).ok()
    };
    let Some(first) = context() else {
        return Vec::new();
    };
    let look_up = |context: &Context<DwarfBytes<'_>>| {
        let mut scopes = Scopes::default();
        let found =
            addresses.iter().filter_map(|address| Some((*address, functions_at(context, *address, &mut scopes)?)));
        found.collect::<Found>()
    };
    let wanted = split_units::wanted(&first, addresses);
    if wanted.is_empty() {
        return look_up(&first);
    }
    drop(first);
    // What a context borrows must be there before it.
    let units = SplitUnits::load(&split.places, &wanted);
    split.found.extend(units.places.iter().cloned());
    split.lost.extend(units.lost.iter().cloned());
    let Some(second) = context() else {
        return Vec::new();
    };
    for address in addresses {
        for (load, resume) in second.preload_units(address.0) {
            let dwarf = units.dwarf(&load);
            // One that cannot be read leaves its addresses without names.
            let _ = resume(dwarf);
        }
    }
    look_up(&second)
}

impl Loaded {
    fn dwarf(&self) -> Dwarf<DwarfBytes<'_>> {
        let mut dwarf = self.others.borrow(|section| EndianSlice::new(section, Little));
        dwarf.debug_info = DebugInfo::new(&self.info, Little);
        dwarf
    }
}

fn functions_at(context: &Context<DwarfBytes<'_>>, address: FileAddress, scopes: &mut Scopes) -> Option<Vec<Function>> {
    let mut frames: FrameIter<'_, DwarfBytes<'_>> = context.find_frames(address.0).skip_all_loads().ok()?;
    let mut functions: Vec<Function> = Vec::new();
    // Of those that have no scope in their names, where it is to be found.
    let mut bare = Vec::new();
    while functions.len() < MAX_INLINED
        && let Ok(Some(frame)) = frames.next()
    {
        if let (Some(name), Some(entry)) = (&frame.function, frame.dw_die_offset)
            && !name.name.slice().starts_with(b"_Z")
        {
            bare.push((functions.len(), entry));
        }
        functions.push(Function {
            name: frame.function.and_then(|name| spelt_out(&name)),
            file: frame.location.as_ref().and_then(|location| location.file).map(str::to_owned),
            line: frame.location.as_ref().and_then(|location| location.line),
        });
    }
    // The outermost is in the table of symbols under its whole name.
    bare.retain(|(number, _)| number + 1 < functions.len());
    if !bare.is_empty()
        && let Some(unit) = context.find_dwarf_and_unit(address.0).skip_all_loads()
    {
        for (number, entry) in bare {
            let function = &mut functions[number];
            let qualified = function.name.as_deref().and_then(|name| scopes.qualified(unit, entry, name));
            function.name = qualified.or_else(|| function.name.take());
        }
    }
    (!functions.is_empty()).then_some(functions)
}

fn spelt_out(name: &FunctionName<DwarfBytes<'_>>) -> Option<String> {
    const ADA: [DwLang; 4] =
        [gimli::DW_LANG_Ada83, gimli::DW_LANG_Ada95, gimli::DW_LANG_Ada2005, gimli::DW_LANG_Ada2012];
    let raw = name.raw_name().ok()?;
    Some(match name.language {
        Some(language) if ADA.contains(&language) => demangle_ada(&raw),
        _ => demangle(&raw),
    })
}

fn load_whole(file: &File) -> Loaded {
    load(file, one_section(file, SectionId::DebugAranges, None).unwrap_or_default(), None, &Ahead::default())
}

/// Reads the sections, decompressing .debug_info beside the others: it is as large as all of them.
/// Of .debug_info the first `info` bytes are read, or all.
fn load(file: &File, aranges: Vec<u8>, info: Option<usize>, ahead: &Ahead) -> Loaded {
    thread::scope(|scope| {
        let others = scope.spawn(|| {
            let mut bytes_of = HashMap::from([(SectionId::DebugAranges.name(), aranges)]);
            each_section(file, &NEEDED.map(|id| (id, id.name())), None, |id, bytes| {
                bytes_of.insert(id.name(), bytes);
            });
            let take = |id: SectionId| Ok::<_, Infallible>(bytes_of.remove(id.name()).unwrap_or_default());
            let Ok(others) = DwarfSections::load(take);
            others
        });
        let info = ahead.debug_info(file, info).or_else(|| one_section(file, SectionId::DebugInfo, info));
        let info = info.unwrap_or_default();
        Loaded { info, others: others.join().unwrap_or_else(|panic| resume_unwind(panic)) }
    })
}

#[cfg(test)]
mod tests {
    use object::read::elf::ElfFile64;
    use object::{LittleEndian, Object, ObjectSymbol, ReadCache};

    use super::*;
    use crate::elf::PositionedFile;
    use crate::symbols::Finder;

    #[test]
    fn hiding_units_changes_no_answer() {
        let file = File::open(std::env::current_exe().expect("the test's own file")).expect("readable");
        let positioned = ReadCache::new(PositionedFile::new(&file).expect("readable"));
        let elf = ElfFile64::<LittleEndian, _>::parse(&positioned).expect("an ELF file");
        let all: Vec<FileAddress> = elf
            .symbols()
            .filter(|symbol| symbol.kind() == object::SymbolKind::Text && symbol.size() > 8)
            .map(|symbol| FileAddress(symbol.address() + symbol.size() / 2))
            .collect();
        let addresses: BTreeSet<FileAddress> = all.iter().copied().step_by(all.len().div_ceil(60)).collect();
        assert!(addresses.len() > 30, "too few functions to say anything");
        let loaded = load_whole(&file);
        let wanted = units::holding(&loaded.dwarf().debug_aranges, &addresses);
        assert!(!wanted.units.is_empty(), "this compiler writes no .debug_aranges, so nothing was hidden");
        let finder = Finder::new(Vec::new());
        let split = || SplitParts::at(SplitPlaces::of(&finder, []));
        let with_all = look_up(&loaded, None, &mut split(), &addresses);
        assert!(with_all.len() > 20, "only {} of {} are known at all", with_all.len(), addresses.len());
        let mut with_few = functions(&file, None, &mut split(), &addresses, &Ahead::default());
        with_few.sort_by_key(|(address, _)| *address);
        assert_eq!(with_few, with_all);
    }

    /// All of .debug_info was decompressed, however little of it was to be looked at.
    #[test]
    fn no_more_is_read_of_debug_info_than_up_to_the_last_unit_that_matters() {
        let file = File::open(std::env::current_exe().expect("the test's own file")).expect("readable");
        let whole = load_whole(&file);
        let aranges = whole.dwarf().debug_aranges;
        let mut headers = aranges.headers();
        let mut first_of_each = Vec::new();
        while let Ok(Some(header)) = headers.next() {
            let first = header.entries().next().ok().flatten().map(|entry| entry.range().begin);
            first_of_each.extend(first.filter(|first| *first != 0).map(|first| (header.debug_info_offset().0, first)));
        }
        first_of_each.sort_unstable();
        let (offset, address) = first_of_each[first_of_each.len() / 4];
        let addresses = BTreeSet::from([FileAddress(address)]);
        let wanted = units::holding(&aranges, &addresses);
        let end = wanted.end.expect("there are more units after it");
        assert!(wanted.units.contains(&offset) && end > offset && end < whole.info.len() / 2);
        let loaded = load(&file, Vec::new(), wanted.end, &Ahead::default());
        assert_eq!(loaded.info.len(), end);
        assert_eq!(loaded.info, whole.info[..end]);
    }
}
