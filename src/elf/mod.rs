//! ELF images, in files and in the memory of a process: headers, build-ids, the sections an
//! unwinder needs, Go's table of functions, and how to open a file that a target named.
//!
//! Promises: all input is hostile. Sizes are bounded before anything is allocated, nothing panics,
//! and a path is opened only below a given root and as a regular file. Files are read with pread
//! and never mapped: a file that someone else cuts short must not be able to kill hangsnap. It
//! loads no DWARF debug information, and symbols only of the objects that JIT compilers register
//! (`registered`), of images that no file holds (`exported`), and the one that a user names
//! (`symbol`); for all else `symbols` does.

mod augmentation;
mod cfi;
mod debugdata;
mod demangle;
mod exported;
mod file_image;
mod go;
mod headers;
mod image;
mod links;
mod open;
mod pclntab;
mod positioned;
mod reduced;
mod registered;
mod sections;
mod symbol;

pub use cfi::{CfiSections, Section};
pub use debugdata::debugdata;
pub use demangle::{demangle, demangle_ada};
pub use exported::{ExportedSymbol, exported};
pub use file_image::FileImage;
pub use go::pclntab;
pub use headers::Headers;
pub use image::{Image, read_all};
pub use links::Links;
pub use open::{open_below, open_regular};
pub use pclntab::{Depth, GoFunction, Pclntab};
pub use positioned::PositionedFile;
pub use reduced::{Wanted, reduced};
pub use registered::{RegisteredObject, variable};
pub use sections::{Sections, has_plausible_symbols};
pub use symbol::find_symbol;

use object::{CompressedFileRange, CompressionFormat};

/// Why an image could not be used.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each says what it is")]
pub enum Error {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("not a regular file with anything in it")]
    NotRegular,
    #[error("larger than a program can be, or nearly all of it a hole")]
    TooLarge,
    #[error("not a 64-bit little-endian ELF image")]
    NotElf,
    #[error("{0} is malformed")]
    Malformed(&'static str),
}

/// Whether a section that claims to be this large when it is decompressed may be believed.
/// Compilers' output shrinks to a tenth; deflate could make a thousandth of zeroes, and a small
/// file so fill the memory.
pub fn is_plausible(place: &CompressedFileRange) -> bool {
    const MAX_RATIO: u64 = 64;
    const SMALL: u64 = 1 << 20;
    place.format == CompressionFormat::None
        || place.uncompressed_size <= place.compressed_size.saturating_mul(MAX_RATIO).max(SMALL)
}
