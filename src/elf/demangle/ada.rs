//! Names of Ada as GNAT encodes them: `ada_app__int_depot__wait.1` is `ada_app.int_depot.wait`
//! (exp_dbug.ads of GNAT says how).
//!
//! Nothing in such a name says that it is one: it must be known of the unit or of the file.

/// Operators, as they are encoded after the last `__`.
const OPERATORS: [(&str, &str); 19] = [
    ("Oabs", "abs"),
    ("Oand", "and"),
    ("Omod", "mod"),
    ("Onot", "not"),
    ("Oor", "or"),
    ("Orem", "rem"),
    ("Oxor", "xor"),
    ("Oeq", "="),
    ("One", "/="),
    ("Olt", "<"),
    ("Ole", "<="),
    ("Ogt", ">"),
    ("Oge", ">="),
    ("Oadd", "+"),
    ("Osubtract", "-"),
    ("Oconcat", "&"),
    ("Omultiply", "*"),
    ("Odivide", "/"),
    ("Oexpon", "**"),
];

/// The name as it is written. None if it cannot be one of Ada's.
pub(super) fn demangle(name: &str) -> Option<String> {
    let name = name.strip_prefix("_ada_").unwrap_or(name);
    let (name, _) = name.split_once("___").unwrap_or((name, ""));
    // Of local ones the number, and of several of one name which it is.
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let name = name.trim_end_matches(['.', '$']).trim_end_matches("__");
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        return None;
    }
    let mut words = Vec::new();
    for word in name.split("__") {
        if let Some((_, operator)) = OPERATORS.iter().find(|(encoded, _)| *encoded == word) {
            words.push(format!("\"{operator}\""));
            continue;
        }
        // Bodies of tasks, protected operations with and without the lock, and what is in a body.
        let word = word.strip_suffix("TKB").or_else(|| word.strip_suffix("TK")).unwrap_or(word);
        let word = match word.find('X') {
            Some(at) if word[at + 1..].bytes().all(|byte| matches!(byte, b'b' | b'n')) => &word[..at],
            _ => word.trim_end_matches(['P', 'N', 'B'].as_slice()),
        };
        let plain = if word.is_empty() { return None } else { word };
        if !plain.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_') {
            return None;
        }
        words.push(plain.to_owned());
    }
    Some(words.join("."))
}
