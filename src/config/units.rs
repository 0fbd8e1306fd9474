//! Durations "30s", sizes "64MiB", rates "100/min": read and written; percentages "2%": read.

use std::time::Duration;

use jiff::SignedDuration;

use super::catalog::Rate;

/// Longest duration that means anything here: a hundred years.
const DURATION_MAX_S: u64 = 100 * 366 * 86_400;

/// Milliseconds of each unit, longest first; the first name of a length is the one that is written.
const DURATION_UNITS: [(&str, u64); 7] =
    [("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("min", 60_000), ("s", 1_000), ("ms", 1)];

const SIZE_UNITS: [(&str, u64); 8] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Reads "30s", "1h30m", "0s": whole numbers with units, the units falling. A day is 24 hours.
pub fn parse_duration(text: &str) -> Option<SignedDuration> {
    let mut rest = text;
    let mut total_ms: u64 = 0;
    let mut last_unit = u64::MAX;
    while !rest.is_empty() {
        let (number, tail) = take_number(rest)?;
        let end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let unit = unit_of(&DURATION_UNITS, &tail[..end])?;
        if unit >= last_unit {
            return None;
        }
        total_ms = total_ms.checked_add(number.checked_mul(unit)?)?;
        last_unit = unit;
        rest = &tail[end..];
    }
    let empty = last_unit == u64::MAX;
    if empty || total_ms > DURATION_MAX_S * 1_000 {
        return None;
    }
    Some(SignedDuration::from_millis(i64::try_from(total_ms).ok()?))
}

/// Writes a duration as [`parse_duration`] reads it; below a millisecond nothing is written.
pub fn duration_text(duration: SignedDuration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(0);
    let mut text = String::new();
    for (name, unit) in DURATION_UNITS {
        if rest >= unit && name != "w" && name != "min" {
            text.push_str(&format!("{}{name}", rest / unit));
            rest %= unit;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Reads "64MiB", "500KB", "10B": a whole number with a unit.
pub fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = take_number(text)?;
    number.checked_mul(unit_of(&SIZE_UNITS, unit)?)
}

/// Writes a size as [`parse_size`] reads it, in the largest binary unit that is exact.
pub fn size_text(bytes: u64) -> String {
    let exact = SIZE_UNITS.iter().filter(|(name, _)| name.ends_with("iB"));
    for (name, unit) in exact {
        if bytes >= *unit && bytes.is_multiple_of(*unit) {
            return format!("{}{name}", bytes / unit);
        }
    }
    format!("{bytes}B")
}

/// Reads "100/min", "5000/h", "10/s", "100/10s".
pub fn parse_rate(text: &str) -> Option<Rate> {
    let (requests, per) = text.split_once('/')?;
    let requests = requests.parse::<u32>().ok().filter(|requests| *requests > 0 && plain_digits(text))?;
    let per = match per.starts_with(|c: char| c.is_ascii_digit()) {
        true => parse_duration(per)?,
        false => parse_duration(&format!("1{per}"))?,
    };
    let per = Duration::try_from(per).ok().filter(|per| !per.is_zero())?;
    Some(Rate { requests, per })
}

/// Writes a rate as [`parse_rate`] reads it.
pub fn rate_text(rate: &Rate) -> String {
    let per = SignedDuration::try_from(rate.per).unwrap_or(SignedDuration::MAX);
    let per = match duration_text(per).as_str() {
        "1m" => "min".to_owned(),
        text => match text.strip_prefix('1') {
            // "1h", not "10s" or "1h30m".
            Some(unit) if unit.chars().all(|c| c.is_ascii_alphabetic()) => unit.to_owned(),
            _ => text.to_owned(),
        },
    };
    format!("{}/{per}", rate.requests)
}

/// Reads "2%", "0.5%": the share that it is, from 0 to 1.
pub fn parse_percent(text: &str) -> Option<f64> {
    let number = text.strip_suffix('%')?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    // `f64::from_str` also takes signs, exponents and words.
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    number.parse::<f64>().ok().map(|percent| percent / 100.0).filter(|share| *share <= 1.0)
}

fn unit_of(units: &[(&str, u64)], name: &str) -> Option<u64> {
    units.iter().find(|(known, _)| *known == name).map(|(_, unit)| *unit)
}

fn take_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

/// `u32::from_str` also takes a leading plus sign; a rate has none.
fn plain_digits(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_durations() {
        for (text, seconds) in [("30s", 30), ("1d", 86_400), ("1h30m", 5_400), ("0s", 0), ("2w", 1_209_600), ("10min", 600)] {
            assert_eq!(parse_duration(text), Some(SignedDuration::from_secs(seconds)), "{text}");
        }
        for text in ["", "30", "s", "1m1h", "1s1s", "-1s", "1.5h", "1 d", "1y", "99999999999999999999s", "40000d", "1é"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn reads_sizes() {
        assert_eq!(parse_size("64MiB"), Some(64 << 20));
        assert_eq!(parse_size("500KB"), Some(500_000));
        for text in ["", "64", "MiB", "64 MiB", "64mib", "-1B", "99999999999TiB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn reads_rates() {
        let rate = |requests, seconds| Some(Rate { requests, per: Duration::from_secs(seconds) });
        assert_eq!(parse_rate("100/min"), rate(100, 60));
        assert_eq!(parse_rate("5000/h"), rate(5000, 3600));
        assert_eq!(parse_rate("10/s"), rate(10, 1));
        assert_eq!(parse_rate("100/10s"), rate(100, 10));
        for text in ["", "100", "0/s", "/s", "10/0s", "10/", "-1/s", "+1/s", "1.5/s", "10/fortnight"] {
            assert_eq!(parse_rate(text), None, "{text}");
        }
    }

    #[test]
    fn reads_percentages() {
        for (text, share) in [("2%", 0.02), ("0%", 0.0), ("100%", 1.0), ("0.5%", 0.005), ("12.25%", 0.1225), ("000%", 0.0)] {
            assert_eq!(parse_percent(text), Some(share), "{text}");
        }
        for text in ["", "%", "2", "2 %", "-1%", "+1%", "1e1%", "100.01%", ".5%", "5.%", "inf%", "NaN%", "2%%", "1,5%"] {
            assert_eq!(parse_percent(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(ms in 0..DURATION_MAX_S * 1_000, bytes: u64, requests in 1u32.., per_ms in 1..DURATION_MAX_S * 1_000) {
            let duration = SignedDuration::from_millis(ms as i64);
            prop_assert_eq!(parse_duration(&duration_text(duration)), Some(duration));
            prop_assert_eq!(parse_size(&size_text(bytes)), Some(bytes));
            let rate = Rate { requests, per: Duration::from_millis(per_ms) };
            prop_assert_eq!(parse_rate(&rate_text(&rate)), Some(rate));
        }

        #[test]
        fn no_text_panics(text: String) {
            std::hint::black_box((parse_duration(&text), parse_size(&text), parse_rate(&text), parse_percent(&text)));
        }
    }
}
