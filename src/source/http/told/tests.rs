//! What the dialects have in common, and what no answer can do.

use std::time::Duration;

use ::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use proptest::prelude::*;

use crate::outbound::retry_after::PATIENCE_MAX;
use crate::quota::told::RefusalCause::{Overload, Rate, Spent};
use crate::quota::told::{Refusal, RefusalCause, Told, ToldLimit, ToldShape};

use super::{LENGTH_MAX, LIMITS_MAX, NAME_MAX, SIZE_MAX, read};

/// What an answer with these header lines tells; ours is another clock than the server's.
pub(super) fn told(status: u16, lines: &str, body: &str) -> Told {
    let mut headers = HeaderMap::new();
    for line in lines.lines() {
        let (name, value) = line.split_once(':').unwrap();
        headers.append(name.parse::<HeaderName>().unwrap(), value.trim().parse().unwrap());
    }
    read(StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes(), "2026-05-04T13:00:00Z".parse().unwrap())
}

/// Lengths in seconds.
pub(super) fn window(name: &str, size: Option<u64>, left: Option<u64>, per: Option<u64>, reset: Option<u64>) -> ToldLimit {
    let shape = ToldShape::Window { per: per.map(Duration::from_secs), reset: reset.map(Duration::from_secs) };
    ToldLimit { name: name.to_owned(), size, left, shape }
}

pub(super) fn bucket(name: &str, size: u64, left: u64, per_second: f64) -> ToldLimit {
    ToldLimit { name: name.to_owned(), size: Some(size), left: Some(left), shape: ToldShape::Bucket { per_second } }
}

pub(super) fn concurrency(name: &str, size: Option<u64>, left: Option<u64>) -> ToldLimit {
    ToldLimit { name: name.to_owned(), size, left, shape: ToldShape::Concurrency }
}

pub(super) fn refusal(cause: RefusalCause, patience: Option<u64>, limit: &str) -> Option<Refusal> {
    Some(Refusal { cause, patience: patience.map(Duration::from_secs), limit: limit.to_owned() })
}

#[test]
fn an_answer_that_says_nothing() {
    assert_eq!(told(200, "Date: Mon, 04 May 2026 12:00:00 GMT\nContent-Type: text/plain", ""), Told::default());
    for status in [301, 304, 400, 401, 403, 404, 500, 502] {
        assert_eq!(told(status, "", "no").refusal, None, "{status}");
    }
}

#[test]
fn what_refuses_by_its_status() {
    assert_eq!(told(429, "", "").refusal, refusal(Rate, None, ""));
    assert_eq!(told(429, "Retry-After: 5", "").refusal, refusal(Rate, Some(5), ""));
    //
    for status in [503, 529] {
        assert_eq!(told(status, "", "").refusal, refusal(Overload, None, ""));
        assert_eq!(told(status, "Retry-After: 5", "").refusal, refusal(Overload, Some(5), ""));
    }
    for status in [408, 425, 500, 502, 504, 520, 524] {
        assert_eq!(told(status, "Retry-After: 5", "").refusal, refusal(Overload, Some(5), ""), "{status}");
    }
    //
    assert_eq!(told(403, "Retry-After: 5", "").refusal, refusal(Rate, Some(5), ""));
    for status in [200, 302, 400, 401, 404, 501] {
        assert_eq!(told(status, "Retry-After: 5", "").refusal, None, "{status}");
    }
}

#[test]
fn retry_after_that_makes_no_sense() {
    //
    for (asked, expected) in [("0", Some(0)), ("-1", Some(0)), ("abc", None), ("1e9", Some(24 * 3600))] {
        assert_eq!(told(429, &format!("Retry-After: {asked}"), "").refusal, refusal(Rate, expected, ""));
    }
    let half = told(429, "Retry-After: 1.5", "").refusal.unwrap();
    assert_eq!(half.patience, Some(Duration::from_millis(1500)));
    let past = "Date: Mon, 04 May 2026 12:00:00 GMT\nRetry-After: Mon, 04 May 2026 11:59:00 GMT";
    assert_eq!(told(429, past, "").refusal, refusal(Rate, Some(0), ""));
    // What makes no sense does not hide what does.
    let lines = "Retry-After: abc\nRateLimit: \"a\";r=0;t=9";
    assert_eq!(told(429, lines, "").refusal, refusal(Rate, Some(9), "a"));
}

