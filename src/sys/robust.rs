//! The list of robust futexes that the kernel keeps for a thread's C library, read without stopping
//! the thread.

use crate::model::Tid;

/// Where the thread's list of robust locks begins: libc registers it for each thread, in its
/// descriptor. None where that may not be read, or nothing was registered.
pub fn robust_list_head(tid: Tid) -> Option<u64> {
    /// The kernel takes no list of another size (`struct robust_list_head`, linux/futex.h).
    const SIZE: libc::size_t = 24;
    let (mut head, mut size) = (0_u64, 0);
    // SAFETY: the kernel writes one word to each address, and both are this function's own.
    let result = unsafe { libc::syscall(libc::SYS_get_robust_list, tid.0, &raw mut head, &raw mut size) };
    (result == 0 && size == SIZE && head != 0).then_some(head)
}
