//! What each source file imports: whole `use` trees, and paths inside the code.
//!
//! Promises: `crate`, `self`, `super` and names of child modules are resolved to modules of the
//! crate, however deep a tree is nested; comments and strings are not read. Names that macros put
//! together are not seen.

use std::collections::BTreeSet;

/// A module's path below the crate, `capture`, `tracer`, `plan`.
pub(super) type Module = Vec<String>;

/// A file below src/, with its text.
pub(super) struct Source {
    pub(super) path: String,
    pub(super) text: String,
}

/// One module or crate that is named in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Import {
    pub(super) file: String,
    pub(super) from: Module,
    pub(super) to: Named,
    /// Whether it is in a test.
    pub(super) in_test: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Named {
    /// A module of this crate; the crate itself is empty.
    Module(Module),
    /// The first word of a path into another crate.
    Other(String),
}

/// All imports of these files.
pub(super) fn imports(sources: &[Source]) -> Vec<Import> {
    let modules: BTreeSet<Module> = sources.iter().map(|source| module(&source.path)).collect();
    let mut found = Vec::new();
    for Source { path, text } in sources {
        let from = module(path);
        let code = code(text);
        // Tests inside a file come last in it.
        let (code, tests) = code.split_once("#[cfg(test)]\nmod tests {").unwrap_or((&code, ""));
        let inner: Module = from.iter().cloned().chain(["tests".into()]).collect();
        for (code, from, in_test) in [(code, &from, path.ends_with("tests.rs")), (tests, &inner, true)] {
            let named = paths(code).into_iter().filter_map(|path| resolve(&path, from, &modules));
            let import = |to| Import { file: path.clone(), from: from.clone(), to, in_test };
            found.extend(named.map(import));
        }
    }
    found
}

fn module(path: &str) -> Module {
    let path = path.strip_suffix(".rs").expect("a source file");
    let path = path.strip_suffix("/mod").unwrap_or(path);
    path.split('/').filter(|part| !matches!(*part, "lib" | "main")).map(Into::into).collect()
}

/// The text without comments, and with strings emptied.
fn code(text: &str) -> String {
    let mut code = String::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
        let (mut in_string, mut previous) = (false, ' ');
        for character in line.chars() {
            match (in_string, character) {
                (false, '/') if previous == '/' => break,
                (_, '"') if previous != '\\' => in_string = !in_string,
                (false, _) => code.push(character),
                (true, _) => {}
            }
            previous = if previous == '\\' { ' ' } else { character };
        }
        code.push('\n');
    }
    code
}

/// Every path that a `use` names, and every other one that begins at `crate` or `super`, or that
/// has two parts at least.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut rest = code;
    let mut before = ' ';
    while let Some(character) = rest.chars().next() {
        let begins_word = is_word(character) && !is_word(before) && before != ':';
        if begins_word && rest.starts_with("use") && rest[3..].starts_with(char::is_whitespace) {
            let (tree, after) = rest[3..].split_once(';').unwrap_or((&rest[3..], ""));
            expand(tree, &[], &mut found);
            rest = after;
            before = ';';
        } else if begins_word {
            let end = rest.find(|c: char| !is_word(c) && c != ':').unwrap_or(rest.len());
            let path: Vec<String> = rest[..end].split("::").map(Into::into).collect();
            if path.len() > 1 && path.iter().all(|part| part.chars().all(is_word)) {
                found.push(path);
            }
            before = rest[..end].chars().next_back().unwrap_or(' ');
            rest = &rest[end..];
        } else {
            before = character;
            rest = &rest[character.len_utf8()..];
        }
    }
    found
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The paths of a `use` tree: `a::{b, c::{self, d}}` names a::b, a::c and a::c::d.
fn expand(tree: &str, before: &[String], found: &mut Vec<Vec<String>>) {
    let (path, branches) = tree.split_once('{').map_or((tree, None), |(path, rest)| (path, Some(rest)));
    let path = path.split(" as ").next().unwrap_or(path);
    let parts = path.split("::").map(str::trim).filter(|part| !part.is_empty() && *part != "*");
    let mut whole: Vec<String> = before.iter().cloned().chain(parts.map(Into::into)).collect();
    let Some(branches) = branches else {
        if whole.len() > 1 && whole.last().is_some_and(|last| last == "self") {
            whole.pop();
        }
        return found.push(whole);
    };
    let (mut depth, mut begin) = (0, 0);
    for (at, character) in branches.char_indices() {
        match character {
            '{' => depth += 1,
            ',' | '}' if depth == 0 => {
                if !branches[begin..at].trim().is_empty() {
                    expand(&branches[begin..at], &whole, found);
                }
                begin = at + 1;
            }
            '}' => depth -= 1,
            _ => {}
        }
    }
}

/// The module that a path leads to. None where it begins with a name of the file's own, or of what
/// it has imported.
fn resolve(path: &[String], from: &Module, modules: &BTreeSet<Module>) -> Option<Named> {
    let supers = path.iter().take_while(|part| *part == "super").count();
    let (mut to, rest) = match path.first()?.as_str() {
        "crate" => (Module::new(), &path[1..]),
        "self" => (from.clone(), &path[1..]),
        "super" => (from[..from.len().checked_sub(supers)?].to_vec(), &path[supers..]),
        first => {
            let child: Module = from.iter().cloned().chain([first.into()]).collect();
            match modules.contains(&child) {
                true => (from.clone(), path),
                // Types and enums begin with capitals; whatever else is no crate is in no table.
                false => return Some(Named::Other(first.into())),
            }
        }
    };
    for part in rest {
        to.push(part.clone());
        if !modules.contains(&to) {
            to.pop();
            break;
        }
    }
    Some(Named::Module(to))
}
