//! Times, durations, sizes and foreign text, as they are printed.

use std::fmt;
use std::time::Duration;

use jiff::tz::TimeZone;

/// A duration to three digits or so, in the unit that suits it.
pub fn duration(time: Duration) -> String {
    let ns = time.as_nanos();
    let scaled = |unit: u128, name: &str| {
        let whole = ns / unit;
        let tenths = ns % unit * 10 / unit;
        if whole < 10 { format!("{whole}.{tenths} {name}") } else { format!("{whole} {name}") }
    };
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => scaled(1_000, "us"),
        1_000_000..1_000_000_000 => scaled(1_000_000, "ms"),
        1_000_000_000..120_000_000_000 => scaled(1_000_000_000, "s"),
        _ => {
            let seconds = time.as_secs();
            let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
            if hours > 0 { format!("{hours} h {minutes} min") } else { format!("{minutes} min {seconds} s") }
        }
    }
}

/// A number of bytes.
pub fn bytes(count: u64) -> String {
    match count {
        0..10_240 => format!("{count} B"),
        10_240..10_485_760 => format!("{} KiB", count / 1024),
        _ => format!("{} MiB", count / 1_048_576),
    }
}

/// A moment, in the reader's time zone and to the millisecond.
pub fn time(realtime_ns: i64) -> String {
    Clock::here().time(realtime_ns)
}

/// The reader's time zone, for many moments.
pub(super) struct Clock(TimeZone);

impl Clock {
    pub(super) fn here() -> Self {
        Self(TimeZone::system())
    }

    pub(super) fn time(&self, realtime_ns: i64) -> String {
        let Ok(timestamp) = jiff::Timestamp::from_nanosecond(realtime_ns.into()) else {
            return format!("{realtime_ns} ns since 1970");
        };
        // Going by a format that is given as text takes several times as long, which shows in long lists.
        let offset = self.0.to_offset(timestamp);
        let moment = offset.to_datetime(timestamp);
        let (date, time) = (moment.date(), moment.time());
        let minutes = offset.seconds() / 60;
        format!(
            "{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:03}{}{:02}:{:02}",
            date.year(),
            date.month(),
            date.day(),
            time.hour(),
            time.minute(),
            time.second(),
            time.millisecond(),
            if minutes < 0 { '-' } else { '+' },
            minutes.abs() / 60,
            minutes.abs() % 60,
        )
    }
}

/// A line in which no foreign text can move the cursor.
pub fn printable(line: &str) -> String {
    Foreign(line).to_string()
}

/// A source file's path. Rust's own library is compiled below `/rustc/COMMIT/`, which tells a reader nothing.
pub(super) fn source(path: &str) -> Foreign<'_> {
    let rest = path.strip_prefix("/rustc/").and_then(|rest| rest.split_once('/'));
    Foreign(match rest {
        Some((commit, rest)) if commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()) => rest,
        _ => path,
    })
}

/// Text that the target chose: control characters are escaped, so that it cannot move the cursor or hide a line.
pub(super) struct Foreign<'a>(pub(super) &'a str);

impl fmt::Display for Foreign<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            if c.is_control() {
                write!(f, "{}", c.escape_default())?;
            } else {
                write!(f, "{c}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_in_the_unit_that_suits_them() {
        let text = |ns| duration(Duration::from_nanos(ns));
        assert_eq!(text(999), "999 ns");
        assert_eq!(text(1_500), "1.5 us");
        assert_eq!(text(15_900), "15 us");
        assert_eq!(text(2_000_000), "2.0 ms");
        assert_eq!(text(35_000_000_000), "35 s");
        assert_eq!(text(7_265_000_000_000), "2 h 1 min");
    }

    #[test]
    fn a_thread_name_cannot_clear_the_screen() {
        assert_eq!(Foreign("a\x1b[2Jb\n").to_string(), "a\\u{1b}[2Jb\\n");
    }
}
