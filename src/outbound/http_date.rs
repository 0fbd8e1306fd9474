//! Dates in HTTP headers, RFC 9110 section 5.6.7: three forms, all of them still sent.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

/// Reads an HTTP date; `None` if it is none.
pub fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    // The weekday's name is not checked: servers get it wrong, and nothing hangs on it.
    if let Some((_, rest)) = text.split_once(", ") {
        let zoneless = rest.strip_suffix(" GMT").or_else(|| rest.strip_suffix(" UTC")).or_else(|| rest.strip_suffix(" +0000"))?;
        return in_utc("%d %b %Y %H:%M:%S", zoneless).or_else(|| in_utc("%d-%b-%y %H:%M:%S", zoneless));
    }
    let (_, rest) = text.split_once(' ')?;
    in_utc("%b %e %H:%M:%S %Y", rest.trim_start())
}

fn in_utc(format: &str, text: &str) -> Option<Timestamp> {
    let civil: DateTime = strtime::parse(format, text).ok()?.to_datetime().ok()?;
    TimeZone::UTC.to_timestamp(civil).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_forms_are_read() {
        let expected: Timestamp = "1994-11-06T08:49:37Z".parse().unwrap();
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            " Mon, 06 Nov 1994 08:49:37 UTC ",
        ] {
            assert_eq!(parse(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn junk_is_none() {
        for text in [
            "",
            "now",
            "120",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 36 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 08:49:37 CEST",
            ", ",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