#[test]
fn retry_after_wins_over_every_reset() {
    //
    for reset in ["RateLimit: \"a\";r=0;t=90", "RateLimit: \"a\";r=0;t=1"] {
        let told = told(429, &format!("Retry-After: 7\n{reset}"), "");
        assert_eq!(told.refusal, refusal(Rate, Some(7), "a"));
    }
}

#[test]
fn of_what_is_spent_the_longest_counts() {
    //
    let lines = "RateLimit-Policy: \"burst\";q=10;w=1, \"hour\";q=1000;w=3600, \"wide\";q=9;w=60\nRateLimit: \"burst\";r=0;t=1, \"hour\";r=0;t=1800, \"wide\";r=3;t=3000";
    assert_eq!(told(429, lines, "").refusal, refusal(Rate, Some(1800), "hour"));
    let left = "RateLimit: \"a\";r=1;t=90";
    assert_eq!(told(429, left, "").refusal, refusal(Rate, None, ""), "what is not spent did not refuse");
    let day = "X-RateLimit-Limit-Day: 100\nX-RateLimit-Remaining-Day: 0";
    assert_eq!(told(429, day, "").refusal, refusal(Spent, None, "day"));
    // An overload has nothing to do with what is left.
    assert_eq!(told(503, left, "").refusal, refusal(Overload, None, ""));
    assert_eq!(told(503, "RateLimit: \"a\";r=0;t=90", "").refusal, refusal(Overload, None, ""));
}

#[test]
fn two_dialects_of_one_limit_are_one() {
    let lines = "RateLimit-Limit: 100\nRateLimit-Remaining: 9\nRateLimit-Reset: 50\nX-RateLimit-Limit: 100\nX-RateLimit-Remaining: 9\nX-RateLimit-Reset: 1777896050\nDate: Mon, 04 May 2026 12:00:00 GMT";
    assert_eq!(told(200, lines, "").limits, [window("", Some(100), Some(9), None, Some(50))]);
    let halves = "RateLimit-Policy: 100;w=60\nX-RateLimit-Limit: 100\nX-RateLimit-Remaining: 9\nX-RateLimit-Reset: 50";
    assert_eq!(told(200, halves, "").limits, [window("", Some(100), Some(9), Some(60), Some(50))]);
    let others = "RateLimit-Policy: 100;w=60\nX-RateLimit-Limit: 5\nX-RateLimit-Remaining: 4";
    assert_eq!(told(200, others, "").limits, [window("", Some(100), None, Some(60), None)], "those are two limits of one name");
    let github = "RateLimit: \"core\";r=7;t=5\nX-RateLimit-Resource: core\nX-RateLimit-Limit: 60\nX-RateLimit-Remaining: 7";
    assert_eq!(told(200, github, "").limits, [window("core", Some(60), Some(7), None, Some(5))]);
}

#[test]
fn a_redirect_tells_as_much_as_a_page() {
    //
    let told = told(302, "Location: /x\nX-RateLimit-Limit: 60\nX-RateLimit-Remaining: 59", "");
    assert_eq!((told.limits, told.refusal), (vec![window("", Some(60), Some(59), None, None)], None));
}

#[test]
fn what_a_cache_kept_is_old() {
    //
    let lines = "X-RateLimit-Limit: 60\nX-RateLimit-Remaining: 0\nX-RateLimit-Reset: 9";
    assert_eq!(told(200, &format!("Age: 30\n{lines}"), "").limits, []);
    assert_eq!(told(200, &format!("Age: 0\n{lines}"), "").limits.len(), 1);
    assert_eq!(told(429, &format!("Age: 30\n{lines}"), "").refusal, refusal(Rate, None, ""));
}

#[test]
fn nothing_grows_without_bound() {
    //
    let policies: String = (0..500).map(|n| format!("\"p{n}\";q=5;w=1,")).collect();
    let lines = format!("RateLimit-Policy: {}", policies.trim_end_matches(','));
    assert_eq!(told(200, &lines, "").limits, [], "nobody sends so much");
    let policies: String = (0..40).map(|n| format!("\"p{n}\";q=5;w=1,")).collect();
    let lines = format!("RateLimit-Policy: {}", policies.trim_end_matches(','));
    assert_eq!(told(200, &lines, "").limits.len(), LIMITS_MAX);
    let lines = format!("RateLimit-Policy: \"{}\";q=999999999999999;w=999999999999999", "N".repeat(300));
    assert_eq!(
        told(200, &lines, "").limits,
        [window(&"n".repeat(NAME_MAX), Some(SIZE_MAX), None, Some(LENGTH_MAX.as_secs()), None)]
    );
}

