//! Which snapshot of a recording is meant.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use jiff::fmt::temporal::Pieces;
use jiff::{SignedDuration, civil};

use super::Error;
use crate::model::{Snapshot, Summary};
use crate::render::{duration, time, zone};
use crate::store::{self, Contents};

/// A snapshot as the user names it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum At {
    /// The recording's last snapshot.
    #[default]
    Last,
    /// The recording's first snapshot.
    First,
    /// By its number in the recording.
    Number(u64),
    /// The last one taken at or before this moment (nanoseconds since 1970).
    Time(i128),
    /// The same, by the time of day on the day of the recording's last snapshot.
    TimeOfDay(civil::Time),
    /// The last one that was taken at least so long before the recording's last.
    BeforeLast(Duration),
}

impl FromStr for At {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "last" => return Ok(Self::Last),
            "first" => return Ok(Self::First),
            _ => {}
        }
        if let Ok(number) = text.parse() {
            return Ok(Self::Number(number));
        }
        if let Some(length) = text.strip_prefix('-').and_then(|text| text.parse::<SignedDuration>().ok())
            && let Ok(length) = Duration::try_from(length)
        {
            return Ok(Self::BeforeLast(length));
        }
        // It would be read over: the time is taken by its offset, or by the reader's time zone.
        if text.contains('[') {
            return Err(
                "a time zone in brackets is not understood; write an offset, as in 2026-11-20T14:05:10+09:00".into()
            );
        }
        // First, because a date with a time can be read as a time, too.
        if let Some(moment) = moment(text) {
            return Ok(Self::Time(end_of(moment)));
        }
        match text.parse::<civil::Time>() {
            Ok(time) => Ok(Self::TimeOfDay(time)),
            Err(_) => Err(
                "neither `first`, `last` nor a number nor a time such as 14:05:10, 2026-11-20T14:05:10, or -10s for 10 s \
                 before the last".into(),
            ),
        }
    }
}

/// A date with a time, in nanoseconds since 1970: by the offset that it gives, or in the reader's
/// time zone.
fn moment(text: &str) -> Option<i128> {
    if let Ok(timestamp) = text.parse::<jiff::Timestamp>() {
        return Some(timestamp.as_nanosecond());
    }
    let pieces = Pieces::parse(text).ok()?;
    let civil = pieces.date().to_datetime(pieces.time().unwrap_or_default());
    if pieces.offset().is_none()
        && let Ok(local) = civil.to_zoned(zone())
    {
        return Some(local.timestamp().as_nanosecond());
    }
    // At either end of the calendar there are dates that no time zone has a moment for. People name
    // them to say `everything`, and there an hour more or less makes no difference.
    let since_1970 = civil.duration_since(civil::date(1970, 1, 1).to_datetime(civil::Time::midnight()));
    Some(since_1970.as_nanos())
}

/// The last nanosecond of the second or millisecond that was typed: `list` prints milliseconds, and
/// a snapshot taken within the one that is named was taken by that time.
fn end_of(moment: i128) -> i128 {
    const MILLISECOND: i128 = 1_000_000;
    const SECOND: i128 = 1000 * MILLISECOND;
    match moment {
        _ if moment % SECOND == 0 => moment + SECOND - 1,
        _ if moment % MILLISECOND == 0 => moment + MILLISECOND - 1,
        _ => moment,
    }
}

/// The first nanosecond of what was typed, by its last.
fn start_of(end: i128) -> i128 {
    const MILLISECOND: i128 = 1_000_000;
    const SECOND: i128 = 1000 * MILLISECOND;
    match end + 1 {
        next if next % SECOND == 0 => next - SECOND,
        next if next % MILLISECOND == 0 => next - MILLISECOND,
        _ => end,
    }
}

/// What lies from one snapshot or time to another, both included: all there is, where nothing was
/// said. Numbers and times each have bounds of their own, because times may step back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Range {
    pub(super) numbers: RangeInclusive<u64>,
    /// In nanoseconds since 1970.
    pub(super) times: RangeInclusive<i128>,
}

impl Range {
    pub(super) fn all() -> Self {
        Self { numbers: 0..=u64::MAX, times: i128::MIN..=i128::MAX }
    }

    pub(super) fn of(contents: &mut Contents, path: &Path, from: Option<&At>, to: Option<&At>) -> Result<Self, Error> {
        let all = Self::all();
        let from = from.map(|at| Self::bound(contents, path, at)).transpose()?;
        let to = to.map(|at| Self::bound(contents, path, at)).transpose()?;
        let (first, earliest) = from.unwrap_or((None, None));
        let (last, latest) = to.unwrap_or((None, None));
        Ok(Self {
            numbers: first.unwrap_or(*all.numbers.start())..=last.unwrap_or(*all.numbers.end()),
            times: earliest.map_or(*all.times.start(), start_of)..=latest.unwrap_or(*all.times.end()),
        })
    }

