//! What a recording keeps of files, for names.

use std::sync::Arc;

use super::BuildId;

/// What a file that is kept is to its module.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum BundledRole {
    /// What was loaded, or the debug information that was split off it: an ELF file with the
    /// module's build-id.
    Module,
    /// What dwz moved out of such a file because others share it.
    Supplementary,
    /// A unit of debug information that the compiler has put into a file of its own, or a package
    /// of them.
    Split,
}

/// A file, or as much of it as names are taken from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BundledFile {
    /// Its own build-id, or that of the module without one; None for a unit of debug information.
    pub build_id: Option<BuildId>,
    /// The module's path in the target; of a unit of debug information its own.
    pub path: String,
    /// What it is.
    pub role: BundledRole,
    /// An ELF file, compressed as RFC 1950 (zlib) describes.
    pub packed: Arc<[u8]>,
    /// How many bytes it is uncompressed.
    pub size: u64,
}
