//! What makes the daemon take an incident: triggers as the user writes them.
//!
//! A trigger is written `ARGUMENT,key=value,..`: `http://127.0.0.1:8080/health,slow=1s`. Every one
//! of them takes `burst` (how many samples), `every` (how far apart) and `cooldown` (for how long
//! it then keeps quiet of the same process). What can never fire is refused, with the reason.

use std::path::PathBuf;
use std::time::Duration;

use super::probe::Probe;
use crate::model::{parse_share, parse_size, parse_time};
use crate::proc::{cpus, pressure, total_memory};

/// The options that name a kind of trigger.
pub const KINDS: [&str; 8] =
    ["on-hang", "on-blocked", "on-heartbeat", "on-probe", "on-cpu", "on-threads", "on-memory", "on-pressure"];
/// No burst has more samples, nor more distance between them.
const LONGEST_BURST: u32 = 1000;
const SLOWEST_BURST: Duration = Duration::from_secs(60);
/// The most threads a kernel allows (PID_MAX_LIMIT; linux/threads.h).
const MOST_THREADS: u64 = 4 << 20;

/// How an incident is sampled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Burst {
    /// How many samples.
    pub samples: u32,
    /// The time from one to the next.
    pub every: Duration,
}

impl Default for Burst {
    fn default() -> Self {
        Self { samples: 5, every: Duration::from_secs(1) }
    }
}

/// What is watched.
#[derive(Clone, PartialEq, Debug)]
pub enum Condition {
    /// No thread has had a CPU, or all stacks are the same, for this long, while usually it is not
    /// so.
    Hang { lasting: Duration },
    /// A thread is in uninterruptible sleep for this long.
    Blocked { lasting: Duration },
    /// A file has not been written to for this long.
    Heartbeat { file: PathBuf, age: Duration },
    /// A service does not answer, or not in time, this many times in a row.
    Probe { probe: Probe, every: Duration, failures: u32 },
    /// More or less CPU time than this share of one CPU, in millionths, for this long.
    Cpu { above: bool, share: u32, lasting: Duration },
    /// More threads than this.
    Threads { above: u64 },
    /// More resident bytes than this.
    Memory { above: u64 },
    /// Some tasks of the host wait for this resource for more than this share of ten seconds, in
    /// millionths, for this long.
    Pressure { resource: String, share: u32, lasting: Duration },
}

/// A trigger.
#[derive(Clone, PartialEq, Debug)]
pub struct Trigger {
    /// Its option and its argument, as the user wrote them.
    pub text: String,
    /// The number of the selector that it is for; all, if there is none.
    pub selector: Option<usize>,
    /// What is watched.
    pub condition: Condition,
    /// How the incident is sampled.
    pub burst: Burst,
    /// For how long it is then quiet about the same process.
    pub cooldown: Duration,
}

/// What has been written of a trigger and is not yet understood.
struct Words<'a> {
    argument: &'a str,
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Words<'a> {
    fn of(text: &'a str) -> Result<Self, String> {
        let mut parts = text.split(',').map(str::trim).filter(|part| !part.is_empty()).peekable();
        // An address may have an equals sign of its own.
        let argument = parts.next_if(|part| !part.contains('=') || part.contains("://")).unwrap_or_default();
        let pairs = parts.map(|part| part.split_once('=').ok_or_else(|| format!("`{part}`: write KEY=VALUE")));
        Ok(Self { argument, pairs: pairs.collect::<Result<_, _>>()? })
    }

    fn take(&mut self, key: &str) -> Option<&'a str> {
        let at = self.pairs.iter().position(|(name, _)| *name == key)?;
        Some(self.pairs.remove(at).1)
    }

    fn parse<T>(&mut self, key: &str, or: T, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, String> {
        self.take(key).map_or(Ok(or), |text| parse(text).map_err(|error| format!("{key}={text}: {error}")))
    }

    fn need<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, String> {
        let text = self.take(key).ok_or_else(|| format!("lacks {key}=.."))?;
        parse(text).map_err(|error| format!("{key}={text}: {error}"))
    }
}

