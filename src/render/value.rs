//! Times, durations, sizes and foreign text, as they are printed.

use std::fmt;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::zone::zone;
use crate::model::Moment;

/// A duration to three digits or so, in the unit that suits it.
pub fn duration(time: Duration) -> String {
    let mut text = Vec::new();
    put_duration(&mut text, time);
    String::from_utf8(text).unwrap_or_default()
}

/// The same, after what is there already: a list has a million of them.
pub(super) fn put_duration(text: &mut Vec<u8>, time: Duration) {
    // The longest that fits is some 500 years.
    let ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let mut scaled = |unit: u64, name: &[u8]| {
        let whole = ns / unit;
        put_number(text, whole, 1);
        if whole < 10 {
            text.push(b'.');
            put_number(text, ns % unit * 10 / unit, 1);
        }
        text.extend_from_slice(name);
    };
    match ns {
        0..1_000 => {
            put_number(text, ns, 1);
            text.extend_from_slice(b" ns");
        }
        1_000..1_000_000 => scaled(1_000, b" us"),
        1_000_000..1_000_000_000 => scaled(1_000_000, b" ms"),
        1_000_000_000..120_000_000_000 => scaled(1_000_000_000, b" s"),
        _ => {
            let seconds = ns / 1_000_000_000;
            let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
            let words = match hours {
                0 => format!("{minutes} min {seconds} s"),
                hours => format!("{hours} h {minutes} min"),
            };
            text.extend_from_slice(words.as_bytes());
        }
    }
}

/// A number of at least this many digits. To format it as anything is formatted takes several times
/// as long.
pub(super) fn put_number(text: &mut Vec<u8>, number: u64, least: usize) {
    let (mut digits, mut rest) = ([b'0'; 20], number);
    let mut at = digits.len();
    while rest > 0 {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let from = at.min(digits.len().saturating_sub(least));
    text.extend_from_slice(&digits[from..]);
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

/// A snapshot of the same recording: the time of day if it was taken on the day of another moment,
/// else the whole time, and its number.
pub(super) fn moment(Moment { number, realtime_ns }: Moment, seen_ns: i64) -> String {
    let (whole, seen) = (time(realtime_ns), time(seen_ns));
    // A date, a space, and a time whose fraction and offset are the other's, too, or of
    // no interest.
    let of_day = whole.split_once(' ').zip(seen.split_once(' ')).filter(|(one, other)| one.0 == other.0);
    let short = of_day.and_then(|((_, time), _)| time.split_once('.')).map(|(time, _)| time);
    format!("{} (snapshot {number})", short.unwrap_or(&whole))
}

/// The reader's time zone, for many moments.
pub(super) struct Clock(TimeZone);

impl Clock {
    pub(super) fn here() -> Self {
        Self(zone())
    }

    pub(super) fn time(&self, realtime_ns: i64) -> String {
        let mut text = Vec::new();
        self.put(&mut text, realtime_ns);
        String::from_utf8(text).unwrap_or_default()
    }

    /// The same, after what is there already.
    pub(super) fn put(&self, text: &mut Vec<u8>, realtime_ns: i64) {
        let Ok(timestamp) = jiff::Timestamp::from_nanosecond(realtime_ns.into()) else {
            text.extend_from_slice(format!("{realtime_ns} ns since 1970").as_bytes());
            return;
        };
        // Going by a format that is given as text takes several times as long, which shows in long
        // lists.
        let offset = self.0.to_offset(timestamp);
        let moment = offset.to_datetime(timestamp);
        let (date, time) = (moment.date(), moment.time());
        let minutes = offset.seconds() / 60;
        if date.year() < 0 {
            text.push(b'-');
        }
        let mut put = |number: i64, digits, behind: u8| {
            put_number(text, number.unsigned_abs(), digits);
            text.push(behind);
        };
        put(date.year().into(), 4, b'-');
        put(date.month().into(), 2, b'-');
        put(date.day().into(), 2, b' ');
        put(time.hour().into(), 2, b':');
        put(time.minute().into(), 2, b':');
        put(time.second().into(), 2, b'.');
        put(time.millisecond().into(), 3, if minutes < 0 { b'-' } else { b'+' });
        put((minutes / 60).into(), 2, b':');
        put_number(text, (minutes % 60).unsigned_abs().into(), 2);
    }
}

/// A line in which no foreign text can move the cursor.
pub fn printable(line: &str) -> String {
    Foreign(line).to_string()
}

/// A source file's path. Rust's own library is compiled below `/rustc/COMMIT/`, which shows a
/// reader nothing.
pub(super) fn source(path: &str) -> Foreign<'_> {
    let rest = path.strip_prefix("/rustc/").and_then(|rest| rest.split_once('/'));
    Foreign(match rest {
        Some((commit, rest)) if commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()) => rest,
        _ => path,
    })
}

/// Text that the target chose, or the maker of a file: what is not there to be seen is escaped, so
/// that it cannot move the cursor, hide a line, or make what stands beside it read as something
/// else.
pub(super) struct Foreign<'a>(pub(super) &'a str);

/// Whether a character changes how others are printed, or is printed as nothing: control
/// characters; what sets the direction of writing; separators of lines; and what has no width, by
/// which two names could look the same.
fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

impl fmt::Display for Foreign<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        if rest.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return f.write_str(rest);
        }
        while let Some((at, unseen)) = rest.char_indices().find(|(_, c)| is_unseen(*c)) {
            let (seen, from) = rest.split_at(at);
            write!(f, "{seen}{}", unseen.escape_default())?;
            rest = &from[unseen.len_utf8()..];
        }
        f.write_str(rest)
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
        // The same in one character, as terminals that know C1 read it.
        assert_eq!(Foreign("a\u{9b}2Jb").to_string(), "a\\u{9b}2Jb");
    }

    #[test]
    fn a_name_cannot_turn_the_direction_of_writing_nor_look_like_another() {
        for c in
            ['\u{202a}', '\u{202e}', '\u{2066}', '\u{2069}', '\u{200f}', '\u{61c}', '\u{2028}', '\u{200b}', '\u{feff}']
        {
            assert_eq!(Foreign(&format!("a{c}b")).to_string(), format!("a\\u{{{:x}}}b", u32::from(c)));
        }
        // Letters of any script are letters.
        for name in ["größe", "поток", "خيط", "線程", "\u{1f980}"] {
            assert_eq!(Foreign(name).to_string(), name);
        }
    }
}