    pub(super) fn contains(&self, snapshot: &Snapshot) -> bool {
        self.numbers.contains(&snapshot.number) && self.times.contains(&i128::from(snapshot.taken.realtime_ns))
    }

    fn bound(contents: &mut Contents, path: &Path, at: &At) -> Result<(Option<u64>, Option<i128>), Error> {
        let found = match at {
            At::Time(moment) => return Ok((None, Some(*moment))),
            At::TimeOfDay(time) => return Ok((None, Some(moment_of(contents, *time)?))),
            At::BeforeLast(length) => return Ok((None, Some(before_last(contents, *length)?))),
            At::Number(number) => contents.by_number(*number)?,
            At::First => contents.first()?,
            At::Last => contents.last()?,
        };
        let summary = found.map(|found| contents.summary(found)).transpose()?.flatten();
        let held = held(contents.numbers()?);
        let path = path.display().to_string();
        let summary = summary.ok_or(Error::NoSuchSnapshot { path, wanted: at.to_string(), held })?;
        Ok((Some(summary.number), None))
    }

    /// The times of what lies between two numbers, too, for a reader that knows nothing but times.
    /// None, where nothing lies there.
    pub(super) fn as_times(&self, contents: &mut Contents) -> Result<Option<RangeInclusive<i128>>, Error> {
        if self.numbers == Self::all().numbers {
            return Ok(Some(self.times.clone()));
        }
        let inside = |summary: &Summary| self.numbers.contains(&summary.number);
        let times: Vec<i128> = contents
            .summaries()?
            .iter()
            .filter(|summary| inside(summary))
            .map(|summary| summary.taken.realtime_ns.into())
            .collect();
        let span = times.iter().min().zip(times.iter().max());
        Ok(span.map(|(earliest, latest)| *earliest.max(self.times.start())..=*latest.min(self.times.end())))
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last => f.write_str("last"),
            Self::First => f.write_str("first"),
            Self::BeforeLast(length) => write!(f, "of {} before the last", duration(*length)),
            Self::Number(number) => number.fmt(f),
            Self::Time(ns) => match jiff::Timestamp::from_nanosecond(*ns) {
                Ok(time) => write!(f, "of {time} or before"),
                Err(_) => f.write_str("of that time"),
            },
            Self::TimeOfDay(time) => write!(f, "of {time} or before"),
        }
    }
}

/// A snapshot that was found.
pub(super) struct Chosen {
    pub(super) snapshot: Snapshot,
    /// What is to be said of it where it is of another time than the one that was named.
    pub(super) remark: Option<String>,
}

/// The snapshot that is meant; of those that are meant and damaged, none.
pub(super) fn choose(contents: &mut Contents, path: &Path, at: &At) -> Result<Chosen, Error> {
    let moment = match at {
        At::TimeOfDay(time) => moment_of(contents, *time)?,
        At::Time(ns) => *ns,
        At::BeforeLast(length) => before_last(contents, *length)?,
        At::First | At::Last | At::Number(_) => i128::MAX,
    };
    // What turns out to be damaged is not found a second time.
    for _ in 0..=contents.segments() {
        let found = match at {
            At::First => contents.first()?,
            At::Last => contents.last()?,
            At::Number(number) => contents.by_number(*number)?,
            At::Time(_) | At::TimeOfDay(_) | At::BeforeLast(_) => contents.by_time(moment)?,
        };
        let Some(found) = found else { break };
        if let Some(snapshot) = contents.snapshot(found)? {
            let is_by_time = matches!(at, At::Time(_) | At::TimeOfDay(_) | At::BeforeLast(_));
            let remark = if is_by_time { remark(contents, &snapshot, moment)? } else { None };
            return Ok(Chosen { snapshot, remark });
        }
    }
    let numbers = contents.numbers()?;
    // A segment of another recording has cost nothing, and one that is gone is for `list`, to
    // which the message leads.
    let damage = contents.damage().into_iter().rfind(|damage| damage.lost > 0);
    Err(match (damage, numbers) {
        (Some(damage), _) => Error::Damaged(damage),
        (None, None) => store::Error::NoSnapshot { path: path.into() }.into(),
        (None, numbers @ Some(_)) if moment != i128::MAX => {
            let found = contents.first()?;
            let taken = found.map(|found| contents.summary(found)).transpose()?.flatten();
            let taken =
                taken.map_or(String::new(), |first| format!(", the first of {}", time(first.taken.realtime_ns)));
            let held = format!("{}{taken}", held(numbers));
            Error::NoSuchSnapshot { path: path.display().to_string(), wanted: at.to_string(), held }
        }
        (None, numbers) => {
            Error::NoSuchSnapshot { path: path.display().to_string(), wanted: at.to_string(), held: held(numbers) }
        }
    })
}

