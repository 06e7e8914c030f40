//! Source files: at the path that the debug information has, or where `--source-map` says; in the
//! debug information itself, where the compiler has put them there (`clang -gembed-source`); from
//! debuginfod.
//!
//! Promises: what is read is a regular file of a bounded size. Whether it is the text that was
//! compiled is not known, but for what is embedded or comes from debuginfod.

use std::fs::File;
use std::io::Read;

use gimli::{DebugLine, DebugLineOffset, DebugLineStr, DebugStr, LittleEndian as Little, SectionId};

use super::debuginfod::Wanted;
use super::{Files, Finder};
use crate::elf::open_below;
use crate::model::Module;
use crate::symbols::sections::one_section;

/// Larger than any source file that is read by people.
const MOST_BYTES: u64 = 16 << 20;
/// Units that are looked through for embedded text, and files of each.
const MOST_UNITS: usize = 1 << 16;

/// Another place for files below a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceMap {
    /// As the debug information has it.
    pub from: String,
    /// Where it is on this machine.
    pub to: String,
}

impl SourceMap {
    /// Where a file is, if it lies below this directory.
    fn apply(&self, path: &str) -> Option<String> {
        let rest = path.strip_prefix(self.from.trim_end_matches('/'))?;
        (rest.is_empty() || rest.starts_with('/')).then(|| format!("{}{rest}", self.to.trim_end_matches('/')))
    }
}

/// The text of a source file of a module.
pub(in crate::symbols) fn text(finder: &Finder, module: &Module, path: &str) -> Option<String> {
    for mapped in finder.source_maps.iter().filter_map(|map| map.apply(path)) {
        let file = std::path::absolute(&mapped).ok().and_then(|path| open_below("/".as_ref(), path.to_str()?).ok());
        if let Some(text) = file.and_then(read) {
            return Some(text);
        }
    }
    // What is embedded is what was compiled; what is at the path may have been changed since.
    let embedded = || {
        let Files { program, debug, .. } = finder.find_here(module);
        debug.into_iter().chain(program).find_map(|found| embedded(&found.file, path))
    };
    let local = || finder.roots.first(|root| read(open_below(root, path).ok()?));
    let from_server = || {
        let debuginfod = finder.debuginfod.as_ref()?;
        debuginfod.find(module.build_id.as_ref()?, Wanted::Source(path), |_, file| read(file))
    };
    local().or_else(embedded).or_else(from_server)
}

fn read(file: File) -> Option<String> {
    let mut bytes = Vec::new();
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= MOST_BYTES).then(|| String::from_utf8_lossy(&bytes).into_owned())
}

/// The text that the line tables of a file have for a path.
fn embedded(file: &File, wanted: &str) -> Option<String> {
    let section = |id| one_section(file, id, None);
    let lines = section(SectionId::DebugLine)?;
    // There is no text anywhere else, and no need to look.
    let (line_strings, strings) = (section(SectionId::DebugLineStr)?, section(SectionId::DebugStr).unwrap_or_default());
    let (lines, line_strings) = (DebugLine::new(&lines, Little), DebugLineStr::new(&line_strings, Little));
    let strings = DebugStr::new(&strings, Little);
    let string = |value| match value {
        gimli::AttributeValue::DebugLineStrRef(at) => line_strings.get_str(at).ok(),
        gimli::AttributeValue::DebugStrRef(at) => strings.get_str(at).ok(),
        gimli::AttributeValue::String(text) => Some(text),
        _ => None,
    };
    let mut at = 0;
    for _ in 0..MOST_UNITS {
        let program = lines.program(DebugLineOffset(at), 8, None, None).ok()?;
        let header = program.header();
        if header.version() < 5 || !header.file_has_source() {
            at = at.checked_add(header.unit_length())?.checked_add(4)?;
            continue;
        }
        for entry in header.file_names() {
            let name = string(entry.path_name())?.to_string_lossy().into_owned();
            let directory = entry.directory(header).and_then(string).map(|text| text.to_string_lossy().into_owned());
            let root = header.directory(0).and_then(string).map(|text| text.to_string_lossy().into_owned());
            let whole = [root, directory, Some(name)].into_iter().flatten().fold(String::new(), |whole, part| {
                if part.starts_with('/') || whole.is_empty() { part } else { format!("{whole}/{part}") }
            });
            if whole == wanted
                && let Some(text) = entry.source().and_then(string).filter(|text| !text.is_empty())
            {
                return Some(text.to_string_lossy().into_owned());
            }
        }
        at = at.checked_add(header.unit_length())?.checked_add(4)?;
    }
    None
}
