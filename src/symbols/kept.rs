//! Names that a snapshot keeps: looked up while the process is there, because the file may be
//! missing later.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;

use super::{Finder, Function, Resolution, table};
use crate::elf::{ExportedSymbol, has_plausible_symbols};
use crate::model::{FileAddress, Module};

/// What the file of a module says of these addresses, with debug information of up to this many
/// bytes: its own, or that of a file that is found by its build-id or debug link. What it has no
/// name for is there, and empty.
pub fn functions_in(
    finder: &Finder,
    module: &Module,
    program: File,
    addresses: &BTreeSet<FileAddress>,
    most_debug: u64,
) -> HashMap<FileAddress, Vec<Function>> {
    let mut names = Resolution::new(addresses);
    names.most_debug = most_debug;
    if has_plausible_symbols(&program) {
        names.add_files(finder, &finder.find_for(module, program));
    }
    for address in addresses {
        names.functions.entry(*address).or_default();
    }
    names.functions
}

/// What can be said of these addresses where there is no file: those of exported functions.
pub fn functions_exported(
    symbols: &[ExportedSymbol],
    addresses: &BTreeSet<FileAddress>,
) -> HashMap<FileAddress, Vec<Function>> {
    let function = |(address, name)| (address, vec![Function { name: Some(name), ..Function::default() }]);
    table::exported(symbols, addresses).into_iter().map(function).collect()
}

/// Of what is said twice of one address, that which says more; the first, where they say as much.
pub(super) fn better<'a>(one: Option<&'a [Function]>, other: Option<&'a [Function]>) -> Option<&'a [Function]> {
    let worth = |functions: Option<&[Function]>| functions.map(worth);
    if worth(one) >= worth(other) { one } else { other }
}

/// Whether one says more than the other.
pub(super) fn is_better(one: &[Function], other: &[Function]) -> bool {
    worth(one) > worth(other)
}

/// Whether nothing could be said better.
pub(super) fn is_best(functions: &[Function]) -> bool {
    worth(functions) == (true, true)
}

/// Whether all are named, and the line is known.
fn worth(functions: &[Function]) -> (bool, bool) {
    let are_named = !functions.is_empty() && functions.iter().all(|function| function.name.is_some());
    (are_named, functions.iter().any(|function| function.line.is_some()))
}
