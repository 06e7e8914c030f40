//! Names from ELF symbol tables.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use object::read::elf::ElfFile64;
use object::{LittleEndian, Object, ObjectSymbol, ReadRef, SymbolKind};

use crate::elf::{ExportedSymbol, demangle, demangle_ada};
use crate::model::FileAddress;

/// The best symbol for an address so far.
struct Candidate<'n> {
    start: u64,
    sized: bool,
    global: bool,
    name: &'n str,
}

/// The name of a symbol.
pub(super) struct Symbol {
    pub(super) name: String,
    /// Whether a compiler had put a whole path into it, which is now spelt out.
    pub(super) is_mangled: bool,
}

/// The function symbols that these addresses lie in.
///
/// `inside` is the file inside the file (`.gnu_debugdata`): it lacks the symbols that the outer one
/// exports.
pub(super) fn symbols<'d, 'i, R: ReadRef<'d>>(
    elf: &ElfFile64<'d, LittleEndian, R>,
    inside: Option<&ElfFile64<'i, LittleEndian, &'i [u8]>>,
    addresses: &BTreeSet<FileAddress>,
) -> Vec<(FileAddress, Symbol)> {
    let mut best = HashMap::new();
    consider(&mut best, elf, addresses);
    if let Some(inside) = inside {
        consider(&mut best, inside, addresses);
    }
    // Nothing in a name of Ada's says that it is one.
    let may_be_ada = best.values().any(|found| found.name.contains("__") && demangle_ada(found.name) != found.name);
    let is_ada = may_be_ada && (has_ada(elf) || inside.is_some_and(has_ada));
    let named = |candidate: Candidate<'_>| {
        let name = if is_ada { demangle_ada(candidate.name) } else { demangle(candidate.name) };
        Symbol { is_mangled: name != candidate.name, name }
    };
    best.into_iter().map(|(address, candidate)| (address, named(candidate))).collect()
}

/// Whether a file has, or needs, anything of the runtime that GNAT links with each program.
fn has_ada<'d, R: ReadRef<'d>>(elf: &ElfFile64<'d, LittleEndian, R>) -> bool {
    let is_its_own = |name: &str| name.starts_with("__gnat_");
    elf.symbols().chain(elf.dynamic_symbols()).any(|symbol| symbol.name().is_ok_and(is_its_own))
}

/// The same of functions that lie in the memory of a process.
pub(super) fn exported(symbols: &[ExportedSymbol], addresses: &BTreeSet<FileAddress>) -> Vec<(FileAddress, String)> {
    let mut best = HashMap::new();
    for ExportedSymbol { start, size, is_local, name } in symbols {
        for address in addresses.range(*start..FileAddress(start.0.saturating_add(*size))) {
            keep_best(&mut best, *address, Candidate { start: start.0, sized: true, global: !is_local, name });
        }
    }
    best.into_iter().map(|(address, candidate)| (address, demangle(candidate.name))).collect()
}

/// One pass over the tables of a file: a program has far more symbols than a snapshot has
/// addresses.
fn consider<'n, 'd: 'n, R: ReadRef<'d>>(
    best: &mut HashMap<FileAddress, Candidate<'n>>,
    elf: &ElfFile64<'d, LittleEndian, R>,
    addresses: &BTreeSet<FileAddress>,
) {
    // A symbol without a size (assembly) reaches to whatever comes next; more than this is not one
    // function.
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
        for address in addresses.range(FileAddress(start)..FileAddress(end)) {
            let Ok(name) = symbol.name() else {
                continue;
            };
            if name.is_empty() {
                continue;
            }
            let candidate = Candidate { start, sized: size != 0, global: !symbol.is_local(), name };
            keep_best(best, *address, candidate);
        }
    }
}

fn keep_best<'n>(best: &mut HashMap<FileAddress, Candidate<'n>>, address: FileAddress, candidate: Candidate<'n>) {
    match best.entry(address) {
        Entry::Vacant(entry) => {
            entry.insert(candidate);
        }
        Entry::Occupied(mut entry) => {
            if candidate.rank() > entry.get().rank() {
                entry.insert(candidate);
            }
        }
    }
}

impl Candidate<'_> {
    /// Sized before unsized, the nearest before others; among aliases of one place an exported
    /// name, then the plainest.
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
