//! The order of the rooms of src/: who may import whom, so that the code can be read from the top.
//!
//! `LAYERS` is the order of src/README.md. `NEVER` is what holds whatever the order: the live half
//! and the offline half meet in `model` and the file format only, and a library is known to one
//! room. And files beside each other do not import each other in a circle. `words` reads comments
//! and messages.

mod imports;
mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use imports::{Import, Module, Named, Source};

/// A room may use rooms with a lower number than its own, and itself.
const LAYERS: [(&str, u32); 19] = [
    ("model", 0),
    ("sys", 1),
    ("proc", 1),
    ("elf", 1),
    ("wire", 1),
    ("process", 2),
    ("resources", 2),
    ("capture", 2),
    ("unwind", 2),
    ("store", 2),
    ("symbols", 2),
    ("analysis", 2),
    ("variables", 3),
    ("render", 4),
    ("doctor", 4),
    ("record", 5),
    ("view", 5),
    ("daemon", 6),
    ("cli", 7),
];

/// The first never use the second, but in these files.
const NEVER: [(&[&str], &[&str], &[&str]); 3] = [
    (
        &["symbols", "variables", "analysis", "render", "view"],
        &["sys", "proc", "process", "capture", "doctor", "record"],
        &[],
    ),
    (&["process", "capture", "unwind", "doctor"], &["symbols", "variables", "analysis", "render", "view"], &[]),
    // Names in files that may be missing later are kept while they can be had: they are looked up
    // as the viewer does it.
    (
        &["record", "daemon"],
        &["symbols", "variables", "analysis", "render", "view"],
        &["record/named.rs uses symbols", "record/bundle.rs uses symbols"],
    ),
];

/// Crates that one room alone knows.
const ONLY_IN: [(&str, &str); 5] =
    [("prost", "wire"), ("toml", "daemon"), ("clap", "cli"), ("clap_complete", "cli"), ("clap_mangen", "cli")];

/// Files beside each other that do import each other, by directory.
const CIRCLES: [(&str, &[&str]); 1] = [
    // A machine is a trait whose methods give rows, and rows are generic over the machine.
    ("unwind", &["machine", "rules"]),
];

fn files(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a source directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

fn sources() -> Vec<Source> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    files(&src, &mut found);
    let source = |file: PathBuf| Source {
        path: file.strip_prefix(&src).expect("below src").to_str().expect("a file's name").into(),
        text: fs::read_to_string(&file).expect("source text"),
    };
    found.into_iter().map(source).collect()
}

fn layer(room: &str) -> u32 {
    let found = LAYERS.iter().find(|(name, _)| *name == room);
    found.unwrap_or_else(|| panic!("src/{room} is in no layer; give it one in tests/layers.rs and src/README.md")).1
}

/// The rooms that an import is from and to. None if either is the crate itself, or they are one.
fn rooms(import: &Import) -> Option<(&str, &str)> {
    let Named::Module(to) = &import.to else { return None };
    let (from, to) = (import.from.first()?, to.first()?);
    (from != to).then_some((from, to))
}

fn against_the_layers(imports: &[Import]) -> Vec<String> {
    let wrong = imports.iter().filter_map(|import| {
        let (from, to) = rooms(import)?;
        (layer(to) >= layer(from)).then(|| format!("{}: {from} uses {to}, which is not above it", import.file))
    });
    wrong.collect()
}

fn never_allowed(imports: &[Import]) -> Vec<String> {
    let mut wrong = Vec::new();
    for import in imports {
        if let Some((from, to)) = rooms(import) {
            let use_of_it = format!("{} uses {to}", import.file);
            let forbids = |(users, used, but): &(&[&str], &[&str], &[&str])| {
                users.contains(&from) && used.contains(&to) && !but.contains(&use_of_it.as_str())
            };
            if NEVER.iter().any(forbids) {
                wrong.push(use_of_it);
            }
        }
        if let Named::Other(name) = &import.to
            && ONLY_IN
                .iter()
                .any(|(library, room)| library == name && import.from.first().is_none_or(|from| from != room))
        {
            wrong.push(format!("{} uses {name}", import.file));
        }
    }
    wrong
}

