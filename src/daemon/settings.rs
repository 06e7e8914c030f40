//! What the daemon is to do, checked: from flags and from a configuration file alike.
//!
//! Every flag of `hangsnap run` is a key of the file, with the same value. Promises: all that is
//! wrong is found, not the first of it only, each with its place and what to write instead.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::trigger::{self, Trigger};
use crate::model::{StopMode, parse_share, parse_size, parse_time};
use crate::process::{Criterion, Selector};
use crate::record::CaptureOptions;
use crate::store::{Policy, Sync};

/// Keys of `[[target]]` that a process has to meet, which are flags, too.
pub const CRITERIA: [&str; 9] = ["pid", "name", "exe", "cmd", "unit", "cgroup", "container", "pod", "all-in-namespace"];
/// The other keys, but for triggers.
pub const KEYS: [&str; 17] = [
    "children",
    "every",
    "output",
    "max-size",
    "keep-for",
    "sync",
    "stop",
    "max-hold",
    "max-duty",
    "store",
    "preroll",
    "max-targets",
    "exec",
    "socket",
    "metrics-listen",
    "metrics-file",
    "redact",
];
/// Below this the daemon would do little else.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(10);
/// What a recording needs.
const SMALLEST_SIZE: u64 = 1 << 20;
/// No more targets than this, whatever is asked for: each costs descriptors and memory.
const MOST_TARGETS: usize = 1000;
const MOST_PREROLL: usize = 100;

/// Where a setting was written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Place {
    /// On the command line.
    Flag,
    /// In this line of the file, from 1.
    Line(usize),
}

/// One setting, as it was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The name of the flag, without dashes.
    pub key: String,
    /// Its value.
    pub value: String,
    /// Where it was written.
    pub place: Place,
}

/// Something that is wrong with a setting.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What is wrong, and what to write.
    pub message: String,
}

/// Which samples are stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Store {
    /// All.
    All,
    /// Those of incidents, and the few before them.
    Incidents,
}

/// What the daemon is to do.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which processes.
    pub selectors: Vec<Selector>,
    /// What makes an incident.
    pub triggers: Vec<Trigger>,
    /// The time from one sample of a target to the next.
    pub interval: Duration,
    /// Which samples are stored.
    pub store: Store,
    /// How many samples before an incident are kept for it.
    pub preroll: usize,
    /// How samples are taken.
    pub options: CaptureOptions,
    /// The share of time for which threads of one target may be held, in millionths.
    pub max_duty: u32,
    /// How many processes are looked at.
    pub max_targets: usize,
    /// Where recordings go, and what the daemon remembers.
    pub directory: PathBuf,
    /// How long recordings are kept.
    pub policy: Policy,
    /// A command that is run for each incident.
    pub exec: Option<String>,
    /// The control socket.
    pub socket: Option<PathBuf>,
    /// Where metrics are served.
    pub metrics_listen: Option<SocketAddr>,
    /// The file that metrics are written to.
    pub metrics_file: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            selectors: Vec::new(),
            triggers: Vec::new(),
            interval: Duration::from_secs(5),
            store: Store::All,
            preroll: 3,
            options: CaptureOptions::default(),
            max_duty: 10_000,
            max_targets: 64,
            directory: ".".into(),
            policy: Policy { earlier_count: true, ..Policy::default() },
            exec: None,
            socket: None,
            metrics_listen: None,
            metrics_file: None,
        }
    }
}

