//! Salesforce (developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/headers_api_usage.htm): `Sforce-Limit-Info:
//! api-usage=18/5000`, what was used of the last 24 hours' limit, and perhaps `per-app-api-usage=17/250(appName=x)` behind it. The
//! window rolls, so that there is no reset. A spent limit is a 403 with `REQUEST_LIMIT_EXCEEDED` in the body, and so are too many
//! long requests at the same time, told apart by the message alone.

use std::time::Duration;

use crate::quota::told::{Refusal, RefusalCause, ToldLimit, ToldShape};

use super::answer::Answer;
use super::number;

const DAY: Duration = Duration::from_secs(24 * 3600);

pub(super) fn limits(answer: &Answer<'_>) -> Vec<ToldLimit> {
    let text = answer.list("sforce-limit-info").unwrap_or_default();
    text.split([';', ',']).filter_map(usage).take(super::LIMITS_MAX).collect()
}

fn usage(text: &str) -> Option<ToldLimit> {
    let (name, usage) = text.trim().split_once('=')?;
    let usage = usage.split_once('(').map_or(usage, |(usage, _)| usage);
    let (used, size) = usage.split_once('/')?;
    let (used, size) = (number::count(used.trim())?, number::count(size.trim())?);
    let shape = ToldShape::Window { per: Some(DAY), reset: None };
    Some(ToldLimit { name: name.trim().to_owned(), size: Some(size), left: Some(size.saturating_sub(used)), shape })
}

pub(super) fn refusal(answer: &Answer<'_>) -> Option<Refusal> {
    let phrases = answer.phrases();
    if answer.status.as_u16() != 403 || !phrases.contains("request_limit_exceeded") {
        return None;
    }
    Some(match phrases.contains("concurrentrequests") {
        true => Refusal { cause: RefusalCause::Concurrency, patience: None, limit: "concurrent requests".to_owned() },
        false => Refusal { cause: RefusalCause::Spent, patience: None, limit: "api-usage".to_owned() },
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{refusal, told, window};
    use crate::quota::told::RefusalCause::{Concurrency, Spent};

    #[test]
    fn usage_of_the_day() {
        // R-20
        let of = |text: &str| told(200, &format!("Sforce-Limit-Info: {text}"), "").limits;
        assert_eq!(of("api-usage=18/5000"), [window("api-usage", Some(5000), Some(4982), Some(86_400), None)]);
        // The count is made now and then, and may run over.
        assert_eq!(of("api-usage=5003/5000"), [window("api-usage", Some(5000), Some(0), Some(86_400), None)]);
        let app = window("per-app-api-usage", Some(250), Some(233), Some(86_400), None);
        let both = of("api-usage=25/5000; per-app-api-usage=17/250(appName=sample-connected-app)");
        assert_eq!(both, [window("api-usage", Some(5000), Some(4975), Some(86_400), None), app]);
        for junk in ["", "api-usage", "api-usage=", "api-usage=5", "api-usage=-1/5", "api-usage=a/b", "=/;;,="] {
            assert_eq!(of(junk), [], "{junk}");
        }
    }

    #[test]
    fn a_spent_day() {
        // R-20
        let spent = r#"[{"message":"TotalRequests Limit exceeded.","errorCode":"REQUEST_LIMIT_EXCEEDED"}]"#;
        let told_of = |status, body: &str| told(status, "Sforce-Limit-Info: api-usage=5000/5000", body).refusal;
        assert_eq!(told_of(403, spent), refusal(Spent, None, "api-usage"));
        let many = r#"[{"message":"ConcurrentRequests (Concurrent API Requests) Limit exceeded.","errorCode":"REQUEST_LIMIT_EXCEEDED"}]"#;
        assert_eq!(told(403, "", many).refusal, refusal(Concurrency, None, "concurrent requests"));
        let disabled = r#"[{"message":"The REST API is not enabled for this Organization.","errorCode":"API_DISABLED_FOR_ORG"}]"#;
        assert_eq!(told(403, "Sforce-Limit-Info: api-usage=18/5000", disabled).refusal, None);
        assert_eq!(told_of(400, spent), None);
    }
}
