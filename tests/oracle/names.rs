//! When two names stand for the same function.
//!
//! Names that are spelled alike are the same. Else what does not distinguish functions is left out
//! of both: the version that a symbol is exported as, the marks that compilers put on clones and
//! instances, argument lists and generic arguments. Only if that does not help, a name without its
//! scope is taken for one with it, and counted: debug information has no linkage name for functions
//! that no other file can call, and tools differ in what they make of that.

/// How two names agree.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Agreement {
    Name,
    /// One of them lacks the namespaces and types that the function lies in.
    ButForScope,
    /// Neither has one.
    Unnamed,
}

/// Whether hangsnap's name and a peer's mean one function, as far as the names say.
pub fn agree(own: &str, peer: &str) -> Option<Agreement> {
    let (own, peer) = (without_marks(own), without_marks(peer));
    if own == peer {
        return Some(Agreement::Name);
    }
    let (own, peer) = (plain(&own), plain(&peer));
    if own == peer {
        return Some(Agreement::Name);
    }
    let scoped = |long: &str, short: &str| long.strip_suffix(short).is_some_and(|scope| scope.ends_with("::"));
    (scoped(&own, &peer) || scoped(&peer, &own)).then_some(Agreement::ButForScope)
}

/// The last part of a name: what the function is called in its scope.
pub fn base(name: &str) -> String {
    let name = plain(&without_marks(name));
    // A name like `<T as Trait>::method` is left whole above.
    let end = name.rfind("::<").unwrap_or(name.len());
    name[..end].rsplit("::").next().unwrap_or(&name).to_owned()
}

/// Without what linkers and compilers add to distinguish instances: `@@GLIBC_2.34`, `.part.0`, `
/// [clone .cold]`, `::h0123456789abcdef`, `[0123456789abcdef]`.
fn without_marks(name: &str) -> String {
    let mut name = name.split(" [clone ").next().unwrap_or(name);
    if let Some((bare, _)) = name.split_once('@') {
        name = bare;
    }
    for mark in [".part.", ".constprop.", ".isra.", ".cold", ".llvm.", ".lto_priv."] {
        if let Some((bare, _)) = name.split_once(mark) {
            name = bare;
        }
    }
    let is_hash = |text: &str| text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if let Some((bare, hash)) = name.rsplit_once("::h")
        && is_hash(hash)
    {
        name = bare;
    }
    let mut pieces = name.split('[');
    let mut whole = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        match piece.split_once(']') {
            // The hash of a crate; it may be shorter, because leading zeros are not written.
            Some((hash, rest)) if !hash.is_empty() && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                whole.push_str(rest);
            }
            _ => {
                whole.push('[');
                whole.push_str(piece);
            }
        }
    }
    whole
}

/// Without argument lists, what they are arguments of, and what stands before the name: `void
/// f<int>(int) const` is `f`.
fn plain(name: &str) -> String {
    // Names of Rust's that begin like this are types; both sides have them from the same linkage
    // name.
    if name.starts_with('<') {
        return name.to_owned();
    }
    let mut kept = String::new();
    let mut rest = name;
    while let Some(next) = rest.chars().next() {
        // The symbols in an operator's name are not brackets.
        if let Some(symbols) = rest.strip_prefix("operator")
            && !kept.ends_with(|last: char| last.is_alphanumeric() || last == '_')
        {
            let symbol = ["()", "<=>", "->*", "->", "<<=", ">>=", "<<", ">>", "<=", ">=", "<", ">"]
                .into_iter()
                .find(|symbol| symbols.starts_with(symbol))
                .unwrap_or_default();
            kept.push_str("operator");
            kept.push_str(symbol);
            rest = &symbols[symbol.len()..];
            continue;
        }
        let length = match next {
            '(' if rest.starts_with("(anonymous namespace)") => {
                kept.push_str("{anonymous}");
                "(anonymous namespace)".len()
            }
            '<' | '(' => balanced(rest),
            '{' => {
                let length = balanced(rest);
                // gdb and demanglers do not write which lambda of a function it is alike.
                kept.push_str(if rest.starts_with("{lambda") { "{lambda}" } else { &rest[..length] });
                length
            }
            _ => {
                kept.push(next);
                next.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    let bare = kept.trim_end().trim_end_matches(" const").trim_end_matches("::");
    let begin = bare.find("operator").unwrap_or(bare.len());
    let begin = bare[..begin].rfind(' ').map_or(0, |space| space + 1);
    bare[begin..].to_owned()
}

/// The length of what the brackets at the beginning enclose, with them.
fn balanced(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut before = ' ';
    for (position, letter) in text.char_indices() {
        match letter {
            '<' | '(' | '{' => depth += 1,
            // The end of an arrow is no bracket.
            '>' if before == '-' => {}
            '>' | ')' | '}' => depth -= 1,
            _ => {}
        }
        before = letter;
        if depth == 0 {
            return position + letter.len_utf8();
        }
    }
    text.len()
}

#[test]
fn names_that_mean_one_function_agree_and_others_do_not() {
    let same = [
        ("pthread_cond_wait", "pthread_cond_wait@@GLIBC_2.3.2"),
        ("msort_with_tmp", "msort_with_tmp.part.0"),
        ("waits::wait_in_pause()", "waits::wait_in_pause()"),
        ("std::vector<int>::push_back(int&&)", "void std::vector<int, std::allocator<int> >::push_back(int const&)"),
        ("Foo::operator()<int>(int) const", "int Foo::operator()<int>(int)"),
        ("Foo::operator<(Foo const&)", "Foo::operator<(Foo const&) const"),
        ("Foo::operator unsigned int()", "Foo::operator unsigned int() const"),
        ("std::rt::lang_start::{{closure}}", "std::rt::lang_start::{{closure}}::h534af04dd633bf0c"),
        ("std::rt::lang_start", "std[e28293b1aa0f68bd]::rt::lang_start"),
        ("core::ops::function::FnOnce::call_once", "core::ops::function::FnOnce::call_once::<()>"),
    ];
    for (own, peer) in same {
        assert_eq!(agree(own, peer), Some(Agreement::Name), "{own} and {peer}");
    }
    assert_eq!(agree("operator()", "main::{lambda(int)#1}::operator()(int) const"), Some(Agreement::ButForScope));
    for (own, peer) in [
        ("pthread_cond_wait", "pthread_cond_timedwait"),
        ("wait", "my_wait"),
        ("Foo::operator<", "Foo::operator()"),
        ("<T as core::clone::Clone>::clone", "<U as core::clone::Clone>::clone"),
        ("f::{closure#0}", "f::{closure#1}"),
        ("a::f<int>()", "b::f<int>()"),
    ] {
        assert_eq!(agree(own, peer), None, "{own} and {peer}");
    }
}
