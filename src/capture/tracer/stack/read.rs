//! Reading a stack's memory piece by piece, for as long as there is time. Allocates nothing: the
//! thread may be held.

use nix::errno::Errno;

use super::extent::Extent;
use crate::sys::memory::ProcessMemory;

/// A longer stack is copied piece by piece, for as long as there is time.
pub(super) const PIECE: usize = 1 << 20;

/// Reads what is in use, as much of it as there is time for; `used` is shortened to that.
pub(super) fn read(
    memory: &ProcessMemory,
    used: &mut Extent,
    buffer: &mut [u8],
    in_time: &impl Fn() -> bool,
) -> Result<usize, Errno> {
    let mut copied = 0;
    while copied < used.length {
        if copied > 0 && !in_time() {
            used.shorten(copied);
            break;
        }
        let piece = PIECE.min(used.length - copied);
        let here = used.start.offset(copied.cast_signed() as i64);
        match memory.read(here, &mut buffer[copied..copied + piece]) {
            Ok(length) => {
                copied += length;
                // There is no more, or none at all: the process has executed another program.
                if length < piece {
                    break;
                }
            }
            Err(errno) if copied == 0 => return Err(errno),
            Err(_) => break,
        }
    }
    Ok(copied)
}
