//! A file with only those of its sections that names are taken from, at the places where its own
//! headers say: what `objcopy --only-keep-debug` does, in memory.
//!
//! Promises: section headers keep their order and numbers, so that symbols and links between
//! sections stay right; what is left out becomes a section without contents. It reads what it
//! copies and decompresses nothing. Where more of a file is wanted than is allowed, it gives
//! nothing.

use std::fs::File;
use std::os::unix::fs::FileExt;

const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
const SECTION_HEADER: usize = 64;
/// More sections than any linked file has.
const MOST_SECTIONS: usize = 4096;
/// Names of sections take less than this together.
const MOST_NAMES: u64 = 1 << 20;
const SHT_NULL: u32 = 0;
const SHT_NOBITS: u32 = 8;
/// Offsets in an ELF header of 64 bits, and in a section header.
const E_PHOFF: usize = 32;
const E_SHOFF: usize = 40;
const E_PHNUM: usize = 56;
const E_SHNUM: usize = 60;
const E_SHSTRNDX: usize = 62;
const SH_TYPE: usize = 4;
const SH_OFFSET: usize = 24;
const SH_SIZE: usize = 32;

/// Which sections are wanted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Wanted {
    /// Those with names of functions.
    Symbols,
    /// And those with lines and inlined functions.
    Debug,
}

impl Wanted {
    fn has(self, name: &[u8]) -> bool {
        const SYMBOLS: [&[u8]; 12] = [
            b".symtab",
            b".strtab",
            b".dynsym",
            b".dynstr",
            b".shstrtab",
            b".note.gnu.build-id",
            b".gnu_debugdata",
            b".gopclntab",
            b".data.rel.ro.gopclntab",
            b".note.go.buildid",
            b".go.buildinfo",
            b".debug_sup",
        ];
        // What names, lines and variables do not need.
        const UNUSED: [&[u8]; 4] = [b".debug_pubnames", b".debug_pubtypes", b".debug_frame", b".debug_macro"];
        const LINKS: [&[u8]; 2] = [b".gnu_debuglink", b".gnu_debugaltlink"];
        match self {
            Self::Symbols => SYMBOLS.contains(&name),
            Self::Debug => {
                let is_debug = name.starts_with(b".debug_") || name.starts_with(b".zdebug_");
                SYMBOLS.contains(&name) || LINKS.contains(&name) || (is_debug && !UNUSED.contains(&name))
            }
        }
    }
}

/// The file with what is wanted of it, if that is no more than this many bytes.
pub fn reduced(file: &File, wanted: Wanted, most: u64) -> Option<Vec<u8>> {
    let read = |offset: u64, size: usize| -> Option<Vec<u8>> {
        let mut bytes = vec![0; size];
        file.read_exact_at(&mut bytes, offset).ok()?;
        Some(bytes)
    };
    let length = file.metadata().ok()?.len();
    let mut header = read(0, HEADER)?;
    // 64 bits, little-endian.
    if !header.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let count = usize::from(u16_at(&header, E_SHNUM)?);
    let names_at = usize::from(u16_at(&header, E_SHSTRNDX)?);
    if count == 0 || count > MOST_SECTIONS || names_at >= count {
        return None;
    }
    let mut sections = read(u64_at(&header, E_SHOFF)?, count * SECTION_HEADER)?;
    let (sections_of, _) = sections.as_chunks_mut::<SECTION_HEADER>();
    let place = |section: &[u8]| Some((u64_at(section, SH_OFFSET)?, u64_at(section, SH_SIZE)?));
    let names = {
        let (offset, size) = place(sections_of.get(names_at)?)?;
        read(offset, usize::try_from(size).ok().filter(|_| size <= MOST_NAMES)?)?
    };
    // Program headers as they are: where addresses begin is in them.
    let programs = usize::from(u16_at(&header, E_PHNUM)?) * PROGRAM_HEADER;
    let programs = if programs == 0 { Vec::new() } else { read(u64_at(&header, E_PHOFF)?, programs)? };
    let mut contents: Vec<u8> = Vec::new();
    let begin = HEADER + programs.len();
    for section in sections_of {
        let name_at = usize::try_from(u32_at(&section[..], 0)?).ok()?;
        let name = names.get(name_at..)?.split(|byte| *byte == 0).next().unwrap_or_default();
        let (offset, size) = place(&section[..])?;
        let kind = u32_at(&section[..], SH_TYPE)?;
        if kind == SHT_NULL || kind == SHT_NOBITS {
            continue;
        }
        if !wanted.has(name) {
            section[SH_TYPE..SH_TYPE + 4].copy_from_slice(&SHT_NOBITS.to_le_bytes());
            continue;
        }
        if offset.checked_add(size)? > length || size.saturating_add(contents.len() as u64) > most {
            return None;
        }
        while contents.len() % 8 != begin % 8 {
            contents.push(0);
        }
        let at = begin + contents.len();
        contents.extend(read(offset, usize::try_from(size).ok()?)?);
        section[SH_OFFSET..SH_OFFSET + 8].copy_from_slice(&(at as u64).to_le_bytes());
    }
    let table = (begin + contents.len()).next_multiple_of(8);
    header[E_PHOFF..E_PHOFF + 8].copy_from_slice(&(HEADER as u64).to_le_bytes());
    header[E_SHOFF..E_SHOFF + 8].copy_from_slice(&(table as u64).to_le_bytes());
    let mut whole = header;
    whole.extend(programs);
    whole.extend(contents);
    whole.resize(table, 0);
    whole.extend(sections);
    Some(whole)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
