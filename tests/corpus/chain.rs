//! Stacks as the programs of the corpus report them, and how a walker's stack is held against one.
//!
//! What is right comes from the program alone: it wrote down each function it entered and the
//! address it will return to. tests/victims/corpus/chain.h describes the lines that are read here.

use crate::oracle::names;
use crate::oracle::stacks::Frame;

/// How far from the beginning of _start its call may lie.
const START_SIZE: u64 = 64;
/// The functions that threads begin with: the first code of a program, of a thread of a C
/// library's, of a coroutine of glibc's, of a goroutine.
const ROOTS: [&str; 5] = ["start", "clone", "clone3", "start_context", "runtime.goexit"];

/// One element of a chain.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Token {
    /// A frame of this function (None: of any), at this address if it is known.
    Frame { name: Option<String>, address: Option<u64> },
    /// A frame of this function, or none: a wrapper that the printed stack has nothing of.
    Wrapper { name: String },
    /// As many frames of this function; None: one or more.
    Recursion { name: String, depth: Option<usize> },
    /// Any frames of functions that are not in the chain.
    Gap,
    /// The frame that the kernel laid for a signal handler.
    Signal { address: Option<u64> },
    /// The thread's outermost frame.
    Root { start: Option<u64> },
}

/// What is on the stack of one thread, innermost first.
#[derive(Clone, Debug)]
pub struct Chain {
    pub tid: i32,
    tokens: Vec<Token>,
    pub text: String,
}

/// What can be said of a walker's stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Right,
    /// What is there is right, but there should be more.
    CutShort,
    Wrong,
}

impl Chain {
    /// Reads a line `chain TID TOKEN...`; None if it is another one.
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_ascii_whitespace();
        if words.next()? != "chain" {
            return None;
        }
        let tid = words.next()?.parse().expect("a thread's id");
        let tokens = words.map(token).collect();
        Some(Self { tid, tokens, text: line.trim().to_owned() })
    }

    /// Holds a stack against the chain. Where no file has the names, as with a program that was
    /// deleted, the addresses alone must be right. Of recursions whose middle may be left
    /// out any number of frames will do.
    pub fn judge(&self, frames: &[Frame], names_exist: bool, may_leave_out: bool) -> Verdict {
        let mut matching = Matching { chain: self, names_exist, may_leave_out, ran_out: false };
        match matching.run(&self.tokens, frames) {
            true => Verdict::Right,
            false if matching.ran_out => Verdict::CutShort,
            false => Verdict::Wrong,
        }
    }

    fn has(&self, function: &str) -> bool {
        self.tokens.iter().any(|token| match token {
            Token::Frame { name: Some(name), .. } | Token::Recursion { name, .. } => name == function,
            _ => false,
        })
    }
}

fn token(word: &str) -> Token {
    let (name, address) = match word.split_once("@0x") {
        Some((name, digits)) => (name, Some(u64::from_str_radix(digits, 16).expect("an address"))),
        None => (word, None),
    };
    // `name*100` and `name*any`; the names of Go's methods have asterisks, too.
    let depth = |depth: &str| if depth == "any" { Some(None) } else { depth.parse().ok().map(Some) };
    let recursion = name.rsplit_once('*').and_then(|(name, text)| Some((name, depth(text)?)));
    match (name, recursion) {
        ("..", _) => Token::Gap,
        ("<signal>", _) => Token::Signal { address },
        ("root", _) => Token::Root { start: address },
        ("?", _) => Token::Frame { name: None, address },
        _ if name.len() > 1 && name.ends_with('?') => Token::Wrapper { name: names::base(name.trim_end_matches('?')) },
        (_, Some((name, depth))) => Token::Recursion { name: name.to_owned(), depth },
        _ => Token::Frame { name: Some(names::base(name)), address },
    }
}

struct Matching<'a> {
    chain: &'a Chain,
    names_exist: bool,
    may_leave_out: bool,
    /// Whether some way to match came to the end of the frames with all of them right.
    ran_out: bool,
}

