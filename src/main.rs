//! The program: everything is in the library.

use std::process::ExitCode;

/// In the builds that tests use, allocations between freeze and release are counted.
#[cfg(feature = "fault-points")]
#[global_allocator]
static ALLOCATOR: hangsnap::sys::counting::Counting = hangsnap::sys::counting::Counting;

fn main() -> ExitCode {
    hangsnap::cli::main()
}
