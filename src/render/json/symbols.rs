//! What was found for the modules on stacks.

use std::io::{self, Write};

use serde::Serialize;

use super::line;
use crate::render::symbols::describe;
use crate::symbols::{FoundBy, Lack, ModuleReport, remedy};

#[derive(Serialize)]
struct SymbolsDocument<'a> {
    format: &'static str,
    modules: Vec<ModuleFields<'a>>,
    /// What went wrong, of no module in particular.
    remarks: &'a [String],
}

#[derive(Serialize)]
struct ModuleFields<'a> {
    path: &'a str,
    build_id: Option<String>,
    places: usize,
    named: usize,
    with_lines: usize,
    inlined: usize,
    /// Places whose names were looked up when the snapshot was taken, and kept.
    kept: usize,
    files: Vec<FileFields<'a>>,
    missing: Vec<LackFields>,
}

#[derive(Serialize)]
struct FileFields<'a> {
    path: &'a str,
    found: &'static str,
    debug_info: bool,
    symbols: bool,
    unchecked: bool,
}

#[derive(Serialize)]
struct LackFields {
    what: &'static str,
    text: String,
    remedies: Vec<String>,
}

/// Writes what was found for each module as one object on one line.
pub fn symbols(out: &mut dyn Write, reports: &[ModuleReport], remarks: &[String]) -> io::Result<()> {
    let modules = reports.iter().map(module_fields).collect();
    line(out, &SymbolsDocument { format: "hangsnap.symbols/1", modules, remarks })
}

fn module_fields(module: &ModuleReport) -> ModuleFields<'_> {
    let files = module.files.iter().map(|file| FileFields {
        path: &file.place,
        found: match file.by {
            FoundBy::Named => "named",
            FoundBy::Directory => "directory",
            FoundBy::Bundle => "bundle",
            FoundBy::Path => "path",
            FoundBy::BuildId => "build-id",
            FoundBy::Link => "link",
            FoundBy::Split => "split",
            FoundBy::Debuginfod => "debuginfod",
        },
        debug_info: file.has_debug_info,
        symbols: file.has_symbols,
        unchecked: file.is_unchecked,
    });
    let missing = module.lacks.iter().map(|lack| LackFields {
        what: match lack {
            Lack::File => "file",
            Lack::Names => "names",
            Lack::DebugInfo => "debug-info",
            Lack::Supplementary { .. } => "supplementary",
            Lack::Split { .. } => "split",
        },
        text: describe(lack),
        remedies: remedy(module, lack),
    });
    ModuleFields {
        path: &module.path,
        build_id: module.build_id.as_ref().map(ToString::to_string),
        places: module.places,
        named: module.named,
        with_lines: module.with_lines,
        inlined: module.inlined,
        kept: module.kept,
        files: files.collect(),
        missing: missing.collect(),
    }
}