/// What can be reached from a node.
fn reached<'a>(graph: &BTreeMap<&'a str, BTreeSet<&'a str>>, from: &'a str) -> BTreeSet<&'a str> {
    let (mut seen, mut left) = (BTreeSet::new(), vec![from]);
    while let Some(next) = left.pop() {
        left.extend(graph.get(next).into_iter().flatten().copied().filter(|to| seen.insert(*to)));
    }
    seen
}

/// Files and directories beside each other that import, by way of others, each other.
fn circles(imports: &[Import]) -> BTreeSet<(String, Vec<String>)> {
    let mut graphs: BTreeMap<&[String], BTreeMap<&str, BTreeSet<&str>>> = BTreeMap::new();
    for Import { from, to, .. } in imports.iter().filter(|import| !import.in_test) {
        let Named::Module(to) = to else { continue };
        let shared = from.iter().zip(to).take_while(|(one, other)| one == other).count();
        if let (Some(one), Some(other)) = (from.get(shared), to.get(shared)) {
            graphs.entry(&from[..shared]).or_default().entry(one).or_default().insert(other);
        }
    }
    let mut found = BTreeSet::new();
    for (directory, graph) in &graphs {
        let all: BTreeMap<&str, BTreeSet<&str>> = graph.keys().map(|from| (*from, reached(graph, from))).collect();
        for (one, reaches) in all.iter().filter(|(one, reaches)| reaches.contains(*one)) {
            let back = |other: &&&str| all.get(**other).is_some_and(|reaches| reaches.contains(one));
            found.insert((
                directory.join("/"),
                reaches.iter().filter(back).map(std::string::ToString::to_string).collect(),
            ));
        }
    }
    found
}

