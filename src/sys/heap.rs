//! How the heap of a process that runs for months treats large pieces.
//!
//! glibc's malloc takes the largest piece that was ever freed for a size that is usual, and from
//! then on keeps as much as twice that for the next one (mallopt(3), M_MMAP_THRESHOLD). A sampler
//! that met one deep stack would have it for ever.

/// Pieces of this size and more are given back to the kernel as soon as they are freed.
#[cfg(target_env = "gnu")]
const LARGE: libc::c_int = 256 << 10;

/// Keeps no large pieces that were freed, from now on. Does nothing where the C library has no such
/// habit.
pub fn keep_no_large_pieces() {
    #[cfg(target_env = "gnu")]
    for setting in [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD] {
        // SAFETY: it takes two numbers, and locks what it changes. Should it refuse, the heap stays
        // as it is by default.
        unsafe { libc::mallopt(setting, LARGE) };
    }
}
