//! Which snapshot of a recording is meant.

use std::fmt;
use std::str::FromStr;

use jiff::civil;
use jiff::tz::TimeZone;

use super::Error;
use crate::model::Snapshot;
use crate::store::{self, Damage, Reader};

/// A snapshot as the user names it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum At {
    #[default]
    Last,
    /// By its number in the recording.
    Number(u64),
    /// The last one taken at or before this moment (nanoseconds since 1970).
    Time(i128),
    /// The same, by the time of day on the day of the recording's last snapshot.
    TimeOfDay(civil::Time),
}

impl FromStr for At {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "last" {
            return Ok(Self::Last);
        }
        if let Ok(number) = text.parse() {
            return Ok(Self::Number(number));
        }
        if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
            return Ok(Self::Time(end_of(timestamp.as_nanosecond())));
        }
        if let Ok(time) = text.parse::<civil::Time>() {
            return Ok(Self::TimeOfDay(time));
        }
        let local = text.parse::<civil::DateTime>().ok().and_then(|time| time.to_zoned(TimeZone::system()).ok());
        match local {
            Some(time) => Ok(Self::Time(end_of(time.timestamp().as_nanosecond()))),
            None => Err("neither `last` nor a number nor a time such as 14:05:10 or 2026-11-20T14:05:10".into()),
        }
    }
}

/// The last nanosecond of the second or millisecond that was typed: `list` prints milliseconds, and a snapshot taken
/// within the one that is named was taken by that time.
fn end_of(moment: i128) -> i128 {
    const MILLISECOND: i128 = 1_000_000;
    const SECOND: i128 = 1000 * MILLISECOND;
    match moment {
        _ if moment % SECOND == 0 => moment + SECOND - 1,
        _ if moment % MILLISECOND == 0 => moment + MILLISECOND - 1,
        _ => moment,
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last => f.write_str("last"),
            Self::Number(number) => number.fmt(f),
            Self::Time(ns) => match jiff::Timestamp::from_nanosecond(*ns) {
                Ok(time) => write!(f, "of {time} or before"),
                Err(_) => f.write_str("of that time"),
            },
            Self::TimeOfDay(time) => write!(f, "of {time} or before"),
        }
    }
}

/// Reads to the end and keeps the snapshot that is meant, with the damage if there was any on the way.
pub(super) fn choose(reader: &mut Reader, at: &At) -> Result<(Snapshot, Option<Damage>), Error> {
    let moment = match at {
        At::TimeOfDay(time) => Some(on_the_last_day(reader, *time)?),
        At::Time(ns) => Some(*ns),
        At::Last | At::Number(_) => None,
    };
    let (mut chosen, mut damage, mut numbers) = (None, None, Numbers::default());
    while let Some(next) = reader.next_snapshot()? {
        match next {
            Ok(snapshot) => {
                numbers.add(snapshot.number);
                let meant = match (at, moment) {
                    (At::Number(number), _) => snapshot.number == *number,
                    (_, Some(moment)) => i128::from(snapshot.taken.realtime_ns) <= moment,
                    (_, None) => true,
                };
                if meant {
                    chosen = Some(snapshot);
                }
            }
            Err(found) => damage = Some(found),
        }
    }
    let path = reader.path();
    match (chosen, damage) {
        (Some(chosen), damage) => Ok((chosen, damage)),
        (None, Some(damage)) => Err(Error::Damaged(damage)),
        (None, None) if numbers.count == 0 => Err(store::Error::NoSnapshot { path: path.into() }.into()),
        (None, None) => Err(Error::NoSuchSnapshot {
            path: path.display().to_string(),
            wanted: at.to_string(),
            held: numbers.to_string(),
        }),
    }
}

type Pair = Result<(Snapshot, Snapshot), Error>;

/// The last two snapshots of a recording.
pub(super) fn last_two(reader: &mut Reader) -> Result<(Pair, Option<Damage>), Error> {
    let (mut before, mut last, mut damage, mut numbers) = (None, None, None, Numbers::default());
    while let Some(next) = reader.next_snapshot()? {
        match next {
            Ok(snapshot) => {
                numbers.add(snapshot.number);
                before = last.replace(snapshot);
            }
            Err(found) => damage = Some(found),
        }
    }
    let pair = before
        .zip(last)
        .ok_or_else(|| Error::TooFewSnapshots { path: reader.path().display().to_string(), held: numbers.to_string() });
    Ok((pair, damage))
}

/// That time of day on the day when the last snapshot was taken, in the reader's time zone.
fn on_the_last_day(reader: &Reader, time: civil::Time) -> Result<i128, Error> {
    let (last, _) = choose(&mut super::open(reader.path())?, &At::Last)?;
    let day = jiff::Timestamp::from_nanosecond(last.taken.realtime_ns.into())
        .map_or(civil::Date::ZERO, |taken| taken.to_zoned(TimeZone::system()).date());
    let moment = day.to_datetime(time).to_zoned(TimeZone::system());
    Ok(moment.map_or(0, |moment| end_of(moment.timestamp().as_nanosecond())))
}

/// Which snapshots a recording holds, for a message.
#[derive(Default)]
struct Numbers {
    count: u64,
    first: u64,
    last: u64,
}

impl Numbers {
    fn add(&mut self, number: u64) {
        if self.count == 0 {
            self.first = number;
        }
        self.count += 1;
        self.last = number;
    }
}

impl fmt::Display for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.count {
            0 => f.write_str("no snapshot"),
            1 => write!(f, "snapshot {} only", self.first),
            _ => write!(f, "snapshots {} to {}", self.first, self.last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_as_it_is_printed_includes_what_was_taken_then() {
        let at = |text: &str| text.parse::<At>();
        assert_eq!(at("1970-01-01T00:00:01.500+00:00"), Ok(At::Time(1_500_999_999)));
        assert_eq!(at("1970-01-01T00:00:01Z"), Ok(At::Time(1_999_999_999)));
        assert_eq!(at("last"), Ok(At::Last));
        assert_eq!(at("3"), Ok(At::Number(3)));
        assert!(at("nonsense").is_err());
    }
}