impl Matching<'_> {
    fn run(&mut self, tokens: &[Token], frames: &[Frame]) -> bool {
        let Some((token, rest)) = tokens.split_first() else {
            return frames.is_empty();
        };
        if matches!(token, Token::Gap | Token::Wrapper { .. }) && self.run(rest, frames) {
            return true;
        }
        let Some((frame, others)) = frames.split_first() else {
            self.ran_out = true;
            return false;
        };
        let name = name(frame);
        let is_at = |wanted: Option<u64>| wanted.zip(frame.address).is_none_or(|(wanted, address)| wanted == address);
        let is_called = |wanted: &str| match &name {
            Some(name) => bare(name) == bare(wanted),
            None => !self.names_exist,
        };
        let is_root = name.as_deref().is_some_and(|name| ROOTS.contains(&bare(name)));
        match token {
            Token::Gap => {
                let foreign = !frame.is_signal && name.is_none_or(|name| !self.chain.has(&name));
                foreign && self.run(tokens, others)
            }
            Token::Frame { name: None, address } => is_at(*address) && self.run(rest, others),
            Token::Frame { name: Some(wanted), address } => {
                is_called(wanted) && is_at(*address) && self.run(rest, others)
            }
            Token::Wrapper { name } => is_called(name) && self.run(rest, others),
            Token::Recursion { name: wanted, depth } => {
                let count = frames.iter().take_while(|frame| self::name(frame).as_deref() == Some(wanted)).count();
                self.ran_out |= count == frames.len();
                let any = self.may_leave_out || depth.is_none();
                (*depth == Some(count) || any && count > 0) && self.run(rest, &frames[count..])
            }
            Token::Signal { address } => {
                let named = name.as_deref().is_some_and(|name| bare(name).starts_with("restore"));
                (frame.is_signal || named || !self.names_exist) && is_at(*address) && self.run(rest, others)
            }
            Token::Root { start } => {
                let is_start =
                    start.zip(frame.address).is_some_and(|(start, at)| (start..start + START_SIZE).contains(&at));
                (is_root || is_start) && others.is_empty()
            }
        }
    }
}

/// The function whose frame it is; others are inlined into it.
fn name(frame: &Frame) -> Option<String> {
    frame.functions.last()?.as_deref().map(names::base)
}

/// Without what C libraries put before their own names.
fn bare(name: &str) -> &str {
    let name = name.trim_start_matches("__GI_").trim_start_matches('_');
    name.strip_suffix(".abi0").unwrap_or(name)
}

/// A stack on one line, for a reader to compare with the chain.
pub fn spell(frames: &[Frame]) -> String {
    const MOST: usize = 40;
    let one = |frame: &Frame| {
        let name = if frame.is_signal { Some("<signal>".into()) } else { name(frame) };
        let address = frame.address.map(|address| format!("@{address:#x}")).unwrap_or_default();
        format!("{}{address}", name.unwrap_or_else(|| "?".into()))
    };
    let more = if frames.len() > MOST { format!(" and {} more", frames.len() - MOST) } else { String::new() };
    frames.iter().take(MOST).map(one).collect::<Vec<_>>().join(" ") + &more
}

#[test]
fn stacks_are_told_apart_from_those_that_lack_or_invent_something() {
    let chain =
        Chain::parse("chain 7 .. leaf b@0x20 handler <signal>@0x30 .. main ?@0x40 .. root@0x50").expect("a chain");
    let frame = |name: &str, address| Frame {
        address: Some(address),
        functions: vec![(!name.is_empty()).then(|| name.to_owned())],
        is_signal: name == "__restore_rt",
        number: 0,
    };
    let whole = [
        frame("pause", 0x10),
        frame("leaf", 0x15),
        frame("b", 0x20),
        frame("handler", 0x25),
        frame("__restore_rt", 0x30),
        frame("raise", 0x35),
        frame("main", 0x38),
        frame("__libc_start_call_main", 0x40),
        frame("_start", 0x55),
    ];
    assert_eq!(chain.judge(&whole, true, false), Verdict::Right);
    assert_eq!(chain.judge(&whole[..8], true, false), Verdict::CutShort);
    assert_eq!(chain.judge(&whole[..2], true, false), Verdict::CutShort);
    let without = |index: usize| [&whole[..index], &whole[index + 1..]].concat();
    for index in [1, 2, 3, 4, 6, 7] {
        assert_ne!(chain.judge(&without(index), true, false), Verdict::Right, "without frame {index}");
    }
    let mut elsewhere = whole.clone();
    elsewhere[2].address = Some(0x21);
    assert_eq!(chain.judge(&elsewhere, true, false), Verdict::Wrong);
    let wrapped = Chain::parse("chain 7 .. b@0x20 b? handler .. root@0x50").expect("a chain");
    let twice = [&whole[..2], &[whole[2].clone(), frame("b", 0x23)], &whole[3..4], &whole[6..]].concat();
    assert_eq!(wrapped.judge(&twice, true, false), Verdict::Right);
    assert_eq!(wrapped.judge(&[&twice[..3], &twice[4..]].concat(), true, false), Verdict::Right);
    assert_eq!(wrapped.judge(&[&twice[..4], &twice[3..]].concat(), true, false), Verdict::Wrong);
    let mut nameless = whole.clone();
    nameless[1].functions = vec![None];
    assert_ne!(chain.judge(&nameless, true, false), Verdict::Right);
    assert_eq!(chain.judge(&nameless, false, false), Verdict::Right);
}
