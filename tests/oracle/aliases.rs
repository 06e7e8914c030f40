//! The names that a module's symbol tables give to one place, read without any of hangsnap's code.

use std::collections::{HashMap, HashSet};
use std::fs;

use object::{Object, ObjectSymbol};

use super::stacks::Code;

/// Where distributions put the symbol tables that they split off.
const DEBUG_DIRECTORY: &str = "/usr/lib/debug/.build-id";

#[derive(Clone)]
struct Symbol {
    start: u64,
    end: u64,
    name: String,
}

/// Reads each module once.
#[derive(Default)]
pub struct Aliases {
    modules: HashMap<String, Vec<Symbol>>,
}

impl Aliases {
    /// Whether both are symbols of the same start, and one of them reaches over this code.
    pub fn are(&mut self, code: &Code, own: &str, peer: &str) -> bool {
        let symbols = self.modules.entry(code.module.clone()).or_insert_with(|| read(code));
        let starts = |wanted: &str| {
            let named = symbols.iter().filter(move |symbol| symbol.name == wanted);
            named.map(|symbol| symbol.start).collect::<HashSet<u64>>()
        };
        let common: HashSet<u64> = starts(own).intersection(&starts(peer)).copied().collect();
        let reaches = |symbol: &Symbol| (symbol.start..symbol.end).contains(&code.inside);
        symbols.iter().any(|symbol| common.contains(&symbol.start) && reaches(symbol))
    }
}

fn read(code: &Code) -> Vec<Symbol> {
    let mut symbols = read_file(&code.module);
    if let Some((first, rest)) = code.build_id.as_deref().and_then(|id| id.split_at_checked(2)) {
        symbols.extend(read_file(&format!("{DEBUG_DIRECTORY}/{first}/{rest}.debug")));
    }
    symbols
}

/// The symbols of a file, if there is one: the vdso has none.
fn read_file(path: &str) -> Vec<Symbol> {
    let Ok(bytes) = fs::read(path) else {
        return Vec::new();
    };
    let elf = object::File::parse(&*bytes).expect("a module is an ELF file");
    let symbols = elf.symbols().chain(elf.dynamic_symbols()).filter(object::ObjectSymbol::is_definition);
    symbols
        .map(|symbol| Symbol {
            start: symbol.address(),
            end: symbol.address() + symbol.size(),
            // A symbol that is exported in a version has it in its name.
            name: symbol.name().unwrap_or_default().split('@').next().unwrap_or_default().to_owned(),
        })
        .collect()
}
