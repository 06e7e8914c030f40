//! The functions on a thread's stack, by names that are the same whichever way a symbol is spelled.

use crate::model::{Frame, Function, Snapshot, Thread};

/// One function on a stack; one that was inlined into another, too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Call<'a> {
    /// The function.
    pub function: &'a Function,
    /// Which of the stack's frames it is in, counted from the innermost.
    pub frame: usize,
    /// The path of the file that its code is in; empty for code in no file.
    pub module: &'a str,
}

impl<'a> Call<'a> {
    /// What it calls itself, or what the process does.
    pub fn name(&self) -> &'a str {
        self.function.name.as_deref().unwrap_or("")
    }

    /// The name without what libraries put around it: `__GI_`, underscores, the parts that
    /// compilers make of a function, a version.
    pub fn plain(&self) -> &'a str {
        let name = self.name();
        let name = name.strip_prefix("__GI_").unwrap_or(name).trim_start_matches('_');
        name.split(['.', '@']).next().unwrap_or(name)
    }

    fn file_name(&self) -> &'a str {
        self.module.trim_end_matches(" (deleted)").rsplit('/').next().unwrap_or(self.module)
    }

    /// Whether it is code of a C library, of its threads or of the loader.
    pub fn is_in_libc(&self) -> bool {
        let name = self.file_name();
        name.starts_with("libc.")
            || name.starts_with("libc-")
            || name.starts_with("libpthread")
            || name.starts_with("ld-")
            || name.starts_with("libc.musl")
            || self.module == "[vdso]"
    }

    /// Whether it is code that programs call and do not write: of a language's library, or of
    /// locks.
    pub fn is_library(&self) -> bool {
        const RUST: [&str; 8] =
            ["std::", "core::", "alloc::", "<std::", "<core::", "<alloc::", "parking_lot", "lock_api::"];
        // An interpreter's own functions are no more the program's than a library's are.
        const OTHER: [&str; 10] = [
            "std::",
            "__gthread",
            "pthread_",
            "__gnu_cxx::",
            "lll_lock",
            "Py",
            "_Py",
            "take_gil",
            "acquire_timed",
            "lock_Py",
        ];
        const SOURCES: [&str; 6] = [
            "library/std/src/",
            "library/core/src/",
            "library/alloc/src/",
            "/parking_lot",
            "/include/c++/",
            "/lock_api-",
        ];
        let name = self.name();
        let file = self.function.file.as_deref().unwrap_or("");
        self.is_in_libc()
            || self.file_name().starts_with("libstdc++")
            || RUST.iter().chain(&OTHER).any(|prefix| name.starts_with(prefix))
            || SOURCES.iter().any(|part| file.contains(part))
            || file.starts_with("./nptl/")
            || name == "syscall"
    }
}

/// The functions on one stack, innermost first.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Calls<'a>(Vec<Call<'a>>);

/// More functions than this from the innermost on are not of interest for what a thread waits for.
const INNERMOST: usize = 24;

static UNNAMED: Function = Function { name: None, file: None, line: None };

impl<'a> Calls<'a> {
    /// Those of a thread. `functions` names a frame, with those inlined there first.
    pub fn of(
        snapshot: &'a Snapshot,
        thread: &'a Thread,
        functions: impl Fn(&'a Snapshot, &'a Frame) -> &'a [Function],
    ) -> Self {
        let mut calls = Vec::new();
        for (number, frame) in thread.stack.frames.iter().enumerate() {
            let module = snapshot.module_of(frame).map_or("", |module| &module.path);
            let found = functions(snapshot, frame);
            if found.is_empty() {
                calls.push(Call { function: &UNNAMED, frame: number, module });
            }
            calls.extend(found.iter().map(|function| Call { function, frame: number, module }));
        }
        Self(calls)
    }

    /// Functions that were not read from a snapshot.
    #[cfg(test)]
    pub(super) fn made_of(calls: Vec<Call<'a>>) -> Self {
        Self(calls)
    }

    /// From the innermost on.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Call<'a>> {
        self.0.iter()
    }

    pub(super) fn innermost(&self) -> impl Iterator<Item = &Call<'a>> {
        self.0.iter().take(INNERMOST)
    }

    /// The innermost function that the program's own authors wrote, as far as that can be seen.
    /// None where all functions with names are of libraries.
    pub fn own(&self) -> Option<&Call<'a>> {
        let named = || self.0.iter().filter(|call| !call.name().is_empty());
        named().find(|call| !call.is_library())
    }

    /// Whether a function of this plain name is on the stack.
    pub fn has(&self, plain: &str) -> bool {
        self.0.iter().any(|call| call.plain() == plain)
    }

    /// Whether part of a function's name is this.
    pub fn mentions(&self, part: &str) -> bool {
        self.0.iter().any(|call| call.name().contains(part))
    }

    /// The outermost function with a name, below the ones with which every thread begins.
    pub fn root(&self) -> Option<&Call<'a>> {
        const BEGINNINGS: [&str; 8] = [
            "start_thread",
            "clone3",
            "clone",
            "libc_start_call_main",
            "libc_start_main_impl",
            "libc_start_main",
            "start",
            "main",
        ];
        let named = || self.0.iter().rev().filter(|call| !call.name().is_empty());
        named().find(|call| !call.is_library() && !BEGINNINGS.contains(&call.plain())).or_else(|| named().next())
    }
}