/// The headers that any dialect looks at, and what stands in them.
fn lines() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let name = prop_oneof![
        Just("ratelimit"),
        Just("ratelimit-policy"),
        Just("ratelimit-limit"),
        Just("ratelimit-remaining"),
        Just("ratelimit-reset"),
        Just("x-ratelimit-limit"),
        Just("x-ratelimit-remaining"),
        Just("x-ratelimit-reset"),
        Just("x-ratelimit-reset-after"),
        Just("x-ratelimit-interval-seconds"),
        Just("x-ratelimit-fillrate"),
        Just("x-ratelimit-limit-day"),
        Just("x-ratelimit-remaining-day"),
        Just("x-ratelimit-resource"),
        Just("x-shopify-shop-api-call-limit"),
        Just("x-hubspot-ratelimit-max"),
        Just("x-hubspot-ratelimit-interval-milliseconds"),
        Just("sforce-limit-info"),
        Just("stripe-rate-limited-reason"),
        Just("retry-after"),
        Just("date"),
        Just("age"),
    ];
    let value = prop_oneof![
        any::<Vec<u8>>(),
        "[0-9]{1,25}".prop_map(String::into_bytes),
        "[0-9]{1,8}[./][0-9]{0,20}".prop_map(String::into_bytes),
        "(\"[a-c]\"|[a-c]|[0-9]{1,15});[qr]=[0-9]{1,15};[wt]=[0-9]{1,15}".prop_map(String::into_bytes),
        "limit=[0-9]{1,15}, remaining=[0-9]{1,15}, reset=[0-9]{1,15}".prop_map(String::into_bytes),
        "[a-z-]{1,9}=[0-9]{1,20}/[0-9]{1,20}[(;,]".prop_map(String::into_bytes),
        "[0-9]{1,9}(ms|s|m|h|d)[0-9]{0,20}".prop_map(String::into_bytes),
        "(Mon, )?[0-3][0-9] (Jan|May) (1970|2026|9999) 23:59:(59|60) GMT".prop_map(String::into_bytes),
        "(-?0001|2026|9999)-12-31T23:59:59(Z|[+-]25:00)".prop_map(String::into_bytes),
    ];
    prop::collection::vec((name.prop_map(str::to_owned), value), 0..12)
}

proptest! {
    #[test]
    fn no_answer_panics_or_leaves_its_bounds(
        lines in lines(),
        status in prop_oneof![Just(200u16), Just(302), Just(403), Just(429), Just(503), 100u16..600],
        body in prop_oneof![any::<Vec<u8>>(), "[\\[{\"a:,}\\]]{0,40}".prop_map(String::into_bytes)],
        now in -377_705_023_201i64..=253_402_207_200,
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.append(name.parse::<HeaderName>().unwrap(), value);
            }
        }
        let told = read(StatusCode::from_u16(status).unwrap(), &headers, &body, jiff::Timestamp::from_second(now).unwrap());
        prop_assert!(told.limits.len() <= LIMITS_MAX);
        for (index, limit) in told.limits.iter().enumerate() {
            prop_assert!(limit.size.is_some() || limit.left.is_some());
            prop_assert!(limit.size.unwrap_or(0) <= SIZE_MAX && limit.left.unwrap_or(0) <= limit.size.unwrap_or(SIZE_MAX));
            prop_assert!(limit.name.chars().count() <= NAME_MAX && !limit.name.contains(char::is_control));
            prop_assert!(told.limits[..index].iter().all(|other| other.name != limit.name));
            match limit.shape {
                ToldShape::Window { per, reset } => {
                    prop_assert!(per.is_none_or(|per| !per.is_zero() && per <= LENGTH_MAX));
                    prop_assert!(reset.is_none_or(|reset| reset <= LENGTH_MAX));
                }
                ToldShape::Bucket { per_second } | ToldShape::Points { per_second } => {
                    prop_assert!(per_second > 0.0 && per_second <= SIZE_MAX as f64);
                }
                ToldShape::Concurrency => {}
            }
        }
        if let Some(refusal) = told.refusal {
            prop_assert!(status >= 400 && refusal.patience.is_none_or(|patience| patience <= PATIENCE_MAX));
            prop_assert!(refusal.limit.chars().count() <= NAME_MAX);
        } else {
            prop_assert!(!matches!(status, 429 | 503 | 529));
        }
    }
}