#[test]
fn every_room_imports_only_from_rooms_above_it() {
    let imports = imports::imports(&sources());
    let between_rooms = imports.iter().filter_map(rooms).count();
    assert!(between_rooms > 500, "the scan found only {between_rooms} imports: it does not see what it should");
    let wrong = against_the_layers(&imports);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_halves_meet_in_model_and_file_format_and_each_library_has_its_room() {
    let imports = imports::imports(&sources());
    let wrong = never_allowed(&imports);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // What is allowed is there still, or it would not be.
    for (library, room) in ONLY_IN {
        let is_there = |import: &Import| import.to == Named::Other(library.into()) && import.from[0] == room;
        assert!(imports.iter().any(is_there), "{room} does not use {library}");
    }
    let uses: BTreeSet<String> =
        imports.iter().filter_map(|import| Some(format!("{} uses {}", import.file, rooms(import)?.1))).collect();
    for exception in NEVER.iter().flat_map(|(_, _, but)| *but) {
        assert!(uses.contains(*exception), "no exception is needed any more: {exception}");
    }
}

#[test]
fn files_beside_each_other_import_each_other_in_no_circle() {
    let known: BTreeSet<(String, Vec<String>)> = CIRCLES
        .iter()
        .map(|(place, names)| ((*place).into(), names.iter().map(|name| (*name).into()).collect()))
        .collect();
    assert_eq!(circles(&imports::imports(&sources())), known);
}

/// The imports of one file, in a crate that has some of the modules that this one has.
fn of(path: &str, text: &str) -> Vec<Import> {
    let others =
        ["lib.rs", "model/mod.rs", "sys/ptrace.rs", "sys/mod.rs", "capture/mod.rs", "render/mod.rs", "render/width.rs"];
    let source = |path: &&str| Source { path: (*path).into(), text: String::new() };
    let mut sources: Vec<Source> = others.iter().filter(|other| **other != path).map(source).collect();
    sources.push(Source { path: path.into(), text: text.into() });
    imports::imports(&sources)
}

#[test]
fn wrong_imports_are_found_wherever_they_stand() {
    let module = |path: &str| Named::Module(path.split('/').map(Into::into).collect::<Module>());
    let nested = of("view/list.rs", "use crate::{model::Pid, render::{self, width::{Width, put}}, sys::ptrace};");
    let to: Vec<Named> = nested.iter().map(|import| import.to.clone()).collect();
    let expected = ["model", "render", "render/width", "render/width", "sys/ptrace"];
    assert_eq!(to, expected.map(module));
    assert_eq!(never_allowed(&nested), ["view/list.rs uses sys"]);
    for (path, text) in [
        ("view/list.rs", "use super::super::capture::Tracer;"),
        ("view/list.rs", "fn f() { let t = crate::capture::Tracer::new(); }"),
        ("view/mod.rs", "use super::{render::Width,\n    capture};"),
        ("view/mod.rs", "#[cfg(test)]\nmod tests {\n    use crate::capture::Tracer;\n}"),
        ("record/mod.rs", "use crate::render as drawn;"),
        ("cli/mod.rs", "use prost::{Message, bytes};"),
        ("store/mod.rs", "#[derive(clap::Parser)]\nstruct A;"),
    ] {
        assert!(!never_allowed(&of(path, text)).is_empty(), "{path}: {text}");
    }
    for (path, text) in [
        ("view/mod.rs", "// use crate::capture::Tracer;\nconst A: &str = \"crate::capture::Tracer\";"),
        ("record/mod.rs", "use crate::capture::Tracer;"),
        ("wire/mod.rs", "use prost::Message;"),
    ] {
        assert_eq!(never_allowed(&of(path, text)), [""; 0], "{path}: {text}");
    }
    assert_eq!(against_the_layers(&of("model/mod.rs", "use super::{self, sys};")).len(), 1);
    assert_eq!(against_the_layers(&of("capture/mod.rs", "use crate::{model, sys::ptrace};")), [""; 0]);
}

#[test]
fn circles_are_found_however_long_they_are() {
    let source = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
    let mut sources = vec![
        source("a/mod.rs", "mod b;\nuse b::B;"),
        source("a/b.rs", "use super::c::{self, C};"),
        source("a/c/mod.rs", "mod inner;"),
        source("a/c/inner.rs", "use super::super::d::D;"),
        source("a/d.rs", "#[cfg(test)]\nmod tests {\n    use super::super::b::B;\n}"),
    ];
    assert_eq!(circles(&imports::imports(&sources)), BTreeSet::new());
    sources[4] = source("a/d.rs", "use crate::a::b::B;");
    let found = BTreeSet::from([("a".into(), ["b", "c", "d"].map(Into::into).to_vec())]);
    assert_eq!(circles(&imports::imports(&sources)), found);
}

/// A file that is renamed leaves its old name in the code map, where nothing but a reader would
/// notice.
#[test]
fn the_code_map_has_every_room_and_names_files_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let map = fs::read_to_string(root.join("src/README.md")).expect("the code map");
    let rows: Vec<(&str, &str)> = map.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("/` |")).collect();
    for (room, _) in LAYERS {
        assert!(rows.iter().any(|(name, _)| *name == room), "src/README.md lacks {room}/");
    }
    let is_name =
        |word: &str| word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '/'));
    for (room, row) in rows {
        for word in row.split('`').skip(1).step_by(2).filter(|word| is_name(word) && *word != "unsafe") {
            let word = word.trim_end_matches('/');
            let places = [format!("src/{room}/{word}"), format!("src/{word}"), word.to_owned()];
            let is_there = |place: &String| root.join(place).exists() || root.join(format!("{place}.rs")).exists();
            assert!(places.iter().any(is_there), "src/README.md, {room}/: there is no {word}");
        }
    }
}

#[test]
fn unsafe_code_is_in_sys_only_and_argued() {
    let mut blocks = 0;
    for Source { path, text } in sources() {
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            if line.contains("unsafe {") {
                blocks += 1;
                assert!(path.starts_with("sys/"), "{path}:{}: unsafe outside sys", number + 1);
                let argued = lines[..number].iter().rev().take(4).any(|line| line.contains("// SAFETY:"));
                assert!(argued, "{path}:{}: unsafe without a SAFETY line", number + 1);
            }
        }
    }
    assert!(blocks > 0, "the scan found no unsafe block: it does not see what it should");
}