/// What is to be said of a snapshot that was taken long before the moment for which it was chosen:
/// by more than twice the interval of its recording, and by a second at least.
fn remark(contents: &mut Contents, snapshot: &Snapshot, moment: i128) -> Result<Option<String>, Error> {
    const LEAST: i128 = 1_000_000_000;
    let interval = contents.recording()?.and_then(|recording| recording.interval);
    let near = interval.map_or(LEAST, |interval| LEAST.max(2 * i128::try_from(interval.as_nanos()).unwrap_or(0)));
    let gap = start_of(moment) - i128::from(snapshot.taken.realtime_ns);
    if gap <= near {
        return Ok(None);
    }
    let number = snapshot.number;
    let is_last = contents.numbers()?.is_some_and(|(_, last)| last == number);
    let wanted = i64::try_from(start_of(moment)).map_or("that time".into(), time);
    let gap = duration(Duration::from_nanos(u64::try_from(gap).unwrap_or(u64::MAX)));
    let taken = time(snapshot.taken.realtime_ns);
    let which = if is_last { "the last one" } else { "the last one before" };
    Ok(Some(format!("there is no snapshot of {wanted}; this is {number}, {which}, of {taken}, {gap} earlier")))
}

/// The moment that lies so long before the last snapshot.
fn before_last(contents: &mut Contents, length: Duration) -> Result<i128, Error> {
    let last = contents.last()?;
    let last = last.map(|last| contents.summary(last)).transpose()?.flatten();
    let length = i128::try_from(length.as_nanos()).unwrap_or(i128::MAX);
    Ok(last.map_or(0, |last| i128::from(last.taken.realtime_ns) - length))
}

/// The last two snapshots of a recording.
pub(super) fn last_two(contents: &mut Contents, path: &Path) -> Result<(Snapshot, Snapshot), Error> {
    for _ in 0..=contents.segments() {
        let Some(last) = contents.last()? else { break };
        let Some(before) = contents.before(last)? else { break };
        // The later one first: what turns out to be damaged makes other rows of a segment.
        let Some(last) = contents.snapshot(last)? else { continue };
        if let Some(before) = contents.snapshot(before)? {
            return Ok((before, last));
        }
    }
    Err(Error::TooFewSnapshots { path: path.display().to_string(), held: held(contents.numbers()?) })
}

/// That time of day on the day when the last snapshot was taken, in the reader's time zone.
fn moment_of(contents: &mut Contents, time: civil::Time) -> Result<i128, Error> {
    let last = contents.last()?;
    let last = last.map(|last| contents.summary(last)).transpose()?.flatten();
    let taken = last.and_then(|last| jiff::Timestamp::from_nanosecond(last.taken.realtime_ns.into()).ok());
    let day = taken.map_or(civil::Date::ZERO, |taken| taken.to_zoned(zone()).date());
    let moment = day.to_datetime(time).to_zoned(zone());
    Ok(moment.map_or(0, |moment| end_of(moment.timestamp().as_nanosecond())))
}

/// Which snapshots a recording holds, for a message.
pub(super) fn held(numbers: Option<(u64, u64)>) -> String {
    match numbers {
        None => "no snapshot".into(),
        Some((first, last)) if first == last => format!("snapshot {first} only"),
        Some((first, last)) => format!("snapshots {first} to {last}"),
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
        assert_eq!(at("14:05:10"), Ok(At::TimeOfDay(civil::time(14, 5, 10, 0))));
        assert_eq!(at("last"), Ok(At::Last));
        assert_eq!(at("first"), Ok(At::First));
        assert_eq!(at("-10s"), Ok(At::BeforeLast(Duration::from_secs(10))));
        assert_eq!(at("-1h30m"), Ok(At::BeforeLast(Duration::from_secs(5400))));
        assert!(at("-10").is_err() && at("10s").is_err() && at("--10s").is_err());
        assert_eq!(at("3"), Ok(At::Number(3)));
        assert!(at("nonsense").is_err());
    }

    #[test]
    fn the_last_day_of_the_calendar_is_a_time_behind_all_others() {
        const YEAR_9999: i128 = 253_370_764_800_000_000_000;
        for text in ["9999-12-31T23:59:59", "9999-12-31T23:59:59Z", "9999-12-31", "9999-12-31T23:59:59+01:00"] {
            assert!(matches!(text.parse::<At>(), Ok(At::Time(moment)) if moment > YEAR_9999), "{text}");
        }
        assert!(matches!("-009999-01-01T00:00:00Z".parse::<At>(), Ok(At::Time(moment)) if moment < -YEAR_9999));
        assert!("9999-13-31T23:59:59".parse::<At>().is_err());
        assert!("2026-11-20T14:05:10 or so".parse::<At>().is_err());
    }

    /// It chose what was taken at that time in the reader's zone.
    #[test]
    fn a_time_zone_by_its_name_is_not_read_over() {
        for text in ["2026-11-21T22:37:47[Asia/Tokyo]", "2026-11-21T22:37:47+09:00[Asia/Tokyo]", "22:37:47[Asia/Tokyo]"]
        {
            assert!(text.parse::<At>().is_err_and(|why| why.contains("+09:00")), "{text}");
        }
        assert!("2026-11-21T22:37:47+09:00".parse::<At>().is_ok());
    }
}
