//! What a recording keeps of the files of a module so that its names can be had anywhere.
//!
//! Promises: of each file only sections that names are taken from are read, and no more than is
//! allowed. It is for the live half, after the threads were let go.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::sources::{Finder, FoundBy, FoundFile};
use super::{Resolution, UsedFile};
use crate::elf::{Wanted, open_regular, reduced};
use crate::model::{BuildId, BundledFile, BundledRole, FileAddress, Module};

/// Bytes of one file that are kept, uncompressed: of symbols, and with debug information.
const MOST_SYMBOLS: u64 = 128 << 20;
const MOST_DEBUG: u64 = 1 << 30;
/// Of a unit of debug information in a file of its own.
const MOST_SPLIT: u64 = 256 << 20;

/// What is to be kept of a module whose file this is, or whose file is where `finder` looks.
pub fn bundle(
    finder: &Finder,
    module: &Module,
    program: Option<File>,
    addresses: &BTreeSet<FileAddress>,
    wanted: Wanted,
) -> Vec<BundledFile> {
    let files = match program {
        Some(program) => finder.find_for(module, program),
        None => finder.find(module),
    };
    let id = || module.build_id.clone();
    let keep = |found: &FoundFile, id: Option<BuildId>, role| {
        let most = if wanted == Wanted::Debug { MOST_DEBUG } else { MOST_SYMBOLS };
        let bytes = reduced(&found.file, wanted, most)
            // Without the lines, then.
            .or_else(|| reduced(&found.file, Wanted::Symbols, MOST_SYMBOLS))?;
        pack(&bytes, id, module.path.clone(), role)
    };
    let mut kept = Vec::new();
    // One that says nothing which the other does not is left out.
    let has_all = |found: &FoundFile| found.has_symbols() && (wanted == Wanted::Symbols || found.has_debug_info());
    let program =
        files.program.as_ref().filter(|program| has_all(program) || !files.debug.as_ref().is_some_and(has_all));
    let debug = files.debug.as_ref().filter(|_| !files.program.as_ref().is_some_and(has_all));
    for found in program.into_iter().chain(debug) {
        kept.extend(keep(found, id(), BundledRole::Module));
    }
    if wanted == Wanted::Debug {
        if let Some(found) = &files.supplementary {
            kept.extend(keep(found, found.id(), BundledRole::Supplementary));
        }
        let mut names = Resolution::new(addresses);
        names.add_files(finder, &files);
        let split = names.files.iter().filter(|file| file.by == FoundBy::Split);
        kept.extend(split.filter_map(keep_split));
    }
    kept
}

/// A unit of debug information, or a package of them, as it is.
fn keep_split(used: &UsedFile) -> Option<BundledFile> {
    let file = open_regular(used.place.as_ref()).ok()?;
    let length = file.metadata().ok()?.len();
    if length > MOST_SPLIT {
        return None;
    }
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut std::io::Read::take(file, length), &mut bytes).ok()?;
    pack(&bytes, None, used.place.clone(), BundledRole::Split)
}

fn pack(bytes: &[u8], build_id: Option<BuildId>, path: String, role: BundledRole) -> Option<BundledFile> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(bytes).ok()?;
    Some(BundledFile { build_id, path, role, packed: encoder.finish().ok()?.into(), size: bytes.len() as u64 })
}
