//! What a status means: the only place that decides it.

use std::time::Duration;

use ::http::StatusCode;

use crate::error::ErrorKind;
use crate::quota::told::{Refusal, RefusalCause};

use super::retry::WAIT_MAX;

/// When a spent quota is asked for again whose end the source does not name. It is a day's or a month's, so that the page is given
/// up and the job comes back then: a little more than anybody waits with work in hand.
pub(super) const SPENT_WAIT: Duration = WAIT_MAX.saturating_add(Duration::from_secs(60));

/// What may be done about a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Nothing: the same request would fail again.
    None,
    /// The same request may work a little later.
    Retry,
    /// The credential may have ended: with another one the same request may work.
    Renew,
    /// The source said when it will answer again. Costs no attempt.
    Wait(Duration),
}

/// Kind and remedy of a status that is no success. `refusal` is there if it refuses for a limit's sake, whatever the status.
pub(super) fn judge(status: StatusCode, refusal: Option<&Refusal>) -> (ErrorKind, Remedy) {
    let throttled = ErrorKind::Throttled { retry_at: None };
    match refusal.map(|refusal| (refusal.cause, refusal.patience)) {
        Some((_, Some(patience))) => return (throttled, Remedy::Wait(patience)),
        Some((RefusalCause::Spent, None)) => return (throttled, Remedy::Wait(SPENT_WAIT)),
        Some((RefusalCause::Rate | RefusalCause::Concurrency, None)) => return (throttled, Remedy::Retry),
        Some((RefusalCause::Overload, None)) | None => {}
    }
    match status.as_u16() {
        429 => (throttled, Remedy::Retry),
        408 | 425 | 500 | 502..=504 | 520..=524 | 529 => (ErrorKind::Unavailable, Remedy::Retry),
        401 => (ErrorKind::Auth, Remedy::Renew),
        403 | 407 => (ErrorKind::Auth, Remedy::None),
        // The request itself is wrong: path, parameters, query or method, and those stand in files.
        400 | 404..=406 | 410 | 411 | 413..=415 | 422 | 431 | 501 | 505 => (ErrorKind::Config, Remedy::None),
        500..=599 => (ErrorKind::Unavailable, Remedy::None),
        // Redirects that lead nowhere, 304 without having asked for it, conflicts, legal reasons, teapots.
        _ => (ErrorKind::Data, Remedy::None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, refusal: Option<(RefusalCause, Option<u64>)>) -> (ErrorKind, Remedy) {
        let refusal =
            refusal.map(|(cause, patience)| Refusal { cause, patience: patience.map(Duration::from_secs), limit: String::new() });
        judge(StatusCode::from_u16(status).unwrap(), refusal.as_ref())
    }

    #[test]
    fn what_may_pass_is_retried() {
        for status in [408, 425, 500, 502, 503, 504, 520, 521, 522, 523, 524, 529] {
            assert_eq!(of(status, None), (ErrorKind::Unavailable, Remedy::Retry), "{status}");
        }
        assert_eq!(of(429, None), (ErrorKind::Throttled { retry_at: None }, Remedy::Retry));
    }

    #[test]
    fn what_cannot_pass_is_not() {
        for status in [400, 403, 404, 405, 409, 410, 413, 414, 415, 422, 451, 501, 505, 304, 300] {
            assert_eq!(of(status, None).1, Remedy::None, "{status}");
        }
        assert_eq!(of(401, None), (ErrorKind::Auth, Remedy::Renew));
        //
        assert_eq!(of(403, None), (ErrorKind::Auth, Remedy::None));
    }

    #[test]
    fn a_refusal_is_waited_out_whatever_its_status() {
        // R-04 R-14
        let throttled = ErrorKind::Throttled { retry_at: None };
        for status in [403, 429, 503] {
            for cause in [RefusalCause::Rate, RefusalCause::Concurrency, RefusalCause::Spent, RefusalCause::Overload] {
                assert_eq!(of(status, Some((cause, Some(7)))), (throttled, Remedy::Wait(Duration::from_secs(7))));
            }
        }
        //
        for cause in [RefusalCause::Rate, RefusalCause::Concurrency] {
            assert_eq!(of(403, Some((cause, None))), (throttled, Remedy::Retry));
        }
        assert_eq!(of(503, Some((RefusalCause::Overload, None))), (ErrorKind::Unavailable, Remedy::Retry));
    }

    #[test]
    fn a_spent_quota_is_not_waited_for_on_the_spot() {
        //
        let (kind, remedy) = of(403, Some((RefusalCause::Spent, None)));
        assert_eq!((kind, remedy), (ErrorKind::Throttled { retry_at: None }, Remedy::Wait(SPENT_WAIT)));
        assert!(SPENT_WAIT > WAIT_MAX);
    }
}
