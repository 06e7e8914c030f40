//! Names of Fortran's module procedures: gfortran's `__solver_MOD_wait_cell` and flang's
//! `_QMsolverPwait_cell` are `solver::wait_cell`.

/// The name as it is written. None for any other name.
pub(super) fn demangle(name: &str) -> Option<String> {
    let is_name = |word: &str| {
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    };
    if let Some((module, procedure)) = name.strip_prefix("__").and_then(|name| name.split_once("_MOD_")) {
        // A submodule is named after its module.
        let modules = module.replace('.', "::");
        return (modules.split("::").all(is_name) && is_name(procedure)).then(|| format!("{modules}::{procedure}"));
    }
    let rest = name.strip_prefix("_Q")?;
    let mut words = Vec::new();
    let mut left = rest;
    while let Some(kind) = left.bytes().next() {
        if !matches!(kind, b'M' | b'S' | b'F' | b'P') {
            return None;
        }
        let end = left[1..].find(|c: char| c.is_ascii_uppercase()).map_or(left.len(), |at| at + 1);
        let word = &left[1..end];
        if !is_name(word) {
            return None;
        }
        words.push(word);
        left = &left[end..];
    }
    (!words.is_empty()).then(|| words.join("::"))
}
