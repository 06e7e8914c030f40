//! An ELF object that a JIT compiler keeps in memory for debuggers: where its code lies, how that
//! is unwound, its names.
//!
//! LLVM registers the object as it was before it was linked, with the addresses of loaded sections
//! put into the section headers. So symbols count from their sections, and call frame information
//! is relocated here, as gdb does; what others register is linked already and has no relocations.
//! Promises: the bytes are hostile, and what is kept is no larger than they are. Debug information
//! in the object is not read.

use std::fs::File;
use std::ops::Range;

use object::LittleEndian as Little;
use object::elf::{
    EM_AARCH64, ET_REL, FileHeader64, R_AARCH64_ABS64, R_AARCH64_PREL32, R_AARCH64_PREL64, R_X86_64_32, R_X86_64_64,
    R_X86_64_PC32, R_X86_64_PC64, Rela64, RelocationType, SHF_ALLOC, SHF_EXECINSTR, SHN_ABS, SHT_DYNSYM, SHT_SYMTAB,
    STT_FUNC, STT_OBJECT, SectionHeader64, Sym64,
};
use object::read::elf::{FileHeader, SectionHeader, SectionTable, Sym, SymbolTable};
use object::read::{ReadCache, ReadRef, SectionIndex, SymbolIndex};

use super::augmentation::{self, Kind};
use super::sections::{MAX_SECTION, MAX_SECTIONS};
use super::{CfiSections, PositionedFile, Section};
use crate::model::FileAddress;

type Header = FileHeader64<Little>;
type Symbols<'d> = SymbolTable<'d, Header, &'d [u8]>;

/// The part of a name that is kept.
const MAX_NAME: usize = 4096;
/// Variables whose names are compared, in each table of a file.
const MAX_CANDIDATES: usize = 1 << 16;

/// What an object says of the code that was made of it, by the addresses that the code has.
pub struct RegisteredObject {
    /// Where its code lies.
    pub code: Vec<Range<FileAddress>>,
    /// Its call frame information.
    pub cfi: CfiSections,
    /// In the order of their addresses.
    functions: Vec<(Range<FileAddress>, String)>,
}

impl RegisteredObject {
    /// Reads an object as the compiler registered it; None if it is not one.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let object = Parts::of(bytes)?;
        let code: Vec<_> = object.table.iter().filter_map(code).collect();
        // What is put there has no place in memory of its own, and must be near: the relocations
        // have 32 bits.
        let beyond = code.iter().map(|range| range.end.0).max()?.checked_next_multiple_of(8)?;
        let cfi = CfiSections::of_object(
            object.frames(".eh_frame", Kind::EhFrame, beyond),
            object.frames(".debug_frame", Kind::DebugFrame, 0),
        );
        Some(Self { code, cfi, functions: object.functions() })
    }

    /// The function that this address lies in.
    pub fn function(&self, at: FileAddress) -> Option<(Range<FileAddress>, &str)> {
        let after = self.functions.partition_point(|(range, _)| range.start <= at);
        let (range, name) = self.functions[..after].last()?;
        range.contains(&at).then(|| (range.clone(), name.as_str()))
    }
}

/// Where a file has the variable of this name and size, by its tables of symbols: a name at a time
/// is looked at only where the rest agrees.
pub fn variable(file: &File, name: &[u8], size: u64) -> Option<FileAddress> {
    let cache = ReadCache::new(PositionedFile::new(file).ok()?);
    let data = &cache;
    let header = Header::parse(data).ok()?;
    if !(1..=MAX_SECTIONS).contains(&header.e_shnum.get(Little)) {
        return None;
    }
    let table = header.sections(Little, data).ok()?;
    [SHT_DYNSYM, SHT_SYMTAB].into_iter().find_map(|kind| {
        let is_small = |section: &&SectionHeader64<Little>| section.sh_size(Little) <= MAX_SECTION;
        table.iter().find(|section| section.sh_type(Little) == kind).filter(is_small)?;
        let symbols = table.symbols(Little, data, kind).ok()?;
        let names = table.section(symbols.string_section()).ok()?.sh_offset(Little);
        let may_be = |symbol: &&Sym64<Little>| {
            let is_variable = symbol.st_type() == STT_OBJECT && symbol.st_size(Little) == size;
            is_variable && !symbol.is_undefined(Little)
        };
        // Where a name ends is not looked for: a table may be one long name.
        let is_it = |symbol: &&Sym64<Little>| {
            let at = names.saturating_add(symbol.st_name(Little).into());
            let found = data.read_bytes_at(at, name.len() as u64 + 1);
            found.is_ok_and(|found| found.strip_suffix(&[0]) == Some(name))
        };
        let found = symbols.iter().filter(may_be).take(MAX_CANDIDATES).find(is_it)?;
        Some(FileAddress(found.st_value(Little)))
    })
}

struct Parts<'d> {
    bytes: &'d [u8],
    header: &'d Header,
    table: SectionTable<'d, Header, &'d [u8]>,
    symbols: Symbols<'d>,
}

impl<'d> Parts<'d> {
    fn of(bytes: &'d [u8]) -> Option<Self> {
        let header = Header::parse(bytes).ok()?;
        header.endian().ok()?;
        let table = header.sections(Little, bytes).ok()?;
        let symbols = table.symbols(Little, bytes, SHT_SYMTAB).ok().unwrap_or_default();
        Some(Self { bytes, header, table, symbols })
    }

    fn is_relocatable(&self) -> bool {
        self.header.e_type(Little) == ET_REL
    }

