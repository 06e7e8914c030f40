//! What is said while a file comes from a debuginfod server: on a terminal, or anywhere if
//! `DEBUGINFOD_PROGRESS` is set, as elfutils has it.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::render::bytes;

/// The second in which something was said last.
static LAST: AtomicU64 = AtomicU64::new(0);

/// Says once a second how far it is.
pub(super) fn progress(what: &str, so_far: u64, of: Option<u64>) {
    let wanted = io::stderr().is_terminal() || std::env::var_os("DEBUGINFOD_PROGRESS").is_some();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if !wanted || LAST.swap(now, Ordering::Relaxed) == now {
        return;
    }
    let of = of.map_or(String::new(), |of| format!(" of {}", bytes(of)));
    // A terminal that has gone needs no progress.
    let _ = writeln!(io::stderr(), "hangsnap: downloading {what}: {}{of}", bytes(so_far));
}
