//! Names and lines of Go's functions from the table that Go's runtime has of them, which no `strip` takes away.

use std::collections::BTreeSet;

use super::Function;
use crate::elf::Pclntab;
use crate::model::FileAddress;

/// The functions that these addresses lie in. A line in a function that was inlined is told under the name of the one
/// that it was inlined into.
pub(super) fn functions(table: &Pclntab<'_>, addresses: &BTreeSet<FileAddress>) -> Vec<(FileAddress, Function)> {
    let at = |address: &FileAddress| {
        let function = table.function(*address)?;
        let name = function.name()?.to_owned();
        let (file, line) = function.line(*address).map(|(file, line)| (file.to_owned(), line)).unzip();
        Some((*address, Function { name: Some(name), file, line }))
    };
    addresses.iter().filter_map(at).collect()
}
