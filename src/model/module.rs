//! A piece of code loaded into a process: the program, a shared object, the vdso.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::{Bias, BuildId, RuntimeAddress};

/// A module's place in its snapshot's list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ModuleIndex(pub u32);

/// What the kernel prints after the path of a deleted file (d_path), and for a newline (seq_path).
const DELETED: &str = " (deleted)";
const NEWLINE: &str = "\\012";

/// A loaded ELF image as the process's memory map shows it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Module {
    /// The path as the target's kernel gives it, in the target's own mount namespace, ` (deleted)`
    /// included; `[vdso]` for the vdso.
    pub path: String,
    /// Read from the image in the process's memory, so it names what runs, not what lies on disk
    /// now.
    pub build_id: Option<BuildId>,
    /// How far it was moved when it was loaded.
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

    /// The path without the kernel's ` (deleted)`, which may be the end of the file's own name.
    fn path_on_disk(&self) -> &str {
        self.path.strip_suffix(DELETED).unwrap_or(&self.path)
    }

    /// Where the file may lie, the likeliest place first: the kernel prints a newline in a path as
    /// `\012`, which may be four characters of a name, and a name may end as the kernel marks one
    /// that was deleted. A file that is there is another one unless its build-id agrees; where
    /// there is none, what may have been deleted is not looked for.
    pub fn paths_on_disk(&self) -> impl Iterator<Item = Cow<'_, str>> {
        let mut paths = vec![self.path.as_str()];
        if let Some(before) = self.path.strip_suffix(DELETED) {
            match self.build_id {
                Some(_) => paths.push(before),
                None => paths.clear(),
            }
        }
        paths.into_iter().flat_map(|path| {
            let with_newlines = path.contains(NEWLINE).then(|| Cow::from(path.replace(NEWLINE, "\n")));
            [Cow::from(path)].into_iter().chain(with_newlines)
        })
    }
}
