//! Paths of source files in fewer columns.
//!
//! Promises: a path loses what every path of its kind begins with (cargo's registry, rustc's own
//! sources), and then directories from the left where they do not fit, but never the file's name.

use super::shorten::columns;

/// A path without what paths of its kind have in common: `tokio-1.54.0/src/..` of a registry,
/// `tokio-1a2b3c4/src/..` of a checkout, `std/src/..` of Rust's own library.
pub(super) fn origin(path: &str) -> String {
    if let Some((_, rest)) = path.split_once("/registry/src/") {
        // Its first directory is named after the registry.
        if let Some((_, rest)) = rest.split_once('/') {
            return rest.into();
        }
    }
    if let Some((_, rest)) = path.split_once("/git/checkouts/") {
        let mut parts = rest.splitn(3, '/');
        if let (Some(name), Some(revision), Some(rest)) = (parts.next(), parts.next(), parts.next()) {
            let is_hash = |hash: &str| hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
            let name = name.rsplit_once('-').filter(|(_, hash)| is_hash(hash)).map_or(name, |(name, _)| name);
            return format!("{name}-{revision}/{rest}");
        }
    }
    let own = path.strip_prefix("/rustc/").and_then(|rest| rest.split_once('/')).map(|(_, rest)| rest);
    let own = own.or_else(|| path.split_once("/lib/rustlib/src/rust/").map(|(_, rest)| rest)).unwrap_or(path);
    // Where the commit has been taken away already, this is what is left.
    let own = own.strip_prefix("library/").or_else(|| own.strip_prefix("/rust/deps/")).unwrap_or(own);
    own.into()
}

/// A path within this room, without the directories that there is none for. The file's name is
/// always there.
pub(super) fn from_left(path: &str, room: usize) -> String {
    if columns(path) <= room {
        return path.into();
    }
    let mut shortest = None;
    for (slash, _) in path.match_indices('/') {
        let rest = &path[slash + 1..];
        // One `..` is enough to say that something is missing.
        if rest.is_empty() || rest.starts_with("../") {
            continue;
        }
        shortest = Some(rest);
        // A character has at most four bytes.
        if rest.len() <= 4 * room && columns(rest) + 3 <= room {
            break;
        }
    }
    match shortest {
        // To write `../` for one letter or two would be longer.
        Some(rest) if columns(rest) + 3 < columns(path) => format!("../{rest}"),
        _ => path.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lose_directories_from_the_left_and_keep_their_files() {
        let path = "./posix/../sysdeps/unix/sysv/linux/pause.c";
        assert_eq!(from_left(path, 42), path);
        assert_eq!(from_left(path, 41), "../sysdeps/unix/sysv/linux/pause.c");
        assert_eq!(from_left(path, 20), "../linux/pause.c");
        assert_eq!(from_left(path, 0), "../pause.c");
        for short in ["pause.c", "a/b.c", ""] {
            assert_eq!(from_left(short, 0), short);
        }
    }

    #[test]
    fn paths_begin_with_what_they_belong_to() {
        for (path, short) in [
            (
                "/root/.cargo/registry/src/index.example-1949cf8c6b5b557f/tokio-1.54.0/src/park.rs",
                "tokio-1.54.0/src/park.rs",
            ),
            ("/c/git/checkouts/tokio-5a7f4a3b2c1d0e9f/1a2b3c4/tokio/src/lib.rs", "tokio-1a2b3c4/tokio/src/lib.rs"),
            ("/rustc/01f6ddf7588f42ae2d7eb0a2f21d44e8e96674cf/library/std/src/rt.rs", "std/src/rt.rs"),
            ("library/std/src/rt.rs", "std/src/rt.rs"),
            ("/rust/deps/hashbrown-0.15.2/src/raw.rs", "hashbrown-0.15.2/src/raw.rs"),
            ("/home/me/registry/src", "/home/me/registry/src"),
            ("/c/git/checkouts/x", "/c/git/checkouts/x"),
        ] {
            assert_eq!(origin(path), short);
        }
    }
}
