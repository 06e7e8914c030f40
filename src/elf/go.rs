//! Where in a program Go's table of functions lies, and what its addresses count from.
//!
//! By its section where that has a name, else by its first bytes; only programs that say in a note
//! that Go built them are searched.

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
/// The same, of the code that is searched for the place where Go's begins.
const MAX_TEXT: u64 = 1 << 30;
/// Go's functions begin at multiples of this, at least.
const CODE_ALIGNMENT: usize = 16;
/// The function that goroutines return to.
const EXIT: &str = "runtime.goexit";
/// Go's linker aligns the table to 32, C's may align what it moves to less.
const ALIGNMENT: usize = 8;
/// Places where a table may begin that are looked at. A program has one; each look may take a
/// while.
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
            // A program that was moved has a header that was changed with it, which is of no use
            // here.
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
    // Functions of C, where a linker of C's has put Go's program together, may come first.
    let text = elf.section_by_name(".text").filter(|text| text.size() <= MAX_TEXT)?;
    let table = parse(FileAddress(0))?;
    let exit = table.functions_called(EXIT).next()?.range.start;
    let place = beginning_of_exit(&table, exit, FileAddress(text.address()), text.data().ok()?)?;
    parse(FileAddress(text.address().checked_add(place as u64)?.checked_sub(exit.0)?))
}

/// What the loader is to put at this address.
fn relocated<'d, R: ReadRef<'d>>(elf: &ElfFile64<'d, LittleEndian, R>, place: FileAddress) -> Option<FileAddress> {
    let (_, relocation) = elf.dynamic_relocations()?.find(|(at, _)| *at == place.0)?;
    (relocation.target() == RelocationTarget::Absolute).then_some(FileAddress(relocation.addend().cast_unsigned()))
}

/// Where the code of a function lies that every program has: a nop, because a return address has to
/// be inside of it, and a call of a function that the table has, too.
fn beginning_of_exit(table: &Pclntab<'_>, exit: FileAddress, text: FileAddress, code: &[u8]) -> Option<usize> {
    const LENGTH: u64 = 6;
    // There is one for each of Go's calling conventions.
    let called = table.functions_called("runtime.goexit1");
    let calls: Vec<[u8; LENGTH as usize]> = called
        .filter_map(|called| {
            let distance = called.range.start.0.wrapping_sub(exit.0 + LENGTH).cast_signed();
            let [a, b, c, d] = i32::try_from(distance).ok()?.to_le_bytes();
            Some([0x90, 0xe8, a, b, c, d])
        })
        .collect();
    let first = usize::try_from(text.0.wrapping_neg() % CODE_ALIGNMENT as u64).ok()?;
    (first..code.len()).step_by(CODE_ALIGNMENT).find(|at| calls.iter().any(|call| code[*at..].starts_with(call)))
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
