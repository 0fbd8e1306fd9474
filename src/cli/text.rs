//! How numbers, sizes and lengths of time are written for people.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, Unit};

pub use crate::printable::{one_line, printable, shortened};

/// `1234567` as `1,234,567`.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `3 files`, `1 file`.
pub fn counted(number: u64, noun: &str) -> String {
    match number {
        1 => format!("1 {noun}"),
        _ => format!("{} {noun}s", thousands(number)),
    }
}

/// A size in bytes as `999 B`, `12.3 KiB`, `4.0 GiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A length of time as `340ms`, `3.2s`, `2m 05s`, `3h 10m`, `4d 6h`.
pub fn length(length: Duration) -> String {
    let seconds = length.as_secs();
    match seconds {
        0 => format!("{}ms", length.as_millis()),
        1..=59 => format!("{:.1}s", length.as_secs_f64()),
        60..=3599 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3600..=86_399 => format!("{}h {:02}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// How long ago something was: `3m 10s ago`; the future is `in 5.0s`.
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    let past: SignedDuration = now.duration_since(then);
    let text = length(past.unsigned_abs());
    if past.is_negative() { format!("in {text}") } else { format!("{text} ago") }
}

/// An instant to the second, UTC: `2018-02-07 01:45:04`.
pub fn instant(at: Timestamp) -> String {
    let rounded = at.round(jiff::TimestampRound::new().smallest(Unit::Second).mode(jiff::RoundMode::Trunc));
    rounded.unwrap_or(at).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        let written = [0, 7, 999, 1000, 12_345, 1_234_567].map(thousands);
        assert_eq!(written, ["0", "7", "999", "1,000", "12,345", "1,234,567"]);
        assert_eq!(
            (counted(1, "file"), counted(0, "row"), counted(1707, "row")),
            ("1 file".into(), "0 rows".into(), "1,707 rows".into())
        );
    }

    #[test]
    fn sizes_change_unit_before_they_grow_to_four_digits() {
        let written = [0, 1023, 1024, 1536, 1_048_575, 1_048_576, u64::MAX].map(size);
        assert_eq!(written, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "1.0 MiB", "16384.0 PiB"]);
    }

    #[test]
    fn lengths_have_two_figures_at_most() {
        let written = [0, 340, 3_200, 65_000, 3_600_000, 90_000_000].map(|ms| length(Duration::from_millis(ms)));
        assert_eq!(written, ["0ms", "340ms", "3.2s", "1m 05s", "1h 00m", "1d 1h"]);
    }

    #[test]
    fn instants_are_cut_to_the_second() {
        let at: Timestamp = "2018-02-07T01:45:04.877Z".parse().expect("instant");
        assert_eq!(instant(at), "2018-02-07 01:45:04");
        assert_eq!(ago(at, at + SignedDuration::from_secs(65)), "1m 05s ago");
    }
}
