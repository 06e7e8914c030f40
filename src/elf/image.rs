//! Bytes of an image by file address: of a file through its program headers, or of a process's
//! memory through the bias.

use crate::model::FileAddress;

/// Where bytes of an image can be had.
pub trait Image {
    /// Fills the buffer from `address` on; false when not all of it is there.
    fn read(&self, address: FileAddress, buffer: &mut [u8]) -> bool;
}

/// As much is read at once. A size that was made up costs no more memory than what is there, and
/// this.
const PIECE: usize = 1 << 20;

/// This many bytes from an address on, all of them or none.
pub fn read_all(image: &impl Image, address: FileAddress, size: u64) -> Option<Vec<u8>> {
    let size = usize::try_from(size).ok()?;
    let mut bytes = Vec::new();
    while bytes.len() < size {
        let start = bytes.len();
        bytes.resize(size.min(start + PIECE), 0);
        let place = address.offset(i64::try_from(start).ok()?);
        if !image.read(place, &mut bytes[start..]) {
            return None;
        }
    }
    bytes.shrink_to_fit();
    Some(bytes)
}
