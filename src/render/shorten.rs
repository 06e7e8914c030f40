//! Functions' names in fewer columns.
//!
//! Promises: what fits is not changed. A name loses what is between its angle brackets, the
//! innermost first; then its parameters; then namespaces, but for the first, which is the crate. If
//! all that is not enough, the name is cut, for its beginning says most. What is left out is `..`.
//!
//! It does not understand names: where brackets do not match, they are letters. Characters that
//! combine with others count as a column each.

/// What stands for what was left out.
const LEFT_OUT: &str = "..";
/// Of a name there is at least this much, where what follows it can go elsewhere.
pub(super) const LEAST_NAME: usize = 24;
/// Levels of brackets that are left out one by one; those further in are left out together.
const LEVELS: usize = 4;
/// Names that are longer even without what is in their brackets are cut at once: a hostile file can
/// hold what takes long to read.
const LONGEST: usize = 2048;

/// The columns that a text takes. A character of East Asian scripts or a picture takes two.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(column).sum()
}

pub(super) fn column(c: char) -> usize {
    match u32::from(c) {
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// As much of the beginning as there is room for.
fn beginning(text: &str, room: usize) -> &str {
    let mut taken = 0;
    let end = text.char_indices().find(|(_, c)| {
        taken += column(*c);
        taken > room
    });
    end.map_or(text, |(end, _)| &text[..end])
}

/// A name with `..` for its generic arguments.
pub(super) fn without_arguments(name: &str) -> String {
    without(name, |pair| pair.kind == Kind::Generic)
}

/// What brackets stand for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// Arguments of what is generic.
    Generic,
    Parameters,
    Other,
}

/// A pair of brackets: where they are, and how many pairs of its kind it is in, and of any.
#[derive(Clone, Copy, Debug)]
struct Pair {
    open: usize,
    close: usize,
    kind: Kind,
    alike: usize,
    depth: usize,
}

/// The pairs of brackets of a C++ or Rust name, in the order in which they close; none if they do
/// not match.
fn pairs(name: &str) -> Vec<Pair> {
    let bytes = name.as_bytes();
    let (mut found, mut open, mut generic): (Vec<Pair>, Vec<(usize, u8, Kind)>, usize) = (Vec::new(), Vec::new(), 0);
    let mut at = 0;
    while at < bytes.len() {
        let before = &name.as_bytes()[..at];
        let last = before.last().copied().unwrap_or(b' ');
        let follows_name =
            last.is_ascii_alphanumeric() || matches!(last, b'_' | b'>' | b')' | b']' | b'}') || !last.is_ascii();
        match bytes[at] {
            b'<' | b'>' | b'-' if before.ends_with(b"operator") => {
                // `operator<=>`, and the like, is a name; what follows `operator->` is none of it.
                let most = if bytes[at] == b'-' { 1 } else { 2 };
                let more = bytes[at + 1..].iter().take(most);
                at += more.take_while(|next| matches!(next, b'<' | b'>' | b'=')).count();
            }
            b'<' => {
                // What is in Rust's `<T as Trait>` and gcc's `<lambda()>` is the name itself.
                let rest = &bytes[at..];
                let is_name =
                    rest.starts_with(b"<impl ") || rest.starts_with(b"<lambda") || rest.starts_with(b"<unnamed");
                let kind = if !is_name && (follows_name || last == b':') { Kind::Generic } else { Kind::Other };
                generic += usize::from(kind == Kind::Generic);
                open.push((at, b'>', kind));
            }
            b'(' => open.push((at, b')', if follows_name { Kind::Parameters } else { Kind::Other })),
            b'[' => open.push((at, b']', Kind::Other)),
            b'{' => open.push((at, b'}', Kind::Other)),
            // The arrow before what a function returns.
            b'>' if last == b'-' => {}
            byte @ (b'>' | b')' | b']' | b'}') => {
                let Some((start, _, kind)) = open.pop_if(|(_, close, _)| *close == byte) else { return Vec::new() };
                found.push(Pair { open: start, close: at, kind, alike: generic, depth: open.len() });
                generic -= usize::from(kind == Kind::Generic);
            }
            _ => {}
        }
        at += 1;
    }
    if open.is_empty() { found } else { Vec::new() }
}

/// A name with `..` in these brackets, but where that is no shorter.
fn without(name: &str, is_left_out: impl Fn(&Pair) -> bool) -> String {
    let mut chosen: Vec<Pair> = pairs(name);
    chosen.retain(|pair| pair.close - pair.open > LEFT_OUT.len() + 1 && is_left_out(pair));
    chosen.sort_by_key(|pair| pair.open);
    let (mut text, mut from) = (String::with_capacity(name.len()), 0);
    for pair in chosen {
        if pair.open >= from {
            text.push_str(&name[from..=pair.open]);
            text.push_str(LEFT_OUT);
            from = pair.close;
        }
    }
    text.push_str(&name[from..]);
    text
}

/// A function's name within this room.
pub(super) fn shorter(name: &str, room: usize) -> String {
    let fits = |name: &str| columns(name) <= room;
    if fits(name) {
        return name.into();
    }
    let mut short = String::new();
    for level in (1..=LEVELS).rev() {
        short = without(name, |pair| pair.kind == Kind::Generic && pair.alike >= level);
        if fits(&short) {
            return short;
        }
    }
    short = without(&short, |pair| pair.kind == Kind::Parameters && pair.depth == 0);
    if !fits(&short) && short.len() <= LONGEST {
        short = namespaces(&short, room);
    }
    if fits(&short) { short } else { cut(&short, room) }
}

/// The type that a Rust name begins with, `<T as Trait>::method`: the brackets around it.
fn leading(name: &str) -> Option<Pair> {
    pairs(name).into_iter().find(|pair| pair.open == 0 && name.starts_with('<'))
}

/// A name without the inner namespaces that there is no room for, and without the trait, if it
/// names one.
fn namespaces(name: &str, room: usize) -> String {
    if columns(name) <= room {
        return name.into();
    }
    if let Some(pair) = leading(name) {
        let (inner, method) = (&name[1..pair.close], &name[pair.close..]);
        let (implementor, of_trait) = match top_level(inner, " as ").first() {
            Some(at) => (&inner[..*at], " as .."),
            None => (inner, ""),
        };
        // Of `dyn Trait + Send` the first says what it is.
        let (implementor, of_trait) = match top_level(implementor, " + ").first() {
            Some(at) => (&implementor[..*at], format!(" + ..{of_trait}")),
            None => (implementor, of_trait.into()),
        };
        let room = room.saturating_sub(1 + columns(&of_trait) + columns(method));
        return format!("<{}{of_trait}{method}", namespaces(implementor, room));
    }
    let starts: Vec<usize> = top_level(name, "::").into_iter().map(|at| at + 2).collect();
    // Closures, and what is called in them, belong to the function before them.
    let is_function = |start: &&usize| !name[**start..].starts_with(['{', '<']);
    let Some(function) = starts.iter().rev().find(is_function) else { return name.into() };
    let mut text = name.into();
    for start in starts.iter().rev().filter(|start| *start < function) {
        text = format!("{}..::{}", &name[..*start], &name[*function..]);
        if columns(&text) <= room {
            break;
        }
    }
    text
}

/// Where a text is in a name, but for within brackets.
fn top_level(name: &str, text: &str) -> Vec<usize> {
    let outer: Vec<Pair> = pairs(name).into_iter().filter(|pair| pair.depth == 0).collect();
    let is_within = |at: usize| {
        let next = outer.partition_point(|pair| pair.close < at);
        outer.get(next).is_some_and(|pair| pair.open < at)
    };
    name.match_indices(text).map(|(at, _)| at).filter(|at| !is_within(*at)).collect()
}

/// The beginning of a name; where it begins with a type, the type's beginning and the method.
pub(super) fn cut(name: &str, room: usize) -> String {
    let method = leading(name).map_or("", |pair| &name[pair.close..]);
    let method = if columns(method) + LEAST_NAME / 2 <= room { method } else { "" };
    let rest = &name[..name.len() - method.len()];
    format!("{}{LEFT_OUT}{method}", beginning(rest, room.saturating_sub(LEFT_OUT.len() + columns(method))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_their_generic_arguments_from_the_inside() {
        let name = "a::B<c::D<e::F<u8, u16>>, usize>::f";
        assert_eq!(shorter(name, 35), name);
        assert_eq!(shorter(name, 34), "a::B<c::D<e::F<..>>, usize>::f");
        assert_eq!(shorter(name, 25), "a::B<c::D<..>, usize>::f");
        assert_eq!(shorter(name, 20), "a::B<..>::f");
    }

    #[test]
    fn brackets_that_are_no_arguments_stay() {
        for (name, room, short) in [
            ("<alloc::vec::Vec<u64> as core::clone::Clone>::clone", 44, "<alloc::vec::Vec<..> as ..>::clone"),
            ("alloc::slice::<impl [T]>::sort_by::<i64, usize>", 40, "alloc::slice::<impl [T]>::sort_by::<..>"),
            ("std::operator<< <char>(std::ostream&, char)", 38, "std::operator<< <char>(..)"),
            ("a::operator-><wide, type>(b::Parameter)", 34, "a::operator-><..>(b::Parameter)"),
            ("f::<fn(u8) -> u16>::g", 20, "f::<..>::g"),
            ("(anonymous namespace)::waits(int, long)", 32, "(anonymous namespace)::waits(..)"),
        ] {
            assert_eq!(shorter(name, room), short);
        }
    }

    #[test]
    fn a_crate_stays_when_namespaces_go_and_a_method_when_its_type_is_cut() {
        assert_eq!(shorter("std::thread::lifecycle::spawn::{{closure}}", 36), "std::thread::..::spawn::{{closure}}");
        assert_eq!(shorter("std::thread::lifecycle::spawn::{{closure}}", 30), "std::..::spawn::{{closure}}");
        assert_eq!(
            shorter("<&dyn core::ops::Fn<()> + core::marker::Sync as x::Y>::call", 41),
            "<&dyn core::ops::Fn<()> + .. as ..>::call"
        );
        assert_eq!(shorter("a_function_of_c_without_anything_to_leave_out", 20), "a_function_of_c_wi..");
    }

    #[test]
    fn whatever_a_name_is_it_fits_and_takes_no_time() {
        let hostile = [
            "<".repeat(100_000),
            "a<".repeat(50_000),
            "<>".repeat(50_000),
            "::".repeat(50_000),
            "{(<[".repeat(9),
            "\u{1f980}".repeat(99),
        ];
        let nested = format!("{}x{}", "<".repeat(1000), ">".repeat(1000));
        for name in hostile.into_iter().chain([nested, "a::".repeat(600), ">>><<<".repeat(9)]) {
            for room in [LEAST_NAME, 33, 72] {
                assert!(columns(&shorter(&name, room)) <= room, "{}", beginning(&name, 20));
            }
        }
    }
}
