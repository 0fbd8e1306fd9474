//! `X-RateLimit-*` and its cousins, which nobody ever wrote down in one place. What is understood, and who sends it:
//!
//! - `X-RateLimit-Limit`, `-Remaining`, `-Reset`, and `X-Rate-Limit-*`: GitHub (docs.github.com/rest/using-the-rest-api), X, Okta
//!   and most others. `X-RateLimit-Resource` (GitHub) and `X-RateLimit-Bucket` (Discord) name the limit.
//! - `-Reset-After`: Discord (docs.discord.com/developers/topics/rate-limits). A length, which beats the moment in `-Reset`.
//! - `-Limit-Minute`, `-Remaining-Minute` and other units: Kong (developer.konghq.com/plugins/rate-limiting). `-Limit-Daily` and
//!   `-Daily-Remaining`, `-Max`, `-Interval-Milliseconds`: HighLevel (marketplace.gohighlevel.com/docs/other/rate-limits).
//! - `-Limit-Requests`, `-Remaining-Requests`, `-Reset-Requests`: OpenAI; `-Requests-Limit` and so on: RapidAPI. What counts tokens
//!   is no matter of ours.
//! - `-FillRate` with `-Interval-Seconds`: Jira's bucket (developer.atlassian.com/cloud/jira/platform/rate-limiting).

use std::time::Duration;

use jiff::Timestamp;

use crate::quota::told::{ToldLimit, ToldShape};

use super::answer::{Answer, Family};
use super::number;

const PREFIXES: [&str; 2] = ["x-ratelimit", "x-rate-limit"];

/// Name of the limit, the words that say so, and its window, seconds. A month is taken for its longest.
const WINDOWS: [(&str, &[&str], u64); 5] = [
    ("second", &["second"], 1),
    ("minute", &["minute"], 60),
    ("hour", &["hour"], 3600),
    ("day", &["day", "daily"], 86_400),
    ("month", &["month"], 31 * 86_400),
];

pub(super) fn limits(answer: &Answer<'_>) -> Vec<ToldLimit> {
    PREFIXES.iter().flat_map(|prefix| of_prefix(answer, prefix)).collect()
}

fn of_prefix(answer: &Answer<'_>, prefix: &str) -> Vec<ToldLimit> {
    let family = answer.family(prefix);
    if family.is_empty() {
        return Vec::new();
    }
    let mut limits = vec![plain(&family, answer.date)];
    limits.push(both_ways(&family, answer.date, "requests", "requests", None));
    for (name, words, seconds) in WINDOWS {
        let per = Some(Duration::from_secs(seconds));
        limits.extend(words.iter().map(|word| both_ways(&family, answer.date, name, word, per)));
    }
    limits.retain(|limit| limit.size.is_some() || limit.left.is_some());
    limits
}

/// The limit that has no word in its headers' names.
fn plain(family: &Family<'_>, date: Timestamp) -> ToldLimit {
    let text = |part: &str| family.text(&["-", part]);
    let count = |part: &str| text(part).and_then(number::count);
    let per = count("interval-seconds").map(Duration::from_secs).or(count("interval-milliseconds").map(Duration::from_millis));
    let reset_after = text("reset-after").and_then(|text| number::reset(text, date));
    let reset = reset_after.or_else(|| number::reset(text("reset")?, date));
    let shape = match (text("fillrate").and_then(number::plain), per) {
        (Some(fill), Some(per)) if !per.is_zero() => ToldShape::Bucket { per_second: fill / per.as_secs_f64() },
        _ => ToldShape::Window { per: per.or_else(|| window_of(text("limit")?)), reset },
    };
    ToldLimit {
        name: text("resource").or_else(|| text("bucket")).unwrap_or_default().to_owned(),
        size: count("limit").or_else(|| count("max")).or_else(|| family.count(&[])),
        left: count("remaining"),
        shape,
    }
}

/// The word stands before or behind what it is about.
fn both_ways(family: &Family<'_>, date: Timestamp, name: &str, word: &str, per: Option<Duration>) -> ToldLimit {
    let text = |part: &str| family.text(&["-", part, "-", word]).or_else(|| family.text(&["-", word, "-", part]));
    ToldLimit {
        name: name.to_owned(),
        size: text("limit").and_then(number::count),
        left: text("remaining").and_then(number::count),
        shape: ToldShape::Window { per, reset: text("reset").and_then(|text| number::reset(text, date)) },
    }
}