    /// Where a symbol is, and the section that it is in. None if that is not in this object, or was
    /// not loaded.
    fn place(&self, symbol: &Sym64<Little>) -> Option<(FileAddress, Option<&'d SectionHeader64<Little>>)> {
        let value = symbol.st_value(Little);
        if symbol.st_shndx(Little) == SHN_ABS {
            return Some((FileAddress(value), None));
        }
        if symbol.is_undefined(Little) {
            return None;
        }
        let section = self.table.section(SectionIndex(symbol.st_shndx(Little).0.into())).ok()?;
        let start = if self.is_relocatable() { section.sh_addr(Little) } else { 0 };
        Some((FileAddress(start.wrapping_add(value)), Some(section)))
    }

    fn functions(&self) -> Vec<(Range<FileAddress>, String)> {
        let mut functions = Vec::new();
        let names = self.table.section(self.symbols.string_section());
        let names = names.ok().and_then(|names| names.data(Little, self.bytes).ok()).unwrap_or_default();
        let mut kept = 0;
        for symbol in self.symbols.iter().filter(|symbol| symbol.st_type() == STT_FUNC) {
            let Some((start, section)) = self.place(symbol) else { continue };
            let code = section.and_then(code);
            if section.is_some() && !code.as_ref().is_some_and(|code| code.contains(&start)) {
                continue;
            }
            // One of no size goes as far as its section; the next one ends it.
            let end = match (symbol.st_size(Little), code) {
                (0, Some(code)) => code.end,
                (size, _) => FileAddress(start.0.saturating_add(size)),
            };
            let name = usize::try_from(symbol.st_name(Little)).ok().and_then(|at| names.get(at..)).unwrap_or_default();
            let name = name[..name.len().min(MAX_NAME)].split(|byte| *byte == 0).next().unwrap_or_default();
            kept += name.len();
            // Many symbols may have one long name.
            if kept > self.bytes.len() {
                break;
            }
            if !name.is_empty() && start < end {
                functions.push((start..end, String::from_utf8_lossy(name).into_owned()));
            }
        }
        functions.sort_by_key(|(range, _)| range.start);
        functions
    }

    /// Call frame information, relocated if it has to be: then it is as if it lay at `base`.
    fn frames(&self, name: &str, kind: Kind, base: u64) -> Option<Section> {
        let (index, section) = self.table.section_by_name(Little, name.as_bytes())?;
        let mut data = section.data(Little, self.bytes).ok()?.to_vec();
        if data.is_empty() {
            return None;
        }
        let mut address = section.sh_addr(Little);
        // One section of them: there could be as many as there are headers, all of the same bytes.
        let of_this = |section: &&SectionHeader64<Little>| section.sh_info(Little) as usize == index.0;
        let relocations =
            self.table.iter().filter(of_this).find_map(|section| section.rela(Little, self.bytes).ok().flatten());
        if let Some((relocations, _)) = relocations.filter(|_| self.is_relocatable()) {
            address = base;
            self.relocate(&mut data, base, relocations)?;
        }
        if self.header.e_machine(Little) == EM_AARCH64 {
            augmentation::simplify(&mut data, kind);
        }
        Some(Section { address: FileAddress(address), data })
    }

    /// None where a place does not fit.
    fn relocate(&self, data: &mut [u8], base: u64, relocations: &[Rela64<Little>]) -> Option<()> {
        for relocation in relocations {
            let symbol = SymbolIndex(relocation.r_sym(Little, false) as usize);
            let offset = relocation.r_offset.get(Little);
            let Some((symbol, _)) = self.symbols.symbol(symbol).ok().and_then(|symbol| self.place(symbol)) else {
                // A personality routine or the like, which unwinding does not need.
                continue;
            };
            let value = symbol.0.wrapping_add_signed(relocation.r_addend.get(Little));
            let distance = value.wrapping_sub(base.wrapping_add(offset));
            let Some((length, value)) = relocated(
                self.header.e_machine(Little) == EM_AARCH64,
                relocation.r_type(Little, false),
                value,
                distance,
            ) else {
                continue;
            };
            let place = data.get_mut(usize::try_from(offset).ok()?..)?.get_mut(..length)?;
            let fits = length == 8 || i32::try_from(value.cast_signed()).is_ok() || u32::try_from(value).is_ok();
            place.copy_from_slice(value.to_le_bytes().get(..length).filter(|_| fits)?);
        }
        Some(())
    }
}

/// How many bytes a relocation changes, and to what. None for those that call frame information
/// does not have.
fn relocated(is_aarch64: bool, kind: RelocationType, value: u64, distance: u64) -> Option<(usize, u64)> {
    Some(match (is_aarch64, kind) {
        (false, R_X86_64_PC32) | (true, R_AARCH64_PREL32) => (4, distance),
        (false, R_X86_64_PC64) | (true, R_AARCH64_PREL64) => (8, distance),
        (false, R_X86_64_64) | (true, R_AARCH64_ABS64) => (8, value),
        (false, R_X86_64_32) => (4, value),
        _ => return None,
    })
}

/// Where code of an object was loaded.
fn code(section: &SectionHeader64<Little>) -> Option<Range<FileAddress>> {
    let wanted = SHF_ALLOC.0 | SHF_EXECINSTR.0;
    let (start, size) = (section.sh_addr(Little), section.sh_size(Little));
    let end = start.checked_add(size)?;
    (section.sh_flags(Little).0 & wanted == wanted && start != 0 && size > 0)
        .then_some(FileAddress(start)..FileAddress(end))
}
