//! What was found for each module, and where; what is missing, and what would supply it.

use super::sources::{FoundBy, FoundFile};
use crate::model::BuildId;

/// A file that names or lines were taken from.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct UsedFile {
    /// Where it is.
    pub place: String,
    /// How it was found.
    pub by: FoundBy,
    /// Whether it has debug information: lines, and functions that were inlined.
    pub has_debug_info: bool,
    /// Whether it has more symbols than its loader needs.
    pub has_symbols: bool,
    /// Whether neither file nor process have a build-id: another file may have its path now.
    pub is_unchecked: bool,
}

impl UsedFile {
    pub(super) fn of(found: &FoundFile) -> Self {
        Self {
            place: found.place(),
            by: found.by,
            has_debug_info: found.has_debug_info(),
            has_symbols: found.has_symbols(),
            is_unchecked: found.is_unchecked,
        }
    }
}

/// Something that was not found.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Lack {
    /// The file itself, and any debug file of it.
    File,
    /// Names of some of the places: what is here of the file is stripped.
    Names,
    /// Debug information: there are names, and neither lines nor inlined functions.
    DebugInfo,
    /// Debug information that dwz has moved to another file.
    Supplementary {
        /// Its path, as the file says that refers to it.
        path: String,
        /// Its id.
        id: BuildId,
    },
    /// Debug information that the compiler has put into other files.
    Split {
        /// Where it has put those that are not there.
        paths: Vec<String>,
    },
}

/// What is known of one module, and from where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ModuleReport {
    /// Its path in the target.
    pub path: String,
    /// Its build-id.
    pub build_id: Option<BuildId>,
    /// Whether the image itself is in the snapshot, as the vdso's is.
    pub is_kept_whole: bool,
    /// How many places on stacks are in it.
    pub places: usize,
    /// How many of these have a name for the function whose code it is.
    pub named: usize,
    /// How many of these have a line.
    pub with_lines: usize,
    /// Functions that were inlined at these places.
    pub inlined: usize,
    /// How many places have what the snapshot keeps of them.
    pub kept: usize,
    /// The files that were used, the first one first.
    pub files: Vec<UsedFile>,
    /// What was not found.
    pub lacks: Vec<Lack>,
}

impl ModuleReport {
    /// Whether debug information is here, and a part of it is not: inlined functions are left out
    /// then.
    pub fn lost_parts(&self) -> impl Iterator<Item = &Lack> {
        self.lacks.iter().filter(|lack| matches!(lack, Lack::Supplementary { .. } | Lack::Split { .. }))
    }
}
