//! Why one attempt at a page failed, and what may be done about it.

use std::error::Error;
use std::io;

use jiff::{SignedDuration, Timestamp};
use url::Url;

use crate::config::catalog::{ErrorRule, Then};
use crate::error::ErrorKind;
use crate::quota::Refused;
use crate::source::FetchError;

use super::origin::without_query;
use super::resolver::{NoSuchName, PrivateAddress};
use super::status::Remedy;

/// A failed attempt.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: FetchError,
    pub(super) remedy: Remedy,
    /// The budget knows how long to wait and does so.
    pub(super) paused: bool,
    /// The token that was shown, where another can be had.
    pub(super) shown: Option<u64>,
}

impl Failure {
    pub(super) fn last(kind: ErrorKind, message: impl Into<String>) -> Self {
        FetchError::new(kind, message).into()
    }

    pub(super) fn cancelled() -> Self {
        Failure::last(ErrorKind::Cancelled, "stop was asked for")
    }

    /// What the API's own rule makes of it.
    pub(super) fn under(mut self, rule: &ErrorRule) -> Self {
        // The rule has the word, not the status.
        self.error.status = None;
        self.error.message = rule.explain(std::mem::take(&mut self.error.message));
        (self.error.kind, self.remedy, self.paused) = match rule.then {
            Then::Retry => (ErrorKind::Unavailable, Remedy::Retry, false),
            Then::Wait(length) => (ErrorKind::Throttled { retry_at: None }, Remedy::Wait(length), false),
            Then::Refresh => (ErrorKind::Auth, Remedy::Renew, false),
            Then::Fail | Then::Skip | Then::DeadLetter => match self.error.kind {
                // It would be tried again, and the rule says that this is of no use.
                ErrorKind::Unavailable | ErrorKind::Throttled { .. } => (ErrorKind::Data, Remedy::None, false),
                kind => (kind, Remedy::None, false),
            },
        };
        self
    }

    /// No request was granted.
    pub(super) fn refused(refused: Refused, now: Timestamp) -> Self {
        match refused {
            Refused::Stopped => Failure::cancelled(),
            Refused::Later { length, .. } => {
                let retry_at = SignedDuration::try_from(length).ok().and_then(|length| now.checked_add(length).ok());
                Failure::last(ErrorKind::Throttled { retry_at }, refused.to_string())
            }
        }
    }

    /// The network or the body failed.
    pub(super) fn transport(url: &Url, error: reqwest::Error) -> Self {
        // The error's own text would show the whole address.
        let error = error.without_url();
        let (kind, remedy, what) = classify(&error);
        let what = what.unwrap_or_else(|| plain_words(&error));
        let error = FetchError::new(kind, format!("{}: {what}", without_query(url))).with_source(error);
        Failure { error, remedy, paused: false, shown: None }
    }
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        Failure { error, remedy: Remedy::None, paused: false, shown: None }
    }
}

fn classify(error: &(dyn Error + 'static)) -> (ErrorKind, Remedy, Option<&'static str>) {
    if find::<PrivateAddress>(error).is_some() {
        return (ErrorKind::Config, Remedy::None, Some("not asked"));
    }
    if find::<NoSuchName>(error).is_some() {
        return (ErrorKind::Unavailable, Remedy::Retry, Some("there is no such name, look at `base_url` and at the network"));
    }
    match find::<rustls::Error>(error) {
        // Whoever sits behind a bad certificate gets no second chance to be believed.
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            (ErrorKind::Unavailable, Remedy::None, Some("its certificate is not accepted"))
        }
        Some(rustls::Error::PeerIncompatible(_)) => (ErrorKind::Unavailable, Remedy::None, Some("it speaks no TLS that is safe")),
        _ => (ErrorKind::Unavailable, Remedy::Retry, None),
    }
}

fn plain_words(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "no complete answer in time"
    } else if error.is_dns() {
        "its name cannot be resolved"
    } else if error.is_connect() {
        "cannot connect"
    } else if error.is_body() || error.is_decode() {
        "the answer was cut off or damaged"
    } else {
        "the request failed"
    }
}

/// The first error of a type in a chain. Errors that hide in an `io::Error` are no `source` of it, so they are looked for there.
fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        let hidden = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match hidden {
            Some(hidden) => Some(hidden as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificate_errors_are_not_retried() {
        // The shape in which the client hands them on: an io::Error within an io::Error.
        let inner =
            io::Error::new(io::ErrorKind::InvalidData, rustls::Error::InvalidCertificate(rustls::CertificateError::Expired));
        let outer = io::Error::other(inner);
        let (kind, remedy, what) = classify(&outer);
        assert_eq!((kind, remedy), (ErrorKind::Unavailable, Remedy::None));
        assert!(what.unwrap().contains("certificate"));
        let broken = io::Error::new(io::ErrorKind::InvalidData, rustls::Error::DecryptError);
        assert_eq!(classify(&broken).1, Remedy::Retry);
        assert_eq!(classify(&io::Error::from(io::ErrorKind::ConnectionReset)).1, Remedy::Retry);
    }
}
