//! From a symbol's name to its place: what a user means who names a variable.

use std::fs::File;

use object::read::elf::ElfFile64;
use object::{LittleEndian, Object, ObjectSymbol, ReadCache, SymbolKind};

use super::PositionedFile;
use super::demangle::demangle;
use crate::model::FileAddress;

/// Where the symbol of this name lies in a file, and how long it is. Its symbol tables are read and
/// nothing else, so that this may be asked on a live system; the name may be the mangled one or the
/// one in the source.
pub fn find_symbol(file: &File, name: &str) -> Option<(FileAddress, u64)> {
    let cache = ReadCache::new(PositionedFile::new(file).ok()?);
    let elf = ElfFile64::<LittleEndian, _>::parse(&cache).ok()?;
    elf.symbols()
        .chain(elf.dynamic_symbols())
        .filter(|symbol| !symbol.is_undefined() && symbol.address() != 0 && symbol.kind() != SymbolKind::Tls)
        .find(|symbol| symbol.name().is_ok_and(|found| found == name || demangle(found) == name))
        .map(|symbol| (FileAddress(symbol.address()), symbol.size()))
}
