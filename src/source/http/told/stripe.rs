//! Stripe (docs.stripe.com/rate-limits): 429, `Stripe-Rate-Limited-Reason` says which limiter it was. A 429 whose body has the code
//! `lock_timeout` is no limiter but somebody else's hold on the same object (docs.stripe.com/error-codes): fewer requests at the
//! same time help against it too. `Stripe-Should-Retry` is not looked at: it is about requests that change something.

use crate::quota::told::{Refusal, RefusalCause};

use super::answer::Answer;

pub(super) fn refusal(answer: &Answer<'_>) -> Option<Refusal> {
    if answer.status.as_u16() != 429 {
        return None;
    }
    let cause = |reason: &str| match reason.ends_with("-concurrency") {
        true => RefusalCause::Concurrency,
        false => RefusalCause::Rate,
    };
    let refusal = |cause, limit: &str| Refusal { cause, patience: None, limit: limit.to_owned() };
    if let Some(reason) = answer.text("stripe-rate-limited-reason").filter(|reason| !reason.is_empty()) {
        return Some(refusal(cause(reason), reason));
    }
    let body = answer.json()?;
    let code = body.get("error")?.get("code")?.as_str()?;
    (code == "lock_timeout").then(|| refusal(RefusalCause::Concurrency, code))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{refusal, told};
    use crate::quota::told::RefusalCause::{Concurrency, Rate};

    #[test]
    fn the_limiter_is_named() {
        for (reason, cause) in [
            ("global-concurrency", Concurrency),
            ("endpoint-concurrency", Concurrency),
            ("global-rate", Rate),
            ("endpoint-rate", Rate),
            ("resource-specific", Rate),
        ] {
            let headers = format!("Stripe-Rate-Limited-Reason: {reason}\nStripe-Should-Retry: true");
            assert_eq!(told(429, &headers, "").refusal, refusal(cause, None, reason));
        }
        let locked = r#"{"error":{"code":"lock_timeout","type":"invalid_request_error"}}"#;
        assert_eq!(told(429, "", locked).refusal, refusal(Concurrency, None, "lock_timeout"));
        assert_eq!(told(402, "Stripe-Rate-Limited-Reason: global-rate", "").refusal, None);
        assert_eq!(told(429, "", r#"{"error":{"code":"rate_limit"}}"#).refusal, refusal(Rate, None, ""));
    }
}
