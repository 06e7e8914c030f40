//! Each room imports only from rooms above it, so that the code can be read from the top.
//!
//! The order is that of src/README.md: a room may use rooms with a lower number than its own, and itself; `sys`, `proc`, `elf` and
//! `wire` (and likewise the rooms of each other number) do not use each other, but where it is said below.

use std::fs;
use std::path::{Path, PathBuf};

const LAYERS: [(&str, u32); 16] = [
    ("model", 0),
    ("sys", 1),
    ("proc", 1),
    ("elf", 1),
    ("wire", 1),
    ("process", 2),
    ("capture", 2),
    ("unwind", 2),
    ("store", 2),
    ("symbols", 2),
    ("analysis", 2),
    ("render", 3),
    ("doctor", 3),
    ("record", 4),
    ("view", 4),
    ("cli", 5),
];

fn sources(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a source directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

fn layer(room: &str) -> u32 {
    let found = LAYERS.iter().find(|(name, _)| *name == room);
    found.unwrap_or_else(|| panic!("src/{room} is in no layer; give it one in tests/layers.rs and src/README.md")).1
}

#[test]
fn every_room_imports_only_from_rooms_above_it() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let (mut wrong, mut imports) = (Vec::new(), 0);
    for file in &files {
        let relative = file.strip_prefix(&src).expect("below src");
        let Some(room) = relative.parent().and_then(|parent| parent.components().next()) else {
            continue;
        };
        let room = room.as_os_str().to_str().expect("a room's name");
        let text = fs::read_to_string(file).expect("source text");
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//")) {
            let starts = line.match_indices("crate::").map(|(at, _)| line.split_at(at));
            // `mycrate::` is another word.
            for (_, path) in starts.filter(|(before, _)| !before.ends_with(|c: char| c.is_alphanumeric() || c == '_')) {
                let path = path.trim_start_matches("crate::");
                let named = path.trim_start_matches('{');
                let other: String = named.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                imports += 1;
                if other != room && layer(&other) >= layer(room) {
                    wrong.push(format!("{}:{}: {room} uses {other}", relative.display(), number + 1));
                }
            }
        }
    }
    assert!(imports > 50, "the scan found only {imports} imports: it does not see what it should");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_is_in_sys_only_and_argued() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut blocks = 0;
    for file in files {
        let text = fs::read_to_string(&file).expect("source text");
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            if line.contains("unsafe {") {
                blocks += 1;
                assert!(file.starts_with(src.join("sys")), "{}:{}: unsafe outside sys", file.display(), number + 1);
                let argued = lines[..number].iter().rev().take(4).any(|line| line.contains("// SAFETY:"));
                assert!(argued, "{}:{}: unsafe without a SAFETY line", file.display(), number + 1);
            }
        }
    }
    assert!(blocks > 0, "the scan found no unsafe block: it does not see what it should");
}
