//! Counts, and moments in every form that a reset is sent in.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::outbound::http_date;

use super::LENGTH_MAX;

/// Reads "100", "49.0", and the first of "100, 100;w=60"; `None` for what is below zero or no number.
pub(super) fn count(text: &str) -> Option<u64> {
    let end = text.find([',', ';']).unwrap_or(text.len());
    // Casting stops at the type's end.
    plain(text[..end].trim()).map(|number| number as u64)
}

/// How long after the answer a window begins anew. A number is a length in seconds or a moment since 1970, in seconds or
/// milliseconds: which one is seen by its size, since a moment of this century is far longer than any window. Besides, a length
/// with units ("6m0s"), an HTTP date and RFC 3339. `date` is the server's clock: moments are its own.
pub(super) fn reset(text: &str, date: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let Some(number) = plain(text) else {
        let moment = || http_date::parse(text).or_else(|| text.parse::<Timestamp>().ok());
        return with_units(text).or_else(|| until(moment()?, date));
    };
    if number <= LENGTH_MAX.as_secs_f64() {
        return Some(Duration::from_secs_f64(number));
    }
    let since_1970 = |seconds: f64| Timestamp::UNIX_EPOCH.checked_add(SignedDuration::try_from_secs_f64(seconds).ok()?).ok();
    [number, number / 1000.0].into_iter().find_map(|seconds| until(since_1970(seconds)?, date))
}

/// Zero where the moment has just passed; `None` where it is so far off that it must mean something else.
fn until(moment: Timestamp, date: Timestamp) -> Option<Duration> {
    const PASSED_MAX: SignedDuration = SignedDuration::from_hours(24);
    let wait = moment.duration_since(date);
    if wait < -PASSED_MAX {
        return None;
    }
    let wait = Duration::try_from(wait).unwrap_or(Duration::ZERO);
    (wait <= LENGTH_MAX).then_some(wait)
}

/// Digits with an optional fraction: signs, exponents and words are not meant as numbers.
pub(super) fn plain(text: &str) -> Option<f64> {
    let begins_well = text.starts_with(|c: char| c.is_ascii_digit());
    let fits = begins_well && text.len() <= 40 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    text.parse().ok().filter(|_| fits)
}

/// "20ms", "7.66s", "6m0s", "1h2m".
fn with_units(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let (number, tail) = rest.split_at(unit_at);
        let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let seconds = match &tail[..end] {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        total += plain(number)? * seconds;
        rest = &tail[end..];
    }
    (!text.is_empty() && total <= LENGTH_MAX.as_secs_f64()).then(|| Duration::from_secs_f64(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        for (text, expected) in [("100", 100), ("0", 0), ("586.9", 586), ("100, 100;w=60", 100), ("40;w=1", 40)] {
            assert_eq!(count(text), Some(expected), "{text}");
        }
        assert_eq!(count("99999999999999999999999999"), Some(u64::MAX));
        for text in ["", "-1", "+1", "1e3", "inf", "nan", "many", "1 000", ",5", "1.2.3", "."] {
            assert_eq!(count(text), None, "{text}");
        }
    }

    #[test]
    fn resets() {
        //
        let date: Timestamp = "2026-05-04T12:00:00Z".parse().unwrap();
        let epoch = date.as_second();
        for (text, expected) in [
            ("30".to_owned(), 30.0),
            ("0".to_owned(), 0.0),
            ("1.5".to_owned(), 1.5),
            ("86400".to_owned(), 86_400.0),
            ((epoch + 42).to_string(), 42.0),
            (format!("{}.25", epoch + 42), 42.25),
            ((epoch * 1000 + 42_500).to_string(), 42.5),
            ((epoch - 3).to_string(), 0.0),
            ("Mon, 04 May 2026 12:01:00 GMT".to_owned(), 60.0),
            ("2026-05-04T12:00:30Z".to_owned(), 30.0),
            ("2026-05-04T14:00:30+02:00".to_owned(), 30.0),
            ("6m0s".to_owned(), 360.0),
            ("20ms".to_owned(), 0.02),
            ("7.66s".to_owned(), 7.66),
            ("1h2m".to_owned(), 3720.0),
        ] {
            assert_eq!(reset(&text, date).map(|reset| reset.as_secs_f64()), Some(expected), "{text}");
        }
        let years_off = ["9999999999", "1000000000", "4000000", "Mon, 04 May 2099 12:01:00 GMT", "2020-01-01T00:00:00Z", "800h"];
        let junk = ["", "-1", "soon", "1e9", "nan", "5x", "s", "2026-05-04 12:00:30", "1s 2s"];
        for text in years_off.iter().chain(&junk) {
            assert_eq!(reset(text, date), None, "{text}");
        }
    }
}
