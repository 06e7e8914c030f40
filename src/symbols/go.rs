//! Names and lines of Go's functions from the table that Go's runtime has of them, which no `strip`
//! takes away.

use std::collections::BTreeSet;

use crate::elf::{Pclntab, demangle};
use crate::model::{FileAddress, Function};

/// The functions that these addresses lie in. Of one that was inlined only the line is known, and
/// that of its call is not.
pub(super) fn functions(table: &Pclntab<'_>, addresses: &BTreeSet<FileAddress>) -> Vec<(FileAddress, Vec<Function>)> {
    let at = |address: &FileAddress| {
        let function = table.function(*address)?;
        let name = Some(demangle(function.name()?));
        let (file, line) = function.line(*address).map(|(file, line)| (file.to_owned(), line)).unzip();
        let functions = if function.is_inlined(*address) {
            vec![Function { name: None, file, line }, Function { name, ..Function::default() }]
        } else {
            vec![Function { name, file, line }]
        };
        Some((*address, functions))
    };
    addresses.iter().filter_map(at).collect()
}
