//! What hangsnap is known to be wrong in. Such a row stays in the table, and fails nobody but itself; a case that is not
//! listed here must be right.

/// The beginning of a case's name, and why hangsnap is wrong in it.
const KNOWN: [(&str, &str); 4] = [
    ("Go with cgo", "what lies on the goroutine's stack, below the switch to C's, is not copied"),
    // Right as far as addresses go: a thread begins in code of ld-musl for which there is no symbol.
    (
        "musl",
        "no call frame information in libc: frame pointers are guessed, and its threads begin in code without a name",
    ),
    ("signal", "the same in the functions that raise the signal"),
    // The chain is what the program wrote down when it threw; the landing pad has unwound the function that did.
    ("terminate, clang++ -O2", "clang calls terminate when the function that threw is gone"),
];

/// Why this case may be wrong.
pub fn reason(case: &str) -> Option<&'static str> {
    let is_musl = case.contains("musl");
    let found = KNOWN.iter().find(|(beginning, _)| case.starts_with(beginning));
    // Handlers are known to be wrong with musl only.
    found.filter(|(beginning, _)| *beginning != "signal" || is_musl).map(|(_, why)| *why)
}
