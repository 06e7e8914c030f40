//! What the daemon says: one line for each thing, with its level where the journal reads it.
//!
//! Promises: a line stays one line whatever a target calls itself. What happens again and again is
//! said once, and then when it has happened ten times, a hundred, and so on. Writing never fails
//! the daemon: where nothing reads standard error, the lines are lost.

use std::collections::HashMap;
use std::env;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// Keys that are counted; past that, what is new is said each time.
const MOST_KEYS: usize = 4096;

/// How urgent a line is: the numbers of syslog(3), which systemd reads as `<N>`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Level {
    /// Something was lost, or something hangs.
    Error = 3,
    /// Something may be lost.
    Warning = 4,
    /// Something that one wants to know of.
    Notice = 5,
    /// What goes on.
    Info = 6,
}

/// Where the daemon says what happens.
#[derive(Clone)]
pub(super) struct Log {
    has_levels: bool,
    counts: Arc<Mutex<HashMap<String, u64>>>,
}

impl Log {
    /// To standard error, with levels if the journal reads it.
    pub(super) fn new() -> Self {
        Self { has_levels: env::var_os("JOURNAL_STREAM").is_some(), counts: Arc::default() }
    }

    /// Says a line.
    pub(super) fn say(&self, level: Level, text: &str) {
        let prefix = if self.has_levels { format!("<{}>", level as u8) } else { "hangsnap: ".into() };
        // Without a reader the line is lost, and the daemon goes on.
        let _ = writeln!(io::stderr(), "{prefix}{}", printable(text));
    }

    /// Says what may happen again and again; `key` names its kind.
    pub(super) fn repeated(&self, level: Level, key: &str, text: &str) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut count = 1;
        if let Some(before) = counts.get_mut(key) {
            *before += 1;
            count = *before;
        } else if counts.len() < MOST_KEYS {
            counts.insert(key.into(), 1);
        }
        drop(counts);
        match count {
            1 => self.say(level, text),
            _ if is_power_of_ten(count) => self.say(level, &format!("{text} ({count} times so far)")),
            _ => {}
        }
    }

    /// What was said under this key has ended; when it happens again it is said again.
    pub(super) fn is_over(&self, key: &str) {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

fn is_power_of_ten(mut count: u64) -> bool {
    while count >= 10 && count.is_multiple_of(10) {
        count /= 10;
    }
    count == 1
}

/// With control characters and what turns the direction of text written as escapes.
pub(super) fn printable(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => line.push(' '),
            '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                let _ = write!(line, "{}", c.escape_unicode());
            }
            c if c.is_control() => {
                let _ = write!(line, "{}", c.escape_default());
            }
            c => line.push(c),
        }
    }
    line
}
