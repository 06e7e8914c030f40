//! The file that dwz has moved debug information to because several files share it
//! (`.gnu_debugaltlink`, and DWARF 5's `.debug_sup`).

use super::Finder;
use super::found::{FoundBy, FoundFile};
use super::roots::DEBUG_DIRECTORY;
use crate::model::BuildId;

/// Finds it: below `.build-id`, where the file that names it says, seen from there, and where
/// dwz's relative paths lead from the place that the file was installed at.
pub(super) fn find(finder: &Finder, naming: Option<&FoundFile>, (path, id): &(String, BuildId)) -> Option<FoundFile> {
    if let Some(found) = finder.by_id(id) {
        return Some(found);
    }
    let mut places = Vec::new();
    if path.starts_with('/') {
        places.push(path.clone());
    } else if let Some(naming) = naming {
        let beside = format!("{}/{path}", naming.directory());
        let found = FoundFile::open(&naming.root, &beside, FoundBy::Link, |links| links.has_id(id));
        if found.is_some() {
            return found;
        }
    }
    // The path is relative to the file that refers to it, which is two directories below
    // `.build-id`'s own.
    if let Some(rest) = path.strip_prefix("../../") {
        places.push(format!("{DEBUG_DIRECTORY}/{rest}"));
    }
    finder.roots.at(&places, FoundBy::Link, |links| links.has_id(id))
}
