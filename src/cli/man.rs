//! Manual pages: one for hangsnap and one for each command, made of what `--help` says.
//!
//! Promises: each page has examples and says what the exit codes mean. Both are the text below the
//! options of `--help`. The page of hangsnap itself has manual.md, too: what it does in full.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, bail};
use clap::Command;
use clap_mangen::Man;

/// How the exit codes begin in what `--help` says.
const CODES: &str = "Exit codes: ";
/// What hangsnap does, in full.
const MANUAL: &str = include_str!("manual.md");
/// Of commands whose help has none of its own.
const USUAL: &str = "0 done (a closed pipe is fine); 1 the recording has no such snapshot or thread; 2 any other failure, explained in \
                     one line on standard error.";

/// The page of a command; of hangsnap itself if none is named.
pub(super) fn page(hangsnap: &Command, name: Option<&str>) -> anyhow::Result<Vec<u8>> {
    match name {
        None => Ok(render(hangsnap.clone())?),
        Some(name) => match commands(hangsnap).find(|command| command.get_name() == name) {
            Some(command) => Ok(render(named(command))?),
            None => {
                let names: Vec<&str> = commands(hangsnap).map(Command::get_name).collect();
                bail!("man {name}: no command of hangsnap; those are {}", names.join(", "))
            }
        },
    }
}

/// Writes all pages into a directory, which is made if it is not there.
pub(super) fn write_all(hangsnap: &Command, directory: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    for command in std::iter::once(hangsnap.clone()).chain(commands(hangsnap).map(named)) {
        let path = directory.join(format!("{}.1", page_name(&command)));
        fs::write(&path, render(command)?).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn commands(hangsnap: &Command) -> impl Iterator<Item = &Command> {
    hangsnap.get_subcommands().filter(|command| !command.is_hide_set())
}

/// A command as its page calls it.
fn named(command: &Command) -> Command {
    let (page, call) = (format!("hangsnap-{}", command.get_name()), format!("hangsnap {}", command.get_name()));
    command.clone().display_name(page).bin_name(call).version(env!("CARGO_PKG_VERSION"))
}

fn page_name(command: &Command) -> String {
    command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned()
}

fn render(command: Command) -> io::Result<Vec<u8>> {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let (examples, codes) = help.split_once(CODES).unwrap_or((&help, USUAL));
    let has_commands = command.has_subcommands();
    let title = page_name(&command);
    let man = Man::new(command).title(title);
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if has_commands {
        man.render_subcommands_section(&mut page)?;
        page.extend_from_slice(manual(MANUAL).as_bytes());
    }
    let examples: Vec<String> =
        examples.lines().skip_while(|line| *line == "Examples:").map(|line| verbatim(line.trim_start())).collect();
    section(&mut page, "EXAMPLES", &format!(".nf\n{}\n.fi", examples.join("\n").trim_end()));
    section(&mut page, "EXIT STATUS", &verbatim(&codes.split_whitespace().collect::<Vec<_>>().join(" ")));
    if !has_commands {
        section(&mut page, "SEE ALSO", ".BR hangsnap (1)");
    }
    Ok(page)
}

fn section(page: &mut Vec<u8>, title: &str, body: &str) {
    page.extend_from_slice(format!(".SH \"{title}\"\n{body}\n").as_bytes());
}

/// As roff, the little of Markdown that the manual has: headings (the title is left out), points,
/// paragraphs, bold text and code.
fn manual(text: &str) -> String {
    let mut page = String::new();
    let mut paragraphs: Vec<String> = Vec::new();
    for line in text.lines().skip_while(|line| !line.starts_with("## ")) {
        match paragraphs.last_mut() {
            Some(last) if line.starts_with(' ') || !(last.is_empty() || line.is_empty() || line.starts_with("* ")) => {
                last.push(' ');
                last.push_str(line.trim_start());
            }
            _ => paragraphs.push(line.to_owned()),
        }
    }
    for paragraph in paragraphs.iter().filter(|paragraph| !paragraph.is_empty()) {
        match paragraph.strip_prefix("## ") {
            Some(title) => page.push_str(&format!(".SH \"{}\"\n", title.to_uppercase())),
            None => {
                let text = paragraph.strip_prefix("* ").unwrap_or(paragraph);
                page.push_str(&format!(".PP\n{}\n", marked(text)));
            }
        }
    }
    page
}

/// A line with its marks for bold text and code as roff's.
fn marked(line: &str) -> String {
    let with = |text: &str, mark: &str, font: &str| {
        let parts = text.split(mark).enumerate();
        let set =
            |(number, part): (usize, &str)| if number % 2 == 0 { part.into() } else { format!("{font}{part}\\fR") };
        parts.map(set).collect::<String>()
    };
    with(&with(&verbatim(line), "**", "\\fB"), "`", "\\fB")
}

/// A line that roff prints as it is.
fn verbatim(line: &str) -> String {
    let escaped = line.replace('\\', "\\e").replace('-', "\\-");
    if escaped.starts_with(['.', '\'']) { format!("\\&{escaped}") } else { escaped }
}