impl Settings {
    /// From settings of the whole and of each table of targets.
    pub fn from_entries(whole: &[Entry], tables: &[(Place, Vec<Entry>)]) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut settings = Self::default();
        let children = whole.iter().any(|entry| entry.key == "children" && entry.value == "true");
        for entry in whole {
            let selected = settings.selectors.len();
            let set = match entry.key.as_str() {
                key if CRITERIA.contains(&key) => {
                    let criterion = Criterion::parse(key, &entry.value);
                    let label = label(key, &entry.value);
                    criterion.map(|criterion| settings.selectors.push(Selector::new(label, vec![criterion], children)))
                }
                key if trigger::KINDS.contains(&key) => {
                    Trigger::parse(key, &entry.value).map(|trigger| settings.triggers.push(trigger))
                }
                _ => settings.set(entry),
            };
            debug_assert!(settings.selectors.len() <= selected + 1);
            problems.extend(set.err().map(|error| problem(entry, &error)));
        }
        for (place, entries) in tables {
            settings.add_table(*place, entries, children, &mut problems);
        }
        if settings.selectors.is_empty() && problems.is_empty() {
            let message = "no process is named; write --name nginx, or [[target]] with name = \"nginx\"".into();
            problems.push(Problem { place: Place::Flag, message });
        }
        problems.sort_unstable();
        if problems.is_empty() { Ok(settings) } else { Err(problems) }
    }

    /// One `[[target]]`: a process has to meet all criteria in it, and its triggers are for it.
    fn add_table(&mut self, place: Place, entries: &[Entry], children: bool, problems: &mut Vec<Problem>) {
        let (mut criteria, mut labels) = (Vec::new(), Vec::new());
        let mut with_children = children;
        let selector = self.selectors.len();
        for entry in entries {
            let set = match entry.key.as_str() {
                key if CRITERIA.contains(&key) => Criterion::parse(key, &entry.value).map(|criterion| {
                    labels.push(label(key, &entry.value));
                    criteria.push(criterion);
                }),
                key if trigger::KINDS.contains(&key) => Trigger::parse(key, &entry.value).map(|trigger| {
                    self.triggers.push(Trigger { selector: Some(selector), ..trigger });
                }),
                "children" => flag(&entry.value).map(|yes| with_children = yes),
                key if KEYS.contains(&key) => Err("is for all targets; write it above the first [[target]]".into()),
                key => Err(unknown(key)),
            };
            problems.extend(set.err().map(|error| problem(entry, &error)));
        }
        if criteria.is_empty() && problems.is_empty() {
            let message = format!("[[target]] names no process; write one of {}", CRITERIA.join(", "));
            problems.push(Problem { place, message });
        }
        self.selectors.push(Selector::new(labels.join(" "), criteria, with_children));
    }

    fn set(&mut self, entry: &Entry) -> Result<(), String> {
        let value = entry.value.as_str();
        match entry.key.as_str() {
            "children" => drop(flag(value)?),
            "every" => {
                self.interval = parse_time(value)?;
                if self.interval < SHORTEST_INTERVAL {
                    return Err("too short an interval for many targets; use 10ms or more, such as 5s".into());
                }
            }
            "output" => self.directory = value.into(),
            "max-size" => {
                self.policy.max_size = parse_size(value)?;
                if self.policy.max_size < SMALLEST_SIZE {
                    return Err("too little to hold a recording; use 1MiB or more".into());
                }
            }
            "keep-for" => self.policy.keep_for = Some(parse_time(value)?),
            "sync" => {
                self.policy.sync = match value {
                    "never" => Sync::Never,
                    "segment" => Sync::Segment,
                    "sample" => Sync::Sample,
                    _ => return Err("write never, segment or sample".into()),
                }
            }
            "stop" => {
                self.options.stop = match value {
                    "auto" => StopMode::OneAtATime,
                    "all" => StopMode::All,
                    "none" => StopMode::None,
                    _ => return Err("write auto, all or none".into()),
                }
            }
            "max-hold" => {
                self.options.max_hold = parse_time(value)?;
                if self.options.max_hold < Duration::from_millis(1) {
                    return Err("no thread can be captured in that time; use 1ms or more, or stop = \"none\"".into());
                }
            }
            "max-duty" => self.max_duty = parse_share(value, 100)?,
            "store" => {
                self.store = match value {
                    "all" => Store::All,
                    "incidents" => Store::Incidents,
                    _ => return Err("write all or incidents".into()),
                }
            }
            "preroll" => self.preroll = number(value, 0, MOST_PREROLL)?,
            "max-targets" => self.max_targets = number(value, 1, MOST_TARGETS)?,
            "exec" => self.exec = Some(value.into()),
            "socket" => self.socket = Some(absolute(value)?),
            "metrics-listen" => {
                let address: SocketAddr = value.parse().map_err(|_| "write an address and a port: 127.0.0.1:9464")?;
                if !address.ip().is_loopback() {
                    return Err("metrics are served on loopback only; write 127.0.0.1:9464".into());
                }
                self.metrics_listen = Some(address);
            }
            "metrics-file" => self.metrics_file = Some(absolute(value)?),
            "redact" => self.options.redact = flag(value)?,
            key => return Err(unknown(key)),
        }
        Ok(())
    }
}

fn label(key: &str, value: &str) -> String {
    if key == "all-in-namespace" { key.into() } else { value.into() }
}

fn flag(value: &str) -> Result<bool, String> {
    value.parse().map_err(|_| "write true or false".into())
}

fn number(text: &str, least: usize, most: usize) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("write a number from {least} to {most}"))
}

fn absolute(path: &str) -> Result<PathBuf, String> {
    if path.starts_with('/') { Ok(path.into()) } else { Err("write the whole path, from / on".into()) }
}

fn problem(entry: &Entry, error: &str) -> Problem {
    let message = match entry.place {
        Place::Flag => format!("--{} {}: {error}", entry.key, entry.value),
        Place::Line(_) => format!("{} = \"{}\": {error}", entry.key, entry.value),
    };
    Problem { place: entry.place, message }
}

/// That there is no such key, and which was perhaps meant.
pub(super) fn unknown(key: &str) -> String {
    let known = || CRITERIA.iter().chain(&KEYS).chain(&trigger::KINDS).chain(&["target"]);
    let nearest = known().min_by_key(|known| distance(known, key)).filter(|known| distance(known, key) <= 3);
    match nearest {
        Some(known) => format!("there is no such key; `{known}` is one"),
        None => format!("there is no such key; the keys are {}", known().copied().collect::<Vec<_>>().join(", ")),
    }
}

/// How many characters have to be changed, added or left out to get from one word to the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (number, c) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], number + 1);
        for (column, d) in other.iter().enumerate() {
            let change = diagonal + usize::from(c != *d);
            diagonal = row[column + 1];
            row[column + 1] = change.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place {
            Place::Flag => f.write_str(&self.message),
            Place::Line(line) => write!(f, "line {line}: {}", self.message),
        }
    }
}
