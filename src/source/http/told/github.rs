//! GitHub (docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api and
//! .../best-practices-for-using-the-rest-api). It refuses with 403 or 429, and a 403 may as well mean what it says.
//!
//! The primary limit is seen by `X-RateLimit-Remaining: 0`, which `x_ratelimit` reads, under the name in `X-RateLimit-Resource`.
//! The secondary limits have no headers of their own but `Retry-After`, which may be missing: then GitHub asks to wait for at least
//! a minute. Until 2022 they were called the abuse detection mechanism; GitHub Enterprise Server may still say so.

use std::time::Duration;

use crate::quota::told::{Refusal, RefusalCause};

use super::answer::Answer;

const SECONDARY_PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn refusal(answer: &Answer<'_>) -> Option<Refusal> {
    let status = answer.status.as_u16();
    if !matches!(status, 403 | 429) {
        return None;
    }
    let phrases = answer.phrases();
    let says_so = phrases.contains("secondary rate limit") || phrases.contains("abuse detection mechanism");
    // A 429 of GitHub's that leaves something of the primary limit is a secondary one, whatever its text.
    let left = answer.count("x-ratelimit-remaining");
    let is_known = answer.headers.contains_key("x-github-request-id") && status == 429 && left != Some(0);
    (says_so || is_known).then(|| Refusal {
        cause: RefusalCause::Rate,
        patience: Some(SECONDARY_PATIENCE),
        limit: "secondary".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{refusal, told, window};
    use crate::quota::told::RefusalCause::Rate;

    const HEADERS: &str = "Date: Mon, 04 May 2026 12:00:00 GMT\nX-GitHub-Request-Id: CAFE:1:2:3\nX-RateLimit-Limit: 5000\nX-RateLimit-Used: 5000\nX-RateLimit-Reset: 1777897800\nX-RateLimit-Resource: core";
    const SECONDARY: &str =
        r#"{"message":"You have exceeded a secondary rate limit. Please wait a few minutes before you try again."}"#;

    fn answer(status: u16, more: &str, body: &str) -> crate::quota::told::Told {
        told(status, &format!("{HEADERS}\n{more}"), body)
    }

    #[test]
    fn the_primary_limit() {
        // R-13
        for status in [403, 429] {
            let told = answer(status, "X-RateLimit-Remaining: 0", r#"{"message":"API rate limit exceeded for user ID 1."}"#);
            assert_eq!(told.limits, [window("core", Some(5000), Some(0), None, Some(1800))]);
            assert_eq!(told.refusal, refusal(Rate, Some(1800), "core"), "{status}");
        }
        // Nothing is refused by the last request that there was.
        assert_eq!(answer(200, "X-RateLimit-Remaining: 0", "").refusal, None);
    }

    #[test]
    fn the_secondary_limits() {
        for status in [403, 429] {
            // R-14
            let told = answer(status, "X-RateLimit-Remaining: 4000\nRetry-After: 30", SECONDARY);
            assert_eq!(told.refusal, refusal(Rate, Some(30), "secondary"));
            // R-15
            let told = answer(status, "X-RateLimit-Remaining: 4000", SECONDARY);
            assert_eq!(told.refusal, refusal(Rate, Some(60), "secondary"));
            let told = answer(status, "X-RateLimit-Remaining: 0", SECONDARY);
            assert_eq!(told.refusal, refusal(Rate, Some(1800), "secondary"), "the primary limit is spent too");
        }
        let told = answer(429, "X-RateLimit-Remaining: 4000", "<html>");
        assert_eq!(told.refusal, refusal(Rate, Some(60), "secondary"));
        let old = r#"{"message":"You have triggered an abuse detection mechanism."}"#;
        assert_eq!(answer(403, "", old).refusal, refusal(Rate, Some(60), "secondary"));
    }

    #[test]
    fn forbidden_is_forbidden() {
        // R-16
        let body = r#"{"message":"Resource not accessible by personal access token"}"#;
        assert_eq!(answer(403, "X-RateLimit-Remaining: 4000", body).refusal, None);
        assert_eq!(answer(404, "X-RateLimit-Remaining: 0", body).refusal, None);
        assert_eq!(answer(401, "X-RateLimit-Remaining: 0", SECONDARY).refusal, None);
    }
}
