//! Names of Swift: of `$s3app6WorkerC3runyyF` the path, `app.Worker.run`
//! (docs/ABI/Mangling.rst of Swift).
//!
//! Only plain paths of modules, types and functions are read, with words that are repeated; types,
//! generics and what the compiler generates keep their encoded names.

/// Names in one path.
const DEEPEST: usize = 32;

/// The path of a function. None for any other name.
pub(super) fn demangle(name: &str) -> Option<String> {
    let mut left = ["$s", "_$s", "$S", "_$S"].iter().find_map(|prefix| name.strip_prefix(prefix))?;
    let mut words: Vec<String> = Vec::new();
    let mut path = Vec::new();
    while path.len() < DEEPEST {
        if left.starts_with(|c: char| c.is_ascii_digit()) {
            let (word, rest) = identifier(left, &mut words)?;
            path.push(word);
            left = rest;
        } else if let Some(rest) = left.strip_prefix('s') {
            path.push("Swift".into());
            left = rest;
        } else if path.len() > 1 && left.starts_with(['C', 'V', 'O', 'P']) {
            // A class, structure, enumeration or protocol ends here, and what is in it follows.
            left = &left[1..];
        } else {
            break;
        }
    }
    let is_function = left.ends_with('F') || left.ends_with("fC") || left.ends_with("fc") || left.ends_with("vg");
    (path.len() > 1 && is_function).then(|| path.join("."))
}

/// An identifier: its length and itself, or `0`, words of before, and the rest of it.
fn identifier<'a>(text: &'a str, words: &mut Vec<String>) -> Option<(String, &'a str)> {
    let mut left = text;
    let mut name = String::new();
    if let Some(rest) = left.strip_prefix('0') {
        left = rest;
        loop {
            let letter = left.bytes().next().filter(u8::is_ascii_alphabetic)?;
            name.push_str(words.get(usize::from(letter.to_ascii_lowercase() - b'a'))?);
            left = &left[1..];
            if letter.is_ascii_uppercase() {
                break;
            }
        }
        if let Some(rest) = left.strip_prefix('0') {
            return Some((name, rest));
        }
    }
    let digits = left.len() - left.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    if digits > 0 {
        let length: usize = left[..digits].parse().ok()?;
        let (word, rest) = left[digits..].split_at_checked(length)?;
        remember(word, words);
        name.push_str(word);
        left = rest;
    }
    (!name.is_empty()).then_some((name, left))
}

/// Words of an identifier that later ones may refer to: each begins with a capital or after `_`.
fn remember(identifier: &str, words: &mut Vec<String>) {
    let bytes = identifier.as_bytes();
    let mut start = None;
    for (at, byte) in bytes.iter().enumerate() {
        let begins = byte.is_ascii_uppercase() && (at == 0 || !bytes[at - 1].is_ascii_uppercase());
        if let Some(from) = start
            && (begins || *byte == b'_')
        {
            keep(&identifier[from..at], words);
            start = None;
        }
        if start.is_none() && *byte != b'_' && !byte.is_ascii_digit() {
            start = Some(at);
        }
    }
    if let Some(from) = start {
        keep(&identifier[from..], words);
    }
}

fn keep(word: &str, words: &mut Vec<String>) {
    if word.len() > 1 && words.len() < 26 {
        words.push(word.to_owned());
    }
}
