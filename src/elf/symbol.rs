//! From a symbol's name to its place: what a user means who names a variable.
//!
//! This is asked on a live system, and the file is the target's. Promises: its tables of symbols
//! are read a piece at a time and none of them is kept, so memory does not grow with the file; a
//! table of more symbols, and names in more places, than any program has are read up to a bound.

use std::fs::File;
use std::os::unix::fs::FileExt;

use object::elf::{FileHeader64, SHT_DYNSYM, SHT_SYMTAB, STT_TLS, SectionHeader64, Sym64};
use object::read::elf::{FileHeader, SectionHeader, Sym};
use object::{LittleEndian as Little, ReadCache, pod};

use super::PositionedFile;
use super::demangle::demangle;
use super::sections::MAX_SECTIONS;
use crate::model::FileAddress;

/// Browsers with all their symbols have three million.
const MAX_SYMBOLS: u64 = 16 << 20;
/// Symbols that are read at once.
const BATCH: u64 = 4096;
/// Bytes of names that are read at once. A longer name is another.
const WINDOW: usize = 64 << 10;
/// How often names may lie elsewhere than near the name before. Linkers write names nearly in the
/// order of the symbols; each time costs some 10 us.
const MAX_WINDOWS: usize = 1 << 18;

type Header = FileHeader64<Little>;
type Section = SectionHeader64<Little>;

/// Where the symbol of this name lies in a file, and how long it is. The name may be the mangled
/// one or the one in the source. None where no table has it.
pub fn find_symbol(file: &File, name: &str) -> Option<(FileAddress, u64)> {
    let cache = ReadCache::new(PositionedFile::new(file).ok()?);
    let data = &cache;
    let header = Header::parse(data).ok()?;
    header.endian().ok()?;
    if !(1..=MAX_SECTIONS).contains(&header.e_shnum.get(Little)) {
        return None;
    }
    let sections = header.sections(Little, data).ok()?;
    [SHT_SYMTAB, SHT_DYNSYM].into_iter().find_map(|kind| {
        let symbols = sections.iter().find(|section| section.sh_type(Little) == kind)?;
        let names = sections.iter().nth(symbols.sh_link(Little) as usize)?;
        find_in(file, symbols, names, name)
    })
}

fn find_in(file: &File, symbols: &Section, names: &Section, name: &str) -> Option<(FileAddress, u64)> {
    const SIZE: u64 = size_of::<Sym64<Little>>() as u64;
    let count = (symbols.sh_size(Little) / SIZE).min(MAX_SYMBOLS);
    let mut names = Names::of(file, names);
    let mut bytes = Vec::new();
    for first in (0..count).step_by(BATCH as usize) {
        let batch = BATCH.min(count - first);
        bytes.resize(usize::try_from(batch * SIZE).ok()?, 0);
        file.read_exact_at(&mut bytes, symbols.sh_offset(Little).checked_add(first * SIZE)?).ok()?;
        let (batch, _) = pod::slice_from_bytes::<Sym64<Little>>(&bytes, usize::try_from(batch).ok()?).ok()?;
        for symbol in batch {
            let address = symbol.st_value(Little);
            if symbol.is_undefined(Little) || address == 0 || symbol.st_type() == STT_TLS {
                continue;
            }
            let found = names.at(symbol.st_name(Little).into())?;
            if found.is_some_and(|found| found == name || demangle(found) == name) {
                return Some((FileAddress(address), symbol.st_size(Little)));
            }
        }
    }
    None
}

/// A table of names. A window of it is read at a time.
struct Names<'a> {
    file: &'a File,
    offset: u64,
    size: u64,
    window: Vec<u8>,
    /// Where in the table the window begins.
    start: u64,
    windows: usize,
}

impl<'a> Names<'a> {
    fn of(file: &'a File, section: &Section) -> Self {
        let (offset, size) = (section.sh_offset(Little), section.sh_size(Little));
        Self { file, offset, size, window: Vec::new(), start: 0, windows: 0 }
    }

    /// The name that begins there; the inner None if there is none. The outer says that no more of
    /// them are read.
    fn at(&mut self, at: u64) -> Option<Option<&str>> {
        if self.end(at).is_none() && at < self.size {
            self.windows += 1;
            if self.windows > MAX_WINDOWS {
                return None;
            }
            self.window.resize(WINDOW.min(usize::try_from(self.size - at).unwrap_or(WINDOW)), 0);
            let read = self.offset.checked_add(at).map(|place| self.file.read_at(&mut self.window, place));
            self.window.truncate(read.and_then(Result::ok).unwrap_or(0));
            self.start = at;
        }
        Some(self.end(at).and_then(|(start, end)| std::str::from_utf8(&self.window[start..end]).ok()))
    }

