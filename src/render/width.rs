//! What is printed on a terminal in the columns that it has.
//!
//! Promises: without a width nothing is changed. With one, no line is longer. A frame's source path
//! and its function's name are shortened (`paths`, `shorten`), and each only where the line would
//! be too long otherwise: one line for each frame is what makes a stack readable. Where little
//! would be left of the name, the place goes to a line of its own. All other lines are wrapped
//! between words, and nothing of them is lost: addresses and build-ids are never cut, but go on in
//! the next line where one is too short for them.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::paths::{from_left, origin};
use super::shorten::{LEAST_NAME, column, columns, shorter, without_arguments};

/// How far the second line of a frame is indented: as the names are.
const FRAME_INDENT: usize = 8;
/// How far further than the first the other lines of one that is wrapped are indented.
const HANGING: usize = 4;
const ESCAPE: char = '\x1b';

/// The columns that there are, if that matters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Width(Option<usize>);

impl Width {
    /// Lines as long as they come.
    pub const ANY: Self = Self(None);
    /// In less nothing can be read.
    const LEAST: usize = 40;

    /// Lines of at most this many columns.
    pub fn of(columns: usize) -> Self {
        Self(Some(columns.max(Self::LEAST)))
    }

    /// The columns, if they are bounded.
    pub(super) fn columns(self) -> Option<usize> {
        self.0
    }
}

/// A line about a frame: what stands before the name, the name, marks after it, the source line,
/// and what follows.
#[derive(Default)]
pub(super) struct FrameText {
    /// How many columns are taken before the name.
    pub(super) lead: usize,
    pub(super) name: String,
    /// How many columns the marks take.
    pub(super) marks: usize,
    /// The source file's path, and `:LINE`.
    pub(super) source: Option<(String, String)>,
    /// The module, or whatever else says where the code is.
    pub(super) rest: String,
    /// Whether `rest` stands on the line of a caller, too, and can be left out here.
    pub(super) is_repeated: bool,
    /// What separates the second line from the first, where there are two.
    pub(super) separator: String,
}

impl FrameText {
    /// What of it fits.
    pub(super) fn fit(mut self, width: Width) -> Self {
        let Some(all) = width.0 else { return self };
        if let Some((path, _)) = &mut self.source {
            *path = origin(path);
        }
        let least = self.source.as_ref().map(|(path, line)| (at(&from_left(path, 0)), columns(line)));
        let least = least.map_or(0, |(path, line)| columns(&path) + line);
        let room = |text: &Self| all.saturating_sub(text.lead + text.marks + least + columns(&text.rest));
        let is_short = columns(&shorter(&self.name, room(&self))) < columns(&self.name);
        if is_short && self.is_repeated {
            self.rest.clear();
        }
        let name = shorter(&self.name, room(&self));
        if columns(&name) < columns(&self.name) && room(&self) < LEAST_NAME {
            // The place goes to the next line.
            self.separator = format!("\n{:1$}", "", FRAME_INDENT - 1);
            self.name = shorter(&self.name, all.saturating_sub(self.lead + self.marks));
        } else {
            self.name = name;
        }
        let taken = match self.separator.is_empty() {
            true => self.lead + columns(&self.name) + self.marks,
            false => FRAME_INDENT - 1,
        };
        if let Some((path, line)) = &mut self.source {
            let taken = taken + columns(&at("")) + columns(line) + columns(&self.rest);
            *path = from_left(path, all.saturating_sub(taken));
        }
        self
    }

    /// The source line and what follows it.
    pub(super) fn place(&self) -> String {
        let source = self.source.as_ref().map(|(path, line)| format!("{}{line}", at(path)));
        format!("{}{}{}", self.separator, source.unwrap_or_default(), self.rest)
    }
}

fn at(path: &str) -> String {
    format!(" at {path}")
}

/// What a frame is called: its function, or where its code is; nothing of the latter is left out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Label {
    pub(super) text: String,
    pub(super) is_name: bool,
}