impl Trigger {
    /// From an option (`on-probe`) and its value. Errors say what is wrong, and what to write.
    pub fn parse(option: &str, value: &str) -> Result<Self, String> {
        let mut words = Words::of(value)?;
        let argument = words.argument;
        let lasting = words.parse("for", Duration::from_secs(10), parse_time)?;
        let burst = words.parse("burst", Burst::default().samples, |text| number(text, 1, u64::from(LONGEST_BURST)))?;
        let cooldown = words.parse("cooldown", Duration::from_secs(300), parse_time)?;
        let condition = match option {
            "on-hang" => Condition::Hang { lasting },
            "on-blocked" => Condition::Blocked { lasting },
            "on-heartbeat" => {
                let age = words.need("age", parse_time)?;
                Condition::Heartbeat { file: absolute(argument)?, age }
            }
            "on-probe" => {
                let slow = words.parse("slow", Duration::from_secs(1), parse_time)?;
                let probe = Probe::parse(argument, slow)?;
                let failures = words.parse("failures", 1, |text| number(text, 1, 1000))?;
                let every = words.parse("probe-every", Duration::from_secs(2), parse_time)?;
                Condition::Probe { probe, every, failures }
            }
            "on-cpu" => cpu(&mut words, lasting)?,
            "on-threads" => Condition::Threads { above: words.need("above", |text| number(text, 1, MOST_THREADS))? },
            "on-memory" => {
                let above = words.need("above", parse_size)?;
                match total_memory() {
                    Some(all) if above >= all => {
                        return Err(format!("can never fire: this host has {all} bytes of memory"));
                    }
                    _ => Condition::Memory { above },
                }
            }
            "on-pressure" => {
                let share = words.need("above", |text| parse_share(text, 100))?;
                if !["cpu", "memory", "io"].contains(&argument) {
                    return Err("write cpu, memory or io first, as in cpu,above=50%".into());
                }
                if pressure(argument).is_none() {
                    return Err(format!(
                        "can never fire: this kernel keeps no /proc/pressure/{argument}; boot with psi=1"
                    ));
                }
                Condition::Pressure { resource: argument.into(), share, lasting }
            }
            _ => return Err(format!("no such trigger; there are {}", KINDS.join(", "))),
        };
        let takes_argument = ["on-heartbeat", "on-probe", "on-pressure"].contains(&option);
        if !takes_argument && !argument.is_empty() {
            return Err(format!("`{argument}`: write KEY=VALUE"));
        }
        let spacing = words.parse("every", Burst::default().every, parse_time)?;
        if spacing > SLOWEST_BURST {
            return Err("every=..: samples of a burst are at most 60s apart".into());
        }
        if let Some((key, _)) = words.pairs.first() {
            return Err(format!("`{key}` is no key of {option}"));
        }
        let text = if argument.is_empty() { option.into() } else { format!("{option} {argument}") };
        Ok(Self { text, selector: None, condition, burst: Burst { samples: burst, every: spacing }, cooldown })
    }
}

fn cpu(words: &mut Words<'_>, lasting: Duration) -> Result<Condition, String> {
    let share = |text: &str| parse_share(text, 1_000_000);
    match (words.take("above"), words.take("below")) {
        (Some(text), None) => {
            let share = share(text)?;
            let most = cpus().saturating_mul(1_000_000);
            match u64::from(share) >= most {
                true => Err(format!("can never fire: this host has {} CPUs, which are {}%", cpus(), most / 10_000)),
                false => Ok(Condition::Cpu { above: true, share, lasting }),
            }
        }
        (None, Some(text)) => Ok(Condition::Cpu { above: false, share: share(text)?, lasting }),
        _ => Err("write above=90% or below=1%".into()),
    }
}

fn number<T: TryFrom<u64>>(text: &str, least: u64, most: u64) -> Result<T, String> {
    let wrong = || format!("write a number from {least} to {most}");
    let number: u64 = text.parse().ok().filter(|number| (least..=most).contains(number)).ok_or_else(wrong)?;
    T::try_from(number).map_err(|_| wrong())
}

fn absolute(path: &str) -> Result<PathBuf, String> {
    match path.starts_with('/') {
        true => Ok(path.into()),
        false => Err("name the file first, by its whole path, as in /run/app/alive,age=20s".into()),
    }
}
