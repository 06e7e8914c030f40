//! Colours. They are always written; the stream takes them out where it is no terminal or NO_COLOR
//! is set.

use anstyle::{AnsiColor, Style};

pub(super) const HEADING: Style = Style::new().bold();
pub(super) const FUNCTION: Style = AnsiColor::Yellow.on_default();
pub(super) const THREAD: Style = AnsiColor::Cyan.on_default();
pub(super) const FAINT: Style = Style::new().dimmed();
pub(super) const WARNING: Style = AnsiColor::Red.on_default();
