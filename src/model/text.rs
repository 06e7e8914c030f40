//! Text that the target chose and that need be no UTF-8: names of threads and programs, arguments,
//! paths.
//!
//! Promises: kept as UTF-8, from which the bytes can be had again, all of them. A byte that is not
//! UTF-8 is written `\xfc`; so is the backslash of what would read as one of these although it is
//! none. Everything else stays as it is, control characters too: to escape those is for what prints
//! it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::{fmt, str};

/// The text of these bytes.
pub fn text_of(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(at) = rest.find('\\') {
            text.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            text.push_str(if escaped(rest.as_bytes()).is_some() { "\\x5c" } else { "\\" });
        }
        text.push_str(rest);
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _ = fmt::Write::write_fmt(&mut text, format_args!("\\x{byte:02x}"));
        }
    }
    text
}

/// The same of what the system calls a string.
pub fn text_of_os(string: &OsStr) -> String {
    text_of(string.as_bytes())
}

/// The bytes that a text was made of.
pub fn bytes_of(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        bytes.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        match escaped(rest) {
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[3..];
            }
            None => bytes.push(b'\\'),
        }
    }
    bytes.extend_from_slice(rest);
    bytes
}

/// Whether a name is the one that was typed: its bytes, or the name as hangsnap prints it.
pub fn is_called(name: &str, typed: &str) -> bool {
    name == typed || name.as_bytes() == bytes_of(typed)
}

/// The byte that is meant by what follows a backslash.
fn escaped(text: &[u8]) -> Option<u8> {
    let [b'x', digits @ ..] = text.get(..3)? else {
        return None;
    };
    let is_ours = digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok().filter(|_| is_ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_utf8_is_escaped_and_comes_back() {
        let cases: [(&[u8], &str); 8] = [
            (b"", ""),
            (b"nginx: worker", "nginx: worker"),
            ("служебн".as_bytes(), "служебн"),
            (b"latin1-\xfc\xe4", "latin1-\\xfc\\xe4"),
            (b"\xd1\x81\xd1", "\u{441}\\xd1"),
            (b"a\\b\\n\\x", "a\\b\\n\\x"),
            (b"\\xfc", "\\x5cxfc"),
            (b"\\\\x41\\xFC\xff\\", "\\\\x5cx41\\xFC\\xff\\"),
        ];
        for (bytes, text) in cases {
            assert_eq!(text_of(bytes), text);
            assert_eq!(bytes_of(text), bytes, "{text}");
        }
    }

    #[test]
    fn any_bytes_come_back() {
        let alphabet = [b'\\', b'x', b'5', b'c', 0xd1, 0x81, b'\n'];
        for number in 0..alphabet.len().pow(6) {
            let digits = (0..6).map(|place| number / alphabet.len().pow(place) % alphabet.len());
            let bytes: Vec<u8> = digits.map(|digit| alphabet[digit]).collect();
            assert_eq!(bytes_of(&text_of(&bytes)), bytes, "{bytes:x?}");
        }
    }

    #[test]
    fn a_name_is_meant_by_its_bytes_and_as_it_is_printed() {
        let name = text_of(b"latin1-\xfc");
        assert!(is_called(&name, &text_of(b"latin1-\xfc")));
        assert!(is_called(&name, &text_of(b"latin1-\\xfc")));
        assert!(!is_called(&name, "latin1-ü"));
    }
}
