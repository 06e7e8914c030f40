//! Which functions are of a language's runtime: how threads begin, how closures are called, how a
//! future is polled. They stand on every stack and say nothing of the program.
//!
//! Promises: goes by names and by the source files of Rust's library. What blocks (sleeps, locks,
//! channels) is never one of them, for it says what a thread does.

use crate::model::Function;

/// How threads and programs begin, in C libraries, C++ and Go.
const ENTRIES: [&str; 16] = [
    "start_thread",
    "clone3",
    "__clone3",
    "clone",
    "__clone",
    "_start",
    "__libc_start_call_main",
    "__libc_start_main_impl",
    "__libc_start_main",
    "libc_start_main_stage2",
    "execute_native_thread_routine",
    "start",
    "runtime.goexit",
    "runtime.goexit.abi0",
    "runtime.main",
    "rust_try",
];

/// Source files of Rust's library that hold nothing else.
const SOURCES: [&str; 10] = [
    "library/std/src/rt.rs",
    "library/std/src/panicking.rs",
    "library/std/src/panic.rs",
    "library/std/src/sys/backtrace.rs",
    "library/std/src/thread/lifecycle.rs",
    "library/std/src/thread/mod.rs",
    "library/core/src/ops/function.rs",
    "library/core/src/panic/unwind_safe.rs",
    "library/core/src/future/",
    "library/alloc/src/boxed.rs",
];

const NAMES: [&str; 17] = [
    "std::rt::",
    "std::panicking::",
    "std::panic::",
    "std::sys::backtrace::",
    "core::ops::function::",
    "core::panic::",
    "<alloc::boxed::Box<",
    "<core::pin::Pin<",
    "<core::panic::",
    "std::thread::_",
    "std::__invoke",
    "std::invoke",
    "void std::__invoke",
    "std::_Function_handler",
    "std::function<",
    "tokio::runtime::task::",
    "__rust_try",
];

/// Whether a function is of a runtime. `after` says whether the one that it called is.
pub(super) fn is_runtime(function: &Function, after: bool) -> bool {
    let name = function.name.as_deref().unwrap_or("");
    let file = function.file.as_deref().unwrap_or("");
    let plain = name.split('@').next().unwrap_or(name);
    let is_thread_start = name.contains("thread_start") && (name.contains("std::sys") || file.contains("library/std"));
    // Rust's library calls the `main` that a program has from `main`.
    let is_shim = name == "main" && function.file.is_none() && after;
    ENTRIES.contains(&plain)
        || is_thread_start
        || is_shim
        || SOURCES.iter().any(|part| file.contains(part)) && !name.contains("sleep") && !name.contains("park")
        || NAMES.iter().any(|prefix| name.starts_with(prefix)) && !name.contains("sleep")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &str, file: Option<&str>) -> Function {
        Function { name: Some(name.into()), file: file.map(str::to_owned), line: None }
    }

    #[test]
    fn what_blocks_is_not_folded() {
        for name in ["std::thread::functions::sleep", "std::sync::mpsc::Receiver::recv", "pthread_mutex_lock"] {
            assert!(!is_runtime(&function(name, None), true), "{name}");
        }
        let sleep = function("std::thread::sleep", Some("/rustc/1/library/std/src/thread/mod.rs"));
        assert!(!is_runtime(&sleep, false));
    }

    #[test]
    fn a_main_of_the_program_s_own_is_not_folded() {
        assert!(!is_runtime(&function("main", Some("main.c")), true));
        assert!(!is_runtime(&function("main", None), false));
        assert!(is_runtime(&function("main", None), true));
    }
}
