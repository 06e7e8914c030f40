//! Names from ELF symbol tables.

use std::collections::HashMap;

use object::read::elf::ElfFile64;
use object::{LittleEndian, Object, ObjectSymbol, ReadRef, SymbolKind};

use super::demangle::demangle;
use crate::model::FileAddress;

/// The best symbol for an address so far.
struct Candidate<'d> {
    start: u64,
    sized: bool,
    global: bool,
    name: &'d str,
}

/// The function symbols that these addresses (in ascending order) lie in.
///
/// One pass over the tables: a program has far more symbols than a snapshot has addresses.
pub(super) fn symbols<'d, R: ReadRef<'d>>(
    elf: &ElfFile64<'d, LittleEndian, R>,
    addresses: &[FileAddress],
) -> Vec<(FileAddress, String)> {
    if addresses.is_empty() {
        return Vec::new();
    }
    let mut best: HashMap<FileAddress, Candidate<'d>> = HashMap::new();
    // A symbol without a size (assembly) reaches to whatever comes next; more than this is not one function.
    const UNSIZED_REACH: u64 = 4096;
    for symbol in elf.symbols().chain(elf.dynamic_symbols()) {
        let function = matches!(symbol.kind(), SymbolKind::Text)
            || symbol.kind() == SymbolKind::Label
            || (symbol.kind() == SymbolKind::Unknown && symbol.size() == 0);
        if !function || symbol.is_undefined() || symbol.address() == 0 {
            continue;
        }
        let (start, size) = (symbol.address(), symbol.size());
        let end = start.saturating_add(if size == 0 { UNSIZED_REACH } else { size });
        let from = addresses.partition_point(|address| address.0 < start);
        for address in addresses[from..].iter().take_while(|address| address.0 < end) {
            let Ok(name) = symbol.name() else {
                continue;
            };
            if name.is_empty() {
                continue;
            }
            let candidate = Candidate { start, sized: size != 0, global: !symbol.is_local(), name };
            match best.entry(*address) {
                std::collections::hash_map::Entry::Vacant(entry) => {
                    entry.insert(candidate);
                }
                std::collections::hash_map::Entry::Occupied(mut entry) => {
                    if candidate.rank() > entry.get().rank() {
                        entry.insert(candidate);
                    }
                }
            }
        }
    }
    best.into_iter().map(|(address, candidate)| (address, demangle(candidate.name))).collect()
}

impl Candidate<'_> {
    /// Sized before unsized, the nearest before others; among aliases of one place an exported name, then the plainest.
    fn rank(&self) -> impl Ord + '_ {
        let underscores = self.name.bytes().take_while(|byte| *byte == b'_').count();
        (
            self.sized,
            self.start,
            self.global,
            std::cmp::Reverse(underscores),
            std::cmp::Reverse(self.name.len()),
            std::cmp::Reverse(self.name),
        )
    }
}