    /// Where in the window the name begins that is at this place of the table, and where it ends.
    fn end(&self, at: u64) -> Option<(usize, usize)> {
        let start = usize::try_from(at.checked_sub(self.start)?).ok()?;
        let length = self.window.get(start..)?.iter().position(|byte| *byte == 0)?;
        Some((start, start + length))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use object::{Object, ObjectSymbol, SymbolKind};

    use super::*;

    /// The same as the object crate finds, which reads all of the tables at once.
    #[test]
    fn symbols_are_where_another_reader_finds_them() {
        let path = std::env::current_exe().expect("the test's own file");
        let file = File::open(&path).expect("readable");
        let bytes = std::fs::read(&path).expect("readable");
        let elf = object::File::parse(&*bytes).expect("ELF");
        let named: Vec<_> = elf
            .symbols()
            .filter(|symbol| {
                symbol.address() != 0 && !symbol.is_undefined() && symbol.kind() != SymbolKind::Tls && symbol.size() > 0
            })
            .filter_map(|symbol| Some((symbol.name().ok()?.to_owned(), symbol.address(), symbol.size())))
            .filter(|(name, ..)| !name.is_empty())
            .collect();
        assert!(named.len() > 1000, "{}", named.len());
        for (name, ..) in named.iter().step_by(named.len() / 12) {
            let (address, size) = find_symbol(&file, name).unwrap_or_else(|| panic!("{name}"));
            // Several may have one name.
            let place = (name.clone(), address.0, size);
            assert!(named.contains(&place) || size == 0, "{place:x?}");
        }
        assert_eq!(find_symbol(&file, "no_such_symbol_anywhere"), None);
    }

    /// Memory for symbols grew with the tables of a file, up to the 8 GiB that a file may have.
    #[test]
    fn tables_without_end_are_read_to_a_bound() {
        let path = std::env::current_exe().expect("the test's own file");
        let bytes = std::fs::read(&path).expect("readable");
        let directory = tempfile::tempdir().expect("a temporary directory");
        let elf = ElfFile::parse(&*bytes).expect("ELF");
        let headers = elf.elf_header().e_shoff.get(Little);
        let index = elf.elf_section_table().iter().position(|section| section.sh_type(Little) == SHT_SYMTAB);
        let header = headers + index.expect("it has symbols") as u64 * size_of::<Section>() as u64;
        let end = bytes.len() as u64;
        // Symbols without end, all in a hole: they have no address. Or each with the same name, at
        // an end that never comes.
        for count in [u64::MAX / 24, 1 << 34, MAX_SYMBOLS + 1] {
            let mut options = File::options();
            options.read(true).write(true).create(true).truncate(true);
            let file = options.open(directory.path().join(count.to_string())).expect("a file");
            file.write_all_at(&bytes, 0).expect("room for it");
            file.set_len(end + 8 * 24 * (1 << 20)).expect("a hole");
            file.write_all_at(&end.to_le_bytes(), header + 24).expect("sh_offset");
            file.write_all_at(&(count * 24).to_le_bytes(), header + 32).expect("sh_size");
            let begun = std::time::Instant::now();
            assert_eq!(find_symbol(&file, "no_such_symbol_anywhere"), None);
            assert!(begun.elapsed() < std::time::Duration::from_secs(60), "{:?}", begun.elapsed());
        }
    }

    type ElfFile<'d> = object::read::elf::ElfFile64<'d, Little>;

    #[test]
    fn names_in_places_without_end_are_read_to_a_bound() {
        let file = tempfile::tempfile().expect("a temporary file");
        file.set_len(1 << 40).expect("a file system with sparse files");
        let mut names =
            Names { file: &file, offset: 0, size: 1 << 40, window: Vec::new(), start: 0, windows: MAX_WINDOWS - 3 };
        for place in 0..3 {
            assert_eq!(names.at(place << 20), Some(Some("")));
        }
        assert!(names.window.capacity() <= 2 * WINDOW);
        assert_eq!(names.at(7 << 20), None);
    }
}
