//! Names of OCaml's native code: `camlWorker__run_133` is `Worker.run`.

/// The name as it is written. None for any other name, those of OCaml's runtime among them.
pub(super) fn demangle(name: &str) -> Option<String> {
    let name = name.strip_prefix("caml")?;
    if !name.starts_with(|c: char| c.is_ascii_uppercase()) {
        return None;
    }
    // What distinguishes several of one name.
    let stem = match name.rsplit_once('_') {
        Some((stem, stamp)) if !stamp.is_empty() && stamp.bytes().all(|byte| byte.is_ascii_digit()) => stem,
        _ => name,
    };
    // From OCaml 5 on there is a dot between module and function.
    let dotted = stem.replace("__", ".");
    let words: Option<Vec<String>> = dotted.split('.').map(unescaped).collect();
    let words = words.filter(|words| words.len() > 1 && words.iter().all(|word| !word.is_empty()))?;
    Some(words.join("."))
}

/// Operators are written by the codes of their characters: `$2b` is `+`.
fn unescaped(word: &str) -> Option<String> {
    let mut plain = String::new();
    let mut parts = word.split('$');
    plain.push_str(parts.next()?);
    for part in parts {
        let code = u8::from_str_radix(part.get(..2)?, 16).ok()?;
        plain.push(char::from(code));
        plain.push_str(part.get(2..)?);
    }
    Some(plain)
}
