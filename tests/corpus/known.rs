//! What hangsnap is known to be wrong in. Such a row stays in the table, and fails nobody but itself; a case that is not
//! listed here must be right.

const SWITCH: &str = "what lies on the goroutine's stack, below the switch to C's, is not copied";
const MUSL: &str =
    "no call frame information in libc: callers are guessed, and its threads begin in code without a name";
/// The chain is what the program wrote down when it threw; the landing pad has unwound the function that did.
const LANDED: &str = "clang calls terminate when the function that threw is gone";

/// Cases by their names, and why hangsnap is wrong in them.
const KNOWN: [(&str, &str); 18] = [
    ("Go with cgo, cgo", SWITCH),
    ("Go with cgo, callback", SWITCH),
    ("Go with cgo, stripped, cgo", SWITCH),
    ("Go with cgo, stripped, callback", SWITCH),
    ("musl", MUSL),
    ("musl, -O0", MUSL),
    ("signal plain, musl-gcc -O0 -static", MUSL),
    ("signal information, musl-gcc -O0 -static", MUSL),
    ("signal alternate, musl-gcc -O0 -static", MUSL),
    ("signal nested, musl-gcc -O0 -static", MUSL),
    ("signal nested-alternate, musl-gcc -O0 -static", MUSL),
    ("signal fault, musl-gcc -O0 -static", MUSL),
    ("signal fault-alternate, musl-gcc -O0 -static", MUSL),
    ("signal null-call, musl-gcc -O0 -static", MUSL),
    ("signal null-call-alternate, musl-gcc -O0 -static", MUSL),
    ("signal unmapped-call-alternate, musl-gcc -O0 -static", MUSL),
    ("signal overflow, musl-gcc -O0 -static", MUSL),
    ("terminate, clang++ -O2", LANDED),
];

/// Why this case may be wrong.
pub fn reason(case: &str) -> Option<&'static str> {
    KNOWN.iter().find(|(known, _)| *known == case).map(|(_, why)| *why)
}