/// Functions, the callees before their callers, in lines that are indented by this much.
pub(super) fn chain(mut labels: Vec<Label>, separator: &str, indent: usize, width: Width) -> Vec<Vec<Label>> {
    let Some(all) = width.0 else { return vec![labels] };
    // A separator that ends a line has no space after it, and counts like one that stands within.
    let room = all.saturating_sub(indent + columns(separator));
    let total = labels.iter().map(|label| columns(&label.text) + columns(separator)).sum::<usize>();
    if total > room {
        for label in labels.iter_mut().filter(|label| label.is_name) {
            label.text = without_arguments(&label.text);
            label.text = shorter(&label.text, room);
        }
    }
    let (mut lines, mut taken): (Vec<Vec<Label>>, usize) = (Vec::new(), 0);
    for label in labels {
        let more = columns(&label.text) + columns(separator);
        match lines.last_mut() {
            Some(line) if taken + more <= room + columns(separator) => {
                line.push(label);
                taken += more;
            }
            _ => {
                lines.push(vec![label]);
                taken = more;
            }
        }
    }
    lines
}

/// Lines that are wrapped between words before they are written.
pub(super) struct Wrapped<'a> {
    out: &'a mut dyn Write,
    width: Width,
    /// The beginning of a line whose end is not there yet.
    line: Vec<u8>,
}

impl<'a> Wrapped<'a> {
    pub(super) fn new(out: &'a mut dyn Write, width: Width) -> Self {
        Self { out, width, line: Vec::new() }
    }
}

impl Write for Wrapped<'_> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let Some(all) = self.width.0 else { return self.out.write(piece) };
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                let line = String::from_utf8_lossy(&self.line);
                self.out.write_all(wrap(&line, all).as_bytes())?;
                self.line.clear();
            }
        }
        Ok(piece.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A line in lines of this width. Escape sequences take none.
fn wrap(line: &str, all: usize) -> String {
    let indent = line.chars().take_while(|c| *c == ' ').count();
    let hanging = (indent + HANGING).min(all / 2);
    let (mut text, mut taken) = (String::with_capacity(line.len()), 0);
    // With its spaces before it, which go where the line is broken.
    for word in words(line) {
        let start = word.len() - word.trim_start_matches(' ').len();
        let (spaces, word) = word.split_at(start);
        let length = visible(word);
        if taken > hanging && taken + spaces.len() + length > all {
            let _ = write!(text, "\n{:hanging$}", "");
            taken = hanging;
        } else {
            text.push_str(spaces);
            taken += spaces.len();
        }
        let mut is_escape = false;
        for c in word.chars() {
            is_escape |= c == ESCAPE;
            let column = if is_escape || c == '\n' { 0 } else { column(c) };
            if taken + column > all {
                // Longer than a line: it goes on in the next, as the terminal would have it.
                let _ = write!(text, "\n{:hanging$}", "");
                taken = hanging;
            }
            text.push(c);
            taken += column;
            is_escape &= c != 'm';
        }
    }
    text
}

/// The words of a line, each with the spaces before it.
fn words(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = line;
    std::iter::from_fn(move || {
        let spaces = rest.len() - rest.trim_start_matches(' ').len();
        let end = rest[spaces..].find(' ').map_or(rest.len(), |end| spaces + end);
        let (word, others) = rest.split_at(end);
        rest = others;
        (!word.is_empty()).then_some(word)
    })
}

/// The columns of a text with colours. The end of the line is none.
fn visible(text: &str) -> usize {
    let mut is_escape = false;
    let mut count = 0;
    for c in text.trim_end_matches('\n').chars() {
        is_escape |= c == ESCAPE;
        count += if is_escape { 0 } else { column(c) };
        is_escape &= c != 'm';
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_wrapped_between_words_and_lose_nothing() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        let line = format!("  \x1b[31m/lib/x.so: no file here has its build-id {id}, so\x1b[0m it goes on\n");
        for all in [40, 44, 60, 79, 200] {
            let text = wrap(&line, all);
            assert!(text.lines().all(|line| visible(line) <= all), "{text}");
            let joined = |text: &str| text.split_whitespace().collect::<String>();
            assert_eq!(joined(&text), joined(&line));
            assert!(all < 50 || text.contains(id), "{text}");
        }
        assert_eq!(wrap(&line, 200), line);
    }
}
