//! What a status means: the only place that decides it.

use std::time::Duration;

use ::http::StatusCode;

use crate::error::ErrorKind;

/// What may be done about a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Nothing: the same request would fail again.
    None,
    /// The same request may work a little later.
    Retry,
    /// The source said when it will answer again. Costs no attempt.
    Wait(Duration),
}

/// Kind and remedy of a status that is no success. `patience` is what `Retry-After` asked for, where it made sense.
pub(super) fn judge(status: StatusCode, patience: Option<Duration>) -> (ErrorKind, Remedy) {
    let throttled = ErrorKind::Throttled { retry_at: None };
    match (status.as_u16(), patience) {
        // GitHub and others refuse with 403 and say when to come back; a plain 403 is final.
        (403 | 408 | 425 | 429 | 500 | 502..=504 | 520..=524 | 529, Some(patience)) => (throttled, Remedy::Wait(patience)),
        (429, None) => (throttled, Remedy::Retry),
        (408 | 425 | 500 | 502..=504 | 520..=524 | 529, None) => (ErrorKind::Unavailable, Remedy::Retry),
        (401 | 403 | 407, _) => (ErrorKind::Auth, Remedy::None),
        // The request itself is wrong: path, parameters, query or method, and those stand in files.
        (400 | 404..=406 | 410 | 411 | 413..=415 | 422 | 431 | 501 | 505, _) => (ErrorKind::Config, Remedy::None),
        (500..=599, _) => (ErrorKind::Unavailable, Remedy::None),
        // Redirects that lead nowhere, 304 without having asked for it, conflicts, legal reasons, teapots.
        _ => (ErrorKind::Data, Remedy::None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, patience: Option<u64>) -> (ErrorKind, Remedy) {
        judge(StatusCode::from_u16(status).unwrap(), patience.map(Duration::from_secs))
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
        for status in [400, 401, 403, 404, 405, 409, 410, 413, 414, 415, 422, 451, 501, 505, 304, 300] {
            assert_eq!(of(status, None).1, Remedy::None, "{status}");
        }
        //
        assert_eq!(of(403, None), (ErrorKind::Auth, Remedy::None));
    }

    #[test]
    fn retry_after_is_heeded_where_a_retry_makes_sense() {
        // R-04 R-14
        for status in [403, 429, 503] {
            assert_eq!(of(status, Some(7)), (ErrorKind::Throttled { retry_at: None }, Remedy::Wait(Duration::from_secs(7))));
        }
        assert_eq!(of(404, Some(7)).1, Remedy::None);
        assert_eq!(of(401, Some(7)).1, Remedy::None);
    }
}
