//! HubSpot (developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines): `X-HubSpot-RateLimit-*`, and 429 with a body
//! whose `policyName` tells the ten seconds' limit from the day's. The day ends at midnight in the account's time zone, which no
//! answer names, so that the daily limit has no reset.

use std::time::Duration;

use crate::quota::told::{Refusal, RefusalCause, ToldLimit, ToldShape};

use super::answer::Answer;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);

pub(super) fn limits(answer: &Answer<'_>) -> Vec<ToldLimit> {
    let family = answer.family("x-hubspot-ratelimit-");
    if family.is_empty() {
        return Vec::new();
    }
    let count = |part: &str| family.count(&[part]);
    let limit = |name: &str, size: &str, left: &str, per| ToldLimit {
        name: name.to_owned(),
        size: count(size),
        left: count(left),
        shape: ToldShape::Window { per, reset: None },
    };
    let interval = count("interval-milliseconds").map(Duration::from_millis);
    let mut limits = vec![
        limit("interval", "max", "remaining", interval),
        limit("secondly", "secondly", "secondly-remaining", Some(SECOND)),
        limit("daily", "daily", "daily-remaining", Some(DAY)),
    ];
    limits.retain(|limit| limit.size.is_some() || limit.left.is_some());
    limits
}

pub(super) fn refusal(answer: &Answer<'_>) -> Option<Refusal> {
    if answer.status.as_u16() != 429 {
        return None;
    }
    let body = answer.json()?;
    let policy = body.get("policyName")?.as_str()?;
    let (cause, patience) = match policy {
        "DAILY" => (RefusalCause::Spent, None),
        // The windows roll: after their length nothing of what was refused counts any more.
        "TEN_SECONDLY_ROLLING" => (RefusalCause::Rate, Some(10 * SECOND)),
        "SECONDLY" => (RefusalCause::Rate, Some(SECOND)),
        _ => (RefusalCause::Rate, None),
    };
    Some(Refusal { cause, patience, limit: policy.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{refusal, told, window};
    use crate::quota::told::RefusalCause::{Rate, Spent};

    const HEADERS: &str = "X-HubSpot-RateLimit-Daily: 250000\nX-HubSpot-RateLimit-Daily-Remaining: 249000\nX-HubSpot-RateLimit-Interval-Milliseconds: 10000\nX-HubSpot-RateLimit-Max: 100\nX-HubSpot-RateLimit-Remaining: 99\nX-HubSpot-RateLimit-Secondly: 10\nX-HubSpot-RateLimit-Secondly-Remaining: 9";

    fn body(policy: &str) -> String {
        format!(
            r#"{{"status":"error","message":"You have reached your limit.","errorType":"RATE_LIMIT","policyName":"{policy}"}}"#
        )
    }

    #[test]
    fn three_limits() {
        let all = [
            window("interval", Some(100), Some(99), Some(10), None),
            window("secondly", Some(10), Some(9), Some(1), None),
            window("daily", Some(250_000), Some(249_000), Some(86_400), None),
        ];
        assert_eq!(told(200, HEADERS, "").limits, all);
        let oauth =
            "X-HubSpot-RateLimit-Max: 110\nX-HubSpot-RateLimit-Remaining: x\nX-HubSpot-RateLimit-Interval-Milliseconds: 0";
        assert_eq!(told(200, oauth, "").limits, [window("interval", Some(110), None, None, None)]);
    }

    #[test]
    fn the_day_and_the_ten_seconds_are_told_apart() {
        // R-21
        let policy = |policy: &str| told(429, HEADERS, &body(policy)).refusal;
        assert_eq!(policy("TEN_SECONDLY_ROLLING"), refusal(Rate, Some(10), "TEN_SECONDLY_ROLLING"));
        assert_eq!(policy("SECONDLY"), refusal(Rate, Some(1), "SECONDLY"));
        assert_eq!(policy("DAILY"), refusal(Spent, None, "DAILY"));
        assert_eq!(policy("OTHER"), refusal(Rate, None, "OTHER"));
        assert_eq!(told(429, HEADERS, "<html>").refusal, refusal(Rate, None, ""));
        assert_eq!(told(403, HEADERS, &body("DAILY")).refusal, None);
    }
}
