//! The configuration file: TOML whose keys are the flags of `hangsnap run`.
//!
//! Promises: whatever is in the file, all problems are found and each has the number of its line. A
//! value may be text, a number, true or false, or a list of these for what may be given more than
//! once. What the file holds is bounded.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::settings::{Entry, Place, Problem, Settings};

/// More than anybody writes.
const LARGEST: u64 = 1 << 20;

/// Reads a file, and puts flags in its place where they say something else. Errors are lines for
/// the user.
pub fn read(path: &Path, flags: &[Entry]) -> Result<Settings, Vec<String>> {
    let whole = |problem: String| vec![format!("{}: {problem}", path.display())];
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| whole(format!("{error}; name the file with --config")))?;
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| whole(error.to_string()))?;
    if bytes.len() as u64 > LARGEST {
        return Err(whole(format!("has more than {LARGEST} bytes; that is no configuration")));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        vec![format!("{}:{}: not UTF-8 text", path.display(), line + 1)]
    })?;
    parse(&text, flags).map_err(|problems| {
        let line = |problem: Problem| match problem.place {
            Place::Line(line) => format!("{}:{line}: {}", path.display(), problem.message),
            Place::Flag => problem.message,
        };
        problems.into_iter().map(line).collect()
    })
}

/// The settings in a text, with flags in their place where both say something.
pub(super) fn parse(text: &str, flags: &[Entry]) -> Result<Settings, Vec<Problem>> {
    let line = |span: Range<usize>| {
        let before = text.as_bytes().get(..span.start).unwrap_or_default();
        Place::Line(before.iter().filter(|byte| **byte == b'\n').count() + 1)
    };
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let problem = |error: &toml::de::Error| Problem {
            place: line(error.span().unwrap_or_default()),
            message: format!("not TOML: {}", error.message().lines().collect::<Vec<_>>().join(" ")),
        };
        return Err(errors.iter().map(problem).collect());
    }
    let mut problems = Vec::new();
    let (mut whole, mut tables) = (Vec::new(), Vec::new());
    for (key, value) in document.get_ref() {
        match (key.get_ref().as_ref(), value.get_ref()) {
            ("target", DeValue::Array(array)) => {
                for table in array {
                    let place = line(table.span());
                    let mut entries = Vec::new();
                    match table.get_ref() {
                        DeValue::Table(table) => table.iter().for_each(|(key, value)| {
                            read_value(key.get_ref(), value, &line, &mut entries, &mut problems);
                        }),
                        _ => problems.push(Problem { place, message: "write [[target]] above the keys of one".into() }),
                    }
                    tables.push((place, entries));
                }
            }
            ("target", _) => {
                problems.push(Problem { place: line(key.span()), message: "write [[target]], in two brackets".into() });
            }
            (name, _) => read_value(name, value, &line, &mut whole, &mut problems),
        }
    }
    // A flag stands in place of the key.
    whole.retain(|entry: &Entry| flags.iter().all(|flag| flag.key != entry.key));
    whole.extend_from_slice(flags);
    match Settings::from_entries(&whole, &tables) {
        Ok(settings) if problems.is_empty() => Ok(settings),
        settings => {
            problems.extend(settings.err().unwrap_or_default());
            problems.sort_unstable();
            Err(problems)
        }
    }
}

fn read_value(
    key: &str,
    value: &Spanned<DeValue<'_>>,
    line: &impl Fn(Range<usize>) -> Place,
    into: &mut Vec<Entry>,
    problems: &mut Vec<Problem>,
) {
    let place = line(value.span());
    let text = match value.get_ref() {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) => number.as_str().into(),
        DeValue::Float(number) => number.as_str().into(),
        DeValue::Boolean(yes) => yes.to_string(),
        DeValue::Array(array) => {
            return array.iter().for_each(|value| match value.get_ref() {
                DeValue::Array(_) => {
                    problems.push(Problem { place, message: format!("{key}: a list in a list; write one list") });
                }
                _ => read_value(key, value, line, into, problems),
            });
        }
        DeValue::Table(_) => {
            let message = format!("[{key}]: {}", super::settings::unknown(key));
            return problems.push(Problem { place, message });
        }
        DeValue::Datetime(_) => {
            return problems.push(Problem { place, message: format!("{key}: a date; write text in quotes") });
        }
    };
    into.push(Entry { key: key.into(), value: text, place });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        parse(text, &[]).err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_file_says_what_flags_say() {
        let text = "every = \"2s\"\noutput = \"/tmp\"\non-hang = \"burst=3,every=500ms\"\n\n\
                    [[target]]\nname = \"nginx\"\nunit = \"nginx\"\n\n[[target]]\nexe = [\"/usr/bin/*\"]\non-threads = \"above=50\"\n";
        let settings = parse(text, &[]).expect("it is right");
        assert_eq!(settings.selectors.len(), 2);
        assert_eq!(settings.selectors[0].label, "nginx nginx");
        assert_eq!(settings.triggers.iter().map(|trigger| trigger.selector).collect::<Vec<_>>(), [None, Some(1)]);
        let flag = Entry { key: "every".into(), value: "7s".into(), place: Place::Flag };
        assert_eq!(parse(text, &[flag]).expect("it is right").interval.as_secs(), 7);
    }

    #[test]
    fn each_problem_has_its_line() {
        for (text, expected) in [
            ("evry = \"5s\"", "line 1: evry = \"5s\": there is no such key; `every` is one"),
            ("every = \"5s\"\nevery = \"6s\"", "line 2: not TOML: duplicate key"),
            (
                "every = \"fast\"\n[[target]]\nname = \"a\"",
                "line 1: every = \"fast\": not a length of time; write 500ms, 5s, 10m or 1h",
            ),
            (
                "\n[[target]]\nevery = \"5s\"\nname = \"a\"",
                "line 3: every = \"5s\": is for all targets; write it above the first [[target]]",
            ),
            ("[[target]]\non-hang = \"\"", "line 1: [[target]] names no process; write one of "),
            ("[target]\nname = \"a\"", "line 1: write [[target]], in two brackets"),
            (
                "[[target]]\nname = \"a\"\non-probe = \"http://192.0.2.7/\"",
                "line 3: on-probe = \"http://192.0.2.7/\": 192.0.2.7 is not an address of this host or pod; ask 127.0.0.1",
            ),
            (
                "[[target]]\nname = \"a\"\non-cpu = \"above=100000%\"",
                "line 3: on-cpu = \"above=100000%\": can never fire: this host has ",
            ),
            ("[[target]]\ncmd = \"a(\"", "line 2: cmd = \"a(\": "),
            (
                "metrics-listen = \"0.0.0.0:9464\"\n[[target]]\nname = \"a\"",
                "line 1: metrics-listen = \"0.0.0.0:9464\": metrics are served on loopback only; write 127.0.0.1:9464",
            ),
        ] {
            let found = problems(text);
            assert!(found.iter().any(|problem| problem.starts_with(expected)), "{text}: {found:?}");
        }
        let two = problems("every = 5\n\n[[target]]\npod = \"a\"\n");
        assert_eq!(two.len(), 2, "{two:?}");
    }
}
