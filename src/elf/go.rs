//! Where in a program Go's table of functions lies, and what its addresses count from.
//!
//! By its section where that has a name, else by its first bytes; only programs that say in a note that Go built them are
//! searched.

use std::borrow::Cow;

use object::elf::PT_LOAD;
use object::read::elf::{ElfFile64, ProgramHeader};
use object::{LittleEndian, Object, ObjectSection, ReadRef, RelocationTarget};

use super::image::read_all;
use super::pclntab::TEXT_START;
use super::sections::Sections;
use super::{Headers, Image, Pclntab};
use crate::model::FileAddress;

/// Linkers of C move the section of programs that can be loaded anywhere.
const SECTIONS: [&str; 2] = [".gopclntab", ".data.rel.ro.gopclntab"];
/// Larger than the table of any program seen, by five times.
const MAX_TABLE: u64 = 256 << 20;
/// Go's linker aligns the table to 32, C's may align what it moves to less.
const ALIGNMENT: usize = 8;
/// Places where a table may begin that are looked at. A program has one; each look may take a while.
const MOST_BEGINNINGS: usize = 16;
/// The section of the note that Go writes.
const NOTE_SECTION: &str = ".note.go.buildid";
/// The name of the notes that Go writes (cmd/internal/buildid).
pub(super) const NOTE: &[u8] = b"Go";

/// Whether it is worth while to look for a table in a file with these sections.
pub(super) fn may_have_table<'d, R: ReadRef<'d>>(sections: &Sections<'d, R>) -> bool {
    let is_go = SECTIONS.iter().chain([&NOTE_SECTION]).any(|name| sections.has(name));
    is_go && sections.has_plausible_symbols()
}

/// The table of a file.
pub fn pclntab<'d, R: ReadRef<'d>>(elf: &ElfFile64<'d, LittleEndian, R>) -> Option<Pclntab<'d>> {
    let named = SECTIONS.iter().find_map(|name| {
        let section = elf.section_by_name(name).filter(|section| section.size() <= MAX_TABLE)?;
        Some((FileAddress(section.address()), section.data().ok()?))
    });
    if let Some((address, data)) = named {
        return table(elf, address, data);
    }
    if !is_go(elf) {
        return None;
    }
    elf.elf_program_headers().iter().find_map(|segment| {
        let wanted = segment.p_type(LittleEndian) == PT_LOAD && segment.p_filesz(LittleEndian) <= MAX_TABLE;
        let data = if wanted { segment.data(LittleEndian, elf.data()).ok()? } else { return None };
        let start = FileAddress(segment.p_vaddr(LittleEndian));
        beginnings(data).find_map(|at| table(elf, start.offset(at as i64), data.get(at..)?))
    })
}

/// The table of an image without section headers.
pub(super) fn pclntab_of_image(headers: &Headers, image: &impl Image) -> Option<Pclntab<'static>> {
    if !headers.is_go(image) {
        return None;
    }
    headers.loads.iter().filter(|load| !load.executable && load.file_size <= MAX_TABLE).find_map(|load| {
        let data = read_all(image, load.address, load.file_size)?;
        beginnings(&data).find_map(|at| {
            let found = data.get(at..)?;
            let text = Pclntab::stated_text(found);
            // A program that was moved has a header that was changed with it, which is of no use here.
            let known = text.is_none_or(|text| headers.is_code(text));
            known
                .then(|| Pclntab::parse(Cow::Borrowed(found), text.unwrap_or(FileAddress(0))))?
                .map(Pclntab::into_owned)
        })
    })
}

/// Where a table may begin.
fn beginnings(data: &[u8]) -> impl Iterator<Item = usize> {
    let begins = |at: &usize| data.get(*at..*at + 8).is_some_and(Pclntab::begins);
    (0..data.len()).step_by(ALIGNMENT).filter(begins).take(MOST_BEGINNINGS)
}

fn table<'d, R: ReadRef<'d>>(
    elf: &ElfFile64<'d, LittleEndian, R>,
    address: FileAddress,
    data: &'d [u8],
) -> Option<Pclntab<'d>> {
    let parse = |text| Pclntab::parse(Cow::Borrowed(data), text);
    // Where the header leaves it to the loader, a relocation has it, and since Go 1.26 nothing.
    if let Some(text) = Pclntab::stated_text(data).or_else(|| relocated(elf, address.offset(TEXT_START as i64))) {
        return parse(text);
    }
    let text = elf.section_by_name(".text")?;
    let table = parse(FileAddress(text.address()))?;
    begins_there(&table, &text).then_some(table)
}

/// What the loader is to put at this address.
fn relocated<'d, R: ReadRef<'d>>(elf: &ElfFile64<'d, LittleEndian, R>, place: FileAddress) -> Option<FileAddress> {
    let (_, relocation) = elf.dynamic_relocations()?.find(|(at, _)| *at == place.0)?;
    (relocation.target() == RelocationTarget::Absolute).then_some(FileAddress(relocation.addend().cast_unsigned()))
}

/// Whether the code of a function that every program has lies where the table says, which it does not where C's code
/// comes before Go's. Old tables have addresses of their own, and are believed.
fn begins_there<'d>(table: &Pclntab<'_>, text: &impl ObjectSection<'d>) -> bool {
    // A return address has to be inside runtime.goexit, so it begins with a nop, and a call.
    const BEGINNING: [u8; 2] = [0x90, 0xe8];
    let Some(function) = table.function_called("runtime.goexit") else {
        return false;
    };
    text.data_range(function.range.start.0, BEGINNING.len() as u64).is_ok_and(|code| code == Some(&BEGINNING[..]))
}

/// Whether a note says that Go built it.
fn is_go<'d, R: ReadRef<'d>>(elf: &ElfFile64<'d, LittleEndian, R>) -> bool {
    elf.elf_program_headers().iter().any(|segment| {
        let Ok(Some(mut notes)) = segment.notes(LittleEndian, elf.data()) else {
            return false;
        };
        std::iter::from_fn(|| notes.next().ok().flatten()).any(|note| note.name() == NOTE)
    })
}
