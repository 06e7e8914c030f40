//! What a row of the matrix says of itself.

use std::fmt;
use std::time::Duration;

/// One thread of the victim, which waits in one call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    pub name: String,
    pub tid: i32,
    /// Whether its calls have a timeout that comes.
    pub finite: bool,
    pub calls: u64,
    pub eintr: u64,
    pub short: u64,
    pub wrong: u64,
    pub changed: u64,
    /// By how much the worst of its timeouts was late.
    pub late: Duration,
}

impl Row {
    fn parse(line: &str) -> Self {
        let words: Vec<&str> = line.split_whitespace().collect();
        let word = |label: &str| {
            let at = words.iter().position(|word| *word == label).unwrap_or_else(|| panic!("no {label} in `{line}`"));
            words.get(at + 1).copied().unwrap_or_else(|| panic!("nothing after {label} in `{line}`"))
        };
        let number = |label: &str| word(label).parse::<u64>().unwrap_or_else(|_| panic!("no number after {label}"));
        Self {
            name: word("row").into(),
            tid: word("tid").parse().expect("a thread id"),
            finite: word("kind") == "finite",
            calls: number("calls"),
            eintr: number("eintr"),
            short: number("short"),
            wrong: number("wrong"),
            changed: number("changed"),
            late: Duration::from_micros(number("late_us")),
        }
    }

    /// What must not be, in words; no timeout may be later than this.
    pub fn faults(&self, latest: Duration) -> Vec<String> {
        let mut faults = Vec::new();
        let mut count = |number: u64, what: &str| {
            if number > 0 {
                faults.push(format!("{what} {number}"));
            }
        };
        count(self.eintr, "EINTR");
        count(self.short, "short");
        count(self.wrong, "wrong");
        count(self.changed, "bytes changed");
        if self.late > latest {
            faults.push(format!("{} ms late", self.late.as_millis()));
        }
        // Otherwise there was nothing to disturb.
        if self.calls < if self.finite { 2 } else { 1 } {
            faults.push(format!("calls only {}", self.calls));
        }
        faults
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, calls, eintr, short, wrong, changed, late, .. } = self;
        write!(
            f,
            "{name:<26} calls {calls:>4}  EINTR {eintr:>4}  short {short:>2}  wrong {wrong:>2}  changed {changed:>4}  \
             late {:>5.1} ms",
            late.as_secs_f64() * 1000.0
        )
    }
}

/// Reads what the victim prints, to its end. A row that this machine has not is reported loudly.
pub fn parse(mut line: impl FnMut() -> String) -> Vec<Row> {
    let mut rows = Vec::new();
    loop {
        let text = line();
        assert!(!text.is_empty(), "the victim ended before it had told everything");
        match text.split_whitespace().next() {
            Some("done") => return rows,
            Some("absent") => eprintln!("SKIPPED: {}", text.trim()),
            _ => rows.push(Row::parse(&text)),
        }
    }
}
