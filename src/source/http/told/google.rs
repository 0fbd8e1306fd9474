//! Google's APIs: what a 403 means stands in the body, as `reason` in `error.errors` (developers.google.com/workspace/drive/api/guides/handle-errors,
//! the form of most older APIs) or, in the newer form, as `error.status` and typed `error.details` (google.aip.dev/193), of which
//! `RetryInfo` says how long to wait and `ErrorInfo` which quota it is (cloud.google.com/apis/design/errors).

use std::time::Duration;

use serde_json::Value;

use crate::quota::told::{Refusal, RefusalCause};

use super::answer::Answer;
use super::number;

/// They pass within minutes.
const RATES: [&str; 4] = ["rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED"];
/// They come back another day.
const QUOTAS: [&str; 3] = ["dailyLimitExceeded", "quotaExceeded", "QUOTA_EXCEEDED"];

pub(super) fn refusal(answer: &Answer<'_>) -> Option<Refusal> {
    if !matches!(answer.status.as_u16(), 403 | 429) {
        return None;
    }
    let body = answer.json()?;
    let error = body.get("error")?;
    let reasons = reasons(error);
    let is_one_of = |known: &[&str]| reasons.iter().find(|reason| known.contains(*reason)).map(|reason| (*reason).to_owned());
    let quota = quota_name(error);
    let (cause, reason) = match (is_one_of(&QUOTAS), is_one_of(&RATES)) {
        (Some(reason), _) => (RefusalCause::Spent, reason),
        (None, Some(reason)) if quota.is_some_and(is_of_a_day) => (RefusalCause::Spent, reason),
        (None, Some(reason)) => (RefusalCause::Rate, reason),
        (None, None) => return None,
    };
    Some(Refusal { cause, patience: retry_delay(error), limit: quota.map_or(reason, str::to_owned) })
}

/// What the error calls itself, in both forms.
fn reasons(error: &Value) -> Vec<&str> {
    let entries = |key: &str| error.get(key).and_then(Value::as_array).into_iter().flatten();
    let texts = entries("errors").chain(entries("details")).filter_map(|entry| entry.get("reason"));
    texts.chain(error.get("status")).filter_map(Value::as_str).collect()
}

fn details<'e>(error: &'e Value, kind: &str) -> Option<&'e Value> {
    let is_it = |detail: &&Value| detail.get("@type").and_then(Value::as_str).is_some_and(|name| name.ends_with(kind));
    error.get("details")?.as_array()?.iter().find(is_it)
}

/// Such as `ReadRequestsPerMinutePerUser`.
fn quota_name(error: &Value) -> Option<&str> {
    details(error, "google.rpc.ErrorInfo")?.get("metadata")?.get("quota_limit")?.as_str()
}

fn is_of_a_day(quota: &str) -> bool {
    let quota = quota.to_ascii_lowercase();
    quota.contains("perday") || quota.ends_with("-1d")
}

/// Of "12s" or "1.5s" the length.
fn retry_delay(error: &Value) -> Option<Duration> {
    let text = details(error, "google.rpc.RetryInfo")?.get("retryDelay")?.as_str()?;
    Duration::try_from_secs_f64(number::plain(text.strip_suffix('s')?)?).ok()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{refusal, told};
    use crate::quota::told::RefusalCause::{Rate, Spent};

    fn old(reason: &str) -> String {
        format!(
            r#"{{"error":{{"errors":[{{"domain":"usageLimits","reason":"{reason}","message":"No."}}],"code":403,"message":"No."}}}}"#
        )
    }

    fn new(quota: &str, more: &str) -> String {
        format!(
            r#"{{"error":{{"code":429,"message":"Quota exceeded.","status":"RESOURCE_EXHAUSTED","details":[{{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"RATE_LIMIT_EXCEEDED","domain":"googleapis.com","metadata":{{"quota_limit":"{quota}"}}}}{more}]}}}}"#
        )
    }

    #[test]
    fn reasons_of_the_older_form() {
        // R-23
        for reason in ["rateLimitExceeded", "userRateLimitExceeded"] {
            assert_eq!(told(403, "", &old(reason)).refusal, refusal(Rate, None, reason));
        }
        for reason in ["dailyLimitExceeded", "quotaExceeded"] {
            assert_eq!(told(403, "", &old(reason)).refusal, refusal(Spent, None, reason));
        }
        for reason in ["insufficientPermissions", "forbidden", "accessNotConfigured", "dailyLimitExceededUnreg"] {
            assert_eq!(told(403, "", &old(reason)).refusal, None, "{reason}");
        }
        assert_eq!(told(403, "Retry-After: 7", &old("rateLimitExceeded")).refusal, refusal(Rate, Some(7), "rateLimitExceeded"));
    }

    #[test]
    fn details_of_the_newer_form() {
        let wait = r#",{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"12s"}"#;
        let told_of = |body: &str| told(429, "", body).refusal;
        assert_eq!(told_of(&new("ReadsPerMinutePerUser", wait)), refusal(Rate, Some(12), "ReadsPerMinutePerUser"));
        assert_eq!(told_of(&new("ReadsPerMinutePerUser", "")), refusal(Rate, None, "ReadsPerMinutePerUser"));
        assert_eq!(told_of(&new("RequestsPerDayPerProject", "")), refusal(Spent, None, "RequestsPerDayPerProject"));
        assert_eq!(told_of(r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED"}}"#), refusal(Rate, None, "RESOURCE_EXHAUSTED"));
        let denied = r#"{"error":{"code":403,"status":"PERMISSION_DENIED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"SERVICE_DISABLED"}]}}"#;
        assert_eq!(told(403, "", denied).refusal, None);
    }

    #[test]
    fn other_bodies_say_nothing() {
        for body in ["", "[]", "{", "{\"error\":\"rateLimitExceeded\"}", "{\"error\":{\"errors\":{}}}", &"[".repeat(8192)] {
            assert_eq!(told(403, "", body).refusal, None, "{body}");
        }
        let far = r#",{"@type":"google.rpc.RetryInfo","retryDelay":"99999999999999999999999999999s"}"#;
        assert_eq!(told(429, "", &new("a", far)).refusal, refusal(Rate, None, "a"));
    }
}
