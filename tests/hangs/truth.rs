//! What a program says of itself: what hangs, what is accused, who holds what, and since when.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970.
pub fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is right").as_secs_f64()
}

#[derive(Debug, Default)]
pub struct Truth {
    pub kind: String,
    /// Threads, or processes by their first threads.
    pub accused: Vec<i64>,
    pub holder: Option<i64>,
    /// Addresses, paths and numbers of the resources; the verdict's is to be one of these. Empty
    /// where it has no name.
    pub resources: Vec<String>,
    /// The processes to be looked at; none where it is the program itself.
    pub targets: Vec<i64>,
    pub since: Option<f64>,
    /// It has something to undo, and does so when its input ends.
    pub undoes: bool,
    /// Why it cannot be in its situation on this host.
    pub skipped: Option<String>,
}

impl Truth {
    /// Takes in a line. Lines of other kinds are not about the truth.
    pub fn add(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let number = || rest.parse().unwrap_or_else(|_| panic!("not a number: {line}"));
        match word {
            "kind" => rest.clone_into(&mut self.kind),
            "accused" => self.accused.push(number()),
            "holder" => self.holder = Some(number()),
            "target" => self.targets.push(number()),
            "resource" => self.resources.extend(rest.split_once(' ').map(|(_, name)| name.to_owned())),
            "since" => self.since = Some(rest.parse().unwrap_or_else(|_| panic!("not a time: {line}"))),
            "undoes" => self.undoes = true,
            "skipped" => self.skipped = Some(rest.to_owned()),
            _ => {}
        }
    }
}
