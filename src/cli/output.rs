//! Standard output in large pieces, without colours where they are not wanted, and how wide it is.
//!
//! What takes colours out looks at every byte. A list of a million lines has next to none, so that
//! pieces without any go past it.

use std::env;
use std::io::{self, IsTerminal, Write};

use anstream::ColorChoice;
use anstream::adapter::StripBytes;

use crate::render::Width;

const ESCAPE: u8 = 0x1b;

pub(super) struct Output {
    stream: anstream::Stdout,
    takes_out: bool,
    strip: StripBytes,
    /// A piece without its escape sequences.
    plain: Vec<u8>,
    /// Whether the last piece had an escape sequence, which this one may end.
    may_be_within: bool,
}

/// Where to print.
pub(super) fn output() -> io::BufWriter<Output> {
    let stream = anstream::stdout();
    let takes_out = stream.current_choice() == ColorChoice::Never;
    io::BufWriter::with_capacity(
        1 << 16,
        Output { stream, takes_out, strip: StripBytes::new(), plain: Vec::new(), may_be_within: false },
    )
}

/// The width of what is printed: on a terminal that of COLUMNS, or the terminal's own. A terminal
/// that does not know its own, and anything that is no terminal, gets lines as long as they come.
pub(super) fn width() -> Width {
    let out = io::stdout();
    if !out.is_terminal() {
        return Width::ANY;
    }
    let is_some = |columns: &usize| *columns > 0;
    let asked = env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let own = || rustix::termios::tcgetwinsize(&out).ok().map(|size| size.ws_col.into());
    asked.filter(is_some).or_else(own).filter(is_some).map_or(Width::ANY, Width::of)
}

impl Write for Output {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let has_escape = piece.contains(&ESCAPE);
        let is_plain = !has_escape && !self.may_be_within;
        self.may_be_within = has_escape;
        match (self.takes_out, is_plain) {
            (false, _) => self.stream.write(piece),
            (true, true) => io::stdout().write(piece),
            (true, false) => {
                // In one call: the stream would write what lies between two sequences by itself.
                self.plain.clear();
                self.plain.extend(self.strip.strip_next(piece).flatten());
                io::stdout().write_all(&self.plain)?;
                Ok(piece.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
