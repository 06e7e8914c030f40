//! A piece of code loaded into a process: the program, a shared object, the vdso.

use std::ops::Range;
use std::sync::Arc;

use super::{Bias, BuildId, RuntimeAddress};

/// A module's place in its snapshot's list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ModuleIndex(pub u32);

/// A loaded ELF image as the process's memory map shows it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Module {
    /// The path as the target's kernel tells it, in the target's own mount namespace, ` (deleted)` included; `[vdso]` for the vdso.
    pub path: String,
    /// Read from the image in the process's memory, so it names what runs, not what lies on disk now.
    pub build_id: Option<BuildId>,
    pub bias: Bias,
    /// From the module's first mapped byte to its last.
    pub range: Range<RuntimeAddress>,
    /// The image itself, where no file anywhere holds it: the vdso's.
    pub image: Option<Arc<[u8]>>,
}

impl Module {
    /// The last component of the path, without the kernel's ` (deleted)`.
    pub fn name(&self) -> &str {
        let path = self.path_on_disk();
        path.rsplit('/').next().unwrap_or(path)
    }

    /// The path without the kernel's ` (deleted)`. A file that is there now is another one unless its build-id agrees.
    pub fn path_on_disk(&self) -> &str {
        self.path.strip_suffix(" (deleted)").unwrap_or(&self.path)
    }
}
