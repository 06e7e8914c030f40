//! The words of comments and messages: plain English, and no line of a comment too long to read
//! beside another file.
//!
//! Promises: comments and string literals are read wherever they stand, and what goes on in the
//! next line is read as one text. Names in code are not.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Source, sources};

/// Words that read like a translation, or that a plainer one says: "after" for "behind", "says" for
/// "tells".
const BANNED: [&str; 13] = [
    "behind", "tell", "tells", "told", "telling", "whoever", "nobody", "of which", "of whom", "so many", "so much",
    "anew", "by now",
];

/// The most columns of a comment line.
const MAX_COLUMNS: usize = 100;

/// The comments and strings of a file, each character with its line. A text ends at a line break
/// here, and goes on at a space.
fn said(text: &str) -> Vec<(char, usize)> {
    let characters: Vec<char> = text.chars().collect();
    let at = |place: usize| characters.get(place).copied().unwrap_or('\0');
    let (mut found, mut place, mut line) = (Vec::new(), 0, 1);
    let mut in_comment = false;
    while place < characters.len() {
        match at(place) {
            '\n' => {
                line += 1;
                place += 1;
            }
            '/' if at(place + 1) == '/' => {
                while !matches!(at(place), '\n' | '\0') {
                    if !matches!(at(place), '/' | '!') {
                        found.push((at(place), line));
                    }
                    place += 1;
                }
                found.push((' ', line));
                in_comment = true;
            }
            // A character's literal, and no lifetime.
            '\'' if at(place + 1) == '\\' => place += 3,
            '\'' if at(place + 2) == '\'' => place += 3,
            'r' if matches!(at(place + 1), '"' | '#') && !is_word(at(place.wrapping_sub(1))) => {
                let hashes = characters[place + 1..].iter().take_while(|character| **character == '#').count();
                place += 1 + hashes;
                if at(place) != '"' {
                    continue;
                }
                let end: String = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
                place += 1;
                while place < characters.len() && !characters[place..].iter().take(hashes + 1).copied().eq(end.chars())
                {
                    line += usize::from(at(place) == '\n');
                    found.push((if at(place) == '\n' { ' ' } else { at(place) }, line));
                    place += 1;
                }
                place += hashes + 1;
                found.push(('\n', line));
            }
            '"' => {
                place += 1;
                while place < characters.len() && at(place) != '"' {
                    let is_escape = at(place) == '\\';
                    line += usize::from(at(place) == '\n');
                    found.push((if matches!(at(place), '\n' | '\\') { ' ' } else { at(place) }, line));
                    place += 1;
                    if is_escape {
                        line += usize::from(at(place) == '\n');
                        place += 1;
                    }
                }
                place += 1;
                found.push(('\n', line));
            }
            character => {
                if in_comment && !character.is_whitespace() {
                    found.push(('\n', line));
                    in_comment = false;
                }
                place += 1;
            }
        }
    }
    found
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The banned words of a file, each with its line.
fn banned(text: &str) -> Vec<(usize, &'static str)> {
    let mut words: Vec<(String, usize)> = Vec::new();
    let mut ends = true;
    for (character, line) in said(text) {
        match words.last_mut().filter(|_| !ends) {
            Some((word, _)) if is_word(character) => word.extend(character.to_lowercase()),
            _ if is_word(character) => words.push((character.to_lowercase().collect(), line)),
            // Words on both sides of a point are of two sentences.
            _ if !character.is_whitespace() || character == '\n' => words.push((".".into(), line)),
            _ => {}
        }
        ends = !is_word(character);
    }
    let mut found = Vec::new();
    for banned in BANNED {
        let parts: Vec<&str> = banned.split(' ').collect();
        for window in words.windows(parts.len()) {
            if window.iter().map(|(word, _)| word.as_str()).eq(parts.iter().copied()) {
                found.push((window[0].1, banned));
            }
        }
    }
    found
}

#[test]
fn comments_and_messages_have_no_banned_words() {
    let mut wrong = Vec::new();
    for Source { path, text } in sources() {
        // It is generated from proto/.
        if path != "wire/pb.rs" {
            let line = |(line, word)| format!("src/{path}:{line}: {word}");
            wrong.extend(banned(&text).into_iter().map(line));
        }
    }
    assert!(wrong.is_empty(), "{} banned words (see tests/layers/words.rs):\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn no_comment_is_wider_than_100_columns() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<PathBuf> = Vec::new();
    for directory in ["src", "tests", "benches"] {
        super::files(&root.join(directory), &mut files);
    }
    let mut wrong = Vec::new();
    for file in files.iter().filter(|file| !file.ends_with("wire/pb.rs")) {
        let text = fs::read_to_string(file).expect("source text");
        for (number, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("//") && line.chars().count() > MAX_COLUMNS {
                wrong.push(format!("{}:{}", file.display(), number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "comments of more than {MAX_COLUMNS} columns:\n{}", wrong.join("\n"));
}

#[test]
fn banned_words_are_found_wherever_they_stand() {
    for (text, expected) in [
        ("// Nobody knows.", &[(1, "nobody")][..]),
        ("let a = 1; // so\n// many bytes", &[(1, "so many")]),
        ("/// of each, each of\n    /// which", &[(1, "of which")]),
        ("f(\"it is \\\n   told\")", &[(2, "told")]),
        ("f(r#\"a \"quoted\" word\ntells\"#)", &[(2, "tells")]),
        ("f('\"', \"anew\")", &[(1, "anew")]),
        ("f('\\'', 'a', \"anew\")", &[(1, "anew")]),
        // Names in code, parts of words, two sentences, two texts.
        ("let told = behind_stub(nobody);", &[]),
        ("// storytelling, untold", &[]),
        ("// It stands by. Now it runs.", &[]),
        ("f(\"so\", \"many\")", &[]),
        ("// so\nlet a = 1;\n// many", &[]),
    ] {
        assert_eq!(banned(text), expected, "{text}");
    }
}
