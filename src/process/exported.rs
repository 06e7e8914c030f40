//! Variables that programs export: where a process has the one of a name.
//!
//! The table of symbols of the process's own executable is read, once for each file. Promises: a
//! file that is not the one that runs is not asked; nothing else of it is read, and no library's.

use std::collections::HashMap;

use super::Source;
use crate::elf::variable;
use crate::model::{BuildId, FileAddress, RuntimeAddress};

const POINTER: u64 = 8;

/// What is known of files.
#[derive(Default)]
pub struct Exported {
    files: HashMap<(BuildId, &'static [u8]), Option<FileAddress>>,
}

impl Exported {
    /// Where the executable at this path has the pointer of this name. None if it has none, or has
    /// no build-id by which it would be known again.
    pub fn pointer(&mut self, source: &Source<'_>, executable: &str, name: &'static [u8]) -> Option<RuntimeAddress> {
        let loaded = source.modules.iter().find(|loaded| loaded.module.path == executable)?;
        let key = (loaded.module.build_id.clone()?, name);
        let found = match self.files.get(&key) {
            Some(found) => *found,
            None => {
                let found = source.with_file(loaded, move |file| variable(file, name, POINTER))?;
                *self.files.entry(key).or_insert(found)
            }
        };
        found.map(|place| loaded.module.bias.to_runtime(place))
    }
}