/// Of "100, 100;w=60" the window of the first policy that is that limit's.
fn window_of(limit: &str) -> Option<Duration> {
    let size = number::count(limit)?;
    let policies = limit.split(',').filter_map(|policy| policy.trim().split_once(";w="));
    let mut of_size = policies.filter(|(quota, _)| number::count(quota) == Some(size));
    of_size.next().and_then(|(_, window)| number::count(window)).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{bucket, told, window};

    const DATE: &str = "Date: Mon, 04 May 2026 12:00:00 GMT";

    #[test]
    fn three_headers_and_their_cousins() {
        //
        for (lines, expected) in [
            (
                "X-RateLimit-Limit: 100\nX-RateLimit-Remaining: 99\nX-RateLimit-Reset: 30",
                window("", Some(100), Some(99), None, Some(30)),
            ),
            (
                "x-rate-limit-limit: 900\nx-rate-limit-remaining: 899\nx-rate-limit-reset: 1777896900",
                window("", Some(900), Some(899), None, Some(900)),
            ),
            (
                "X-RateLimit-Limit: 5\nX-RateLimit-Remaining: 4\nX-RateLimit-Reset: 1777896001.5\nX-RateLimit-Reset-After: 1\nX-RateLimit-Bucket: abcd1234",
                window("abcd1234", Some(5), Some(4), None, Some(1)),
            ),
            ("X-RateLimit-Limit: 10\nX-RateLimit-Reset: 1777896060000", window("", Some(10), None, None, Some(60))),
            ("X-Rate-Limit: 700\nX-Rate-Limit-Remaining: 0", window("", Some(700), Some(0), None, None)),
            ("X-RateLimit-Limit: 100, 100;w=60\nX-RateLimit-Remaining: 1", window("", Some(100), Some(1), Some(60), None)),
            ("X-RateLimit-Remaining: 586.0\nX-RateLimit-Reset: 240", window("", None, Some(586), None, Some(240))),
            (
                "X-RateLimit-Limit: 100\nX-RateLimit-Reset: Mon, 04 May 2026 12:02:00 GMT",
                window("", Some(100), None, None, Some(120)),
            ),
            (
                "X-RateLimit-Max: 100\nX-RateLimit-Remaining: 98\nX-RateLimit-Interval-Milliseconds: 10000",
                window("", Some(100), Some(98), Some(10), None),
            ),
            (
                "X-RateLimit-Limit: 50\nX-RateLimit-Remaining: 20\nX-RateLimit-FillRate: 10\nX-RateLimit-Interval-Seconds: 5",
                bucket("", 50, 20, 2.0),
            ),
        ] {
            assert_eq!(told(200, &format!("{DATE}\n{lines}"), "").limits, [expected], "{lines}");
        }
    }

    #[test]
    fn a_window_in_the_name() {
        let kong = "X-RateLimit-Limit-Minute: 10\nX-RateLimit-Remaining-Minute: 9\nX-RateLimit-Limit-Hour: 500\nX-RateLimit-Remaining-Hour: 400";
        let minute = window("minute", Some(10), Some(9), Some(60), None);
        assert_eq!(told(200, kong, "").limits, [minute, window("hour", Some(500), Some(400), Some(3600), None)]);
        let daily = "X-RateLimit-Limit-Daily: 200000\nX-RateLimit-Daily-Remaining: 7";
        assert_eq!(told(200, daily, "").limits, [window("day", Some(200_000), Some(7), Some(86_400), None)]);
    }

    #[test]
    fn requests_beside_tokens() {
        let openai = "x-ratelimit-limit-requests: 60\nx-ratelimit-remaining-requests: 59\nx-ratelimit-reset-requests: 1m1s\nx-ratelimit-limit-tokens: 150000\nx-ratelimit-remaining-tokens: 1";
        assert_eq!(told(200, openai, "").limits, [window("requests", Some(60), Some(59), None, Some(61))]);
        let rapid = "X-RateLimit-Requests-Limit: 500\nX-RateLimit-Requests-Remaining: 0\nX-RateLimit-Requests-Reset: 86000";
        assert_eq!(told(200, rapid, "").limits, [window("requests", Some(500), Some(0), None, Some(86_000))]);
    }

    #[test]
    fn what_is_malformed_is_not_there() {
        //
        for lines in ["X-RateLimit-Limit: unlimited", "X-RateLimit-Remaining: -1", "X-RateLimit-Reset: 5", "X-RateLimit-Limit:"] {
            assert_eq!(told(200, lines, "").limits, [], "{lines}");
        }
        let told = told(200, "X-RateLimit-Limit: 100\nX-RateLimit-Remaining: ?\nX-RateLimit-Reset: 99999999999999", "");
        assert_eq!(told.limits, [window("", Some(100), None, None, None)]);
    }
}
