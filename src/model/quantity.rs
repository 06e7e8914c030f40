//! Quantities as a user types them: lengths of time, sizes, shares. Errors say what to write.

use std::time::Duration;

use jiff::SignedDuration;

/// A length of time that is longer than zero: `500ms`, `5s`, `1h`.
pub fn parse_time(text: &str) -> Result<Duration, String> {
    let duration: SignedDuration =
        text.parse().map_err(|_| "not a length of time; write 500ms, 5s, 10m or 1h".to_owned())?;
    match Duration::try_from(duration) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        _ => Err("must be longer than zero; write 500ms, 5s, 10m or 1h".into()),
    }
}

/// A share of up to `most` percent, in millionths: `1%`, `0.5%`.
pub fn parse_share(text: &str, most: u32) -> Result<u32, String> {
    let percent: Option<f64> = text.trim_end_matches('%').trim().parse().ok();
    match percent {
        // It is between 0 and some thousand millions at most.
        Some(percent) if percent > 0.0 && percent <= f64::from(most) => {
            Ok((percent * 10_000.0).round().max(1.0) as u32)
        }
        _ => Err(format!("not a share; write 1%, 0.1% or up to {most}%")),
    }
}

/// A number of bytes: `64MiB`, `1GiB`.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || "not a size; write 512MiB or 2GiB".to_owned();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match text.get(digits.len()..) {
        Some("" | "B") => 1,
        Some("KiB" | "K") => 1 << 10,
        Some("MiB" | "M") => 1 << 20,
        Some("GiB" | "G") => 1 << 30,
        Some("TiB" | "T") => 1 << 40,
        _ => return Err(wrong()),
    };
    digits.parse::<u64>().ok().and_then(|digits| digits.checked_mul(unit)).ok_or_else(wrong)
}
