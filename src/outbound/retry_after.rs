//! `Retry-After`, RFC 9110 section 10.2.3, in every form that is sent.

use std::time::Duration;

use ::http::HeaderMap;
use ::http::header::{DATE, RETRY_AFTER};
use jiff::Timestamp;

use super::http_date;

/// Longer requests for patience are taken for this one: a mistake of the server must not stop a job for years.
pub const PATIENCE_MAX: Duration = Duration::from_secs(24 * 3600);

/// How long an answer asks to wait; zero where the moment has passed. `None` without the header, or where it makes no sense.
pub fn patience(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Some(seconds) = seconds(text) {
        return Some(seconds);
    }
    let at = http_date::parse(text)?;
    // The moment is one of the server's clock, so it is compared with what the server says the time is.
    let date = headers.get(DATE).and_then(|date| http_date::parse(date.to_str().ok()?));
    let wait = at.duration_since(date.unwrap_or(now));
    Some(Duration::try_from(wait).unwrap_or(Duration::ZERO).min(PATIENCE_MAX))
}

/// Decimals and negative numbers are not allowed by the RFC, and sent.
fn seconds(text: &str) -> Option<Duration> {
    // Words that a float's parser takes for numbers are not meant as such.
    if !text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e' | b'E')) {
        return None;
    }
    let seconds: f64 = text.parse().ok()?;
    Some(Duration::from_secs_f64(seconds.clamp(0.0, PATIENCE_MAX.as_secs_f64())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(retry_after: &str, date: Option<&str>) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, retry_after.parse().unwrap());
        if let Some(date) = date {
            headers.insert(DATE, date.parse().unwrap());
        }
        patience(&headers, "1994-11-06T08:00:00Z".parse().unwrap())
    }

    #[test]
    fn seconds_in_every_form() {
        //
        assert_eq!(asked("5", None), Some(Duration::from_secs(5)));
        assert_eq!(asked("1.5", None), Some(Duration::from_millis(1500)));
        assert_eq!(asked("0", None), Some(Duration::ZERO));
        assert_eq!(asked("-1", None), Some(Duration::ZERO));
        assert_eq!(asked("1e9", None), Some(PATIENCE_MAX));
        assert_eq!(asked("1000000000", None), Some(PATIENCE_MAX));
        assert_eq!(asked("99999999999999999999999999", None), Some(PATIENCE_MAX));
        for junk in ["abc", "", "inf", "nan", "5 s", "--1", "1e"] {
            assert_eq!(asked(junk, None), None, "{junk}");
        }
    }

    #[test]
    fn dates_are_compared_with_the_servers_own() {
        //
        let at = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(asked(at, Some("Sun, 06 Nov 1994 08:49:07 GMT")), Some(Duration::from_secs(30)));
        assert_eq!(asked(at, Some("Sunday, 06-Nov-94 08:49:07 GMT")), Some(Duration::from_secs(30)));
        assert_eq!(asked(at, None), Some(Duration::from_secs(49 * 60 + 37)));
        assert_eq!(asked(at, Some("junk")), Some(Duration::from_secs(49 * 60 + 37)));
        assert_eq!(asked(at, Some("Sun, 06 Nov 1994 09:49:07 GMT")), Some(Duration::ZERO));
        assert_eq!(asked("Fri, 06 Nov 2099 08:49:37 GMT", None), Some(PATIENCE_MAX));
    }
}
