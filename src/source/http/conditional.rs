//! Whether an answer has changed since it was last read (RFC 9110, section 13): a validator that came with it goes back with the
//! next request, and «not modified» stands for the same answer.
//!
//! A validator speaks of one answer. It is given out with the first page only; whoever keeps it sees to it that no other page
//! followed, and that what it stands for is in the table still.

use ::http::header::{DATE, ETAG, HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED};
use ::http::{Method, StatusCode};
use jiff::SignedDuration;

use crate::config::catalog::{Conditional, Job};
use crate::outbound::http_date;
use crate::page::{Answered, PageAt, PagePosition, RawPage};
use crate::slice::{Reach, Slice};

use super::auth::{Credentials, fingerprint};
use super::paging::Pager;
use super::recording::Wire;
use super::request::Request;

/// Longest validator, bytes: it is kept in a record.
const VALIDATOR_MAX: usize = 512;
/// A date of change stands for the content only where nothing can have changed within its second unseen (RFC 9110, section 8.8.2.2).
const DATE_IS_STRONG_AFTER: SignedDuration = SignedDuration::from_secs(60);

/// How one stream asks whether something changed.
pub(super) struct Conditions {
    conditional: Conditional,
    /// What of the definition the rows hang on: after an edit everything is read again.
    definition: String,
}

impl Conditions {
    /// `None` where nothing is asked that way: only a GET of one's own means the same each time, what is put together of several
    /// answers has no validator, one stands for a body and not for a header that tells of more, and a recording holds answers whole.
    pub(super) fn of(job: &Job, pager: &Pager, wire: &Wire) -> Option<Self> {
        let stream = &job.stream;
        let is_one_answer = stream.method == Method::GET && stream.parent.is_none() && stream.export.is_none();
        if !is_one_answer
            || !pager.ends_in_the_body()
            || stream.conditional == Conditional::Never
            || !matches!(wire, Wire::Network)
        {
            return None;
        }
        let definition = fingerprint([env!("CARGO_PKG_VERSION"), &format!("{job:?}")]);
        Some(Conditions { conditional: stream.conditional, definition })
    }

    /// Which question a request is, credential and definition included.
    fn asked(&self, request: &Request, slice: &Slice, credentials: &Credentials) -> String {
        let headers: Vec<String> = request.headers.iter().map(|(name, value)| format!("{name}: {value:?}")).collect();
        fingerprint([
            &self.definition,
            credentials.fingerprint(),
            request.url.as_str(),
            &headers.join("\n"),
            &format!("{:?}", slice.partition),
        ])
    }

    /// Adds to a request what was answered to the same question before; false where it is another one.
    pub(super) fn ask(&self, request: &mut Request, slice: &Slice, credentials: &Credentials, before: &Answered) -> bool {
        if self.asked(request, slice, credentials) != before.asked {
            return false;
        }
        let mut put = |name, value: &Option<String>| {
            let value = value.as_ref().and_then(|value| HeaderValue::from_str(value).ok());
            value.map(|value| request.headers.insert(name, value)).is_some()
        };
        // Whoever understands the first ignores the second (section 13.1.3).
        let by_tag = put(IF_NONE_MATCH, &before.etag);
        let by_date = !by_tag && put(IF_MODIFIED_SINCE, &before.last_modified);
        request.is_conditional = by_tag || by_date;
        request.is_conditional
    }

    /// What is to be kept of a first page.
    pub(super) fn answered(
        &self,
        request: &Request,
        slice: &Slice,
        page: &RawPage,
        credentials: &Credentials,
    ) -> Option<Answered> {
        // Time that was not closed is cut off the rows: the same answer would hold more of them later.
        let is_whole = !matches!(slice.reach, Reach::Time(_)) && is_first(&page.position);
        if !is_whole || page.status != StatusCode::OK.as_u16() || page.aside.is_some() {
            return None;
        }
        let text = |name| page.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::to_owned);
        let safe = |text: &String| text.len() <= VALIDATOR_MAX && credentials.redactor().clean(text) == *text;
        let etag = text(ETAG).filter(|tag| is_tag(tag)).filter(safe);
        let by_date = etag.is_none() && self.conditional == Conditional::LastModified && is_strong(&page.headers);
        let last_modified = text(LAST_MODIFIED).filter(|_| by_date).filter(safe);
        let asked = self.asked(request, slice, credentials);
        (etag.is_some() || last_modified.is_some()).then_some(Answered { asked, etag, last_modified })
    }
}

fn is_first(at: &PagePosition) -> bool {
    at.index == 0 && at.at == PageAt::Start && at.parent.is_none()
}

/// `"x"` or `W/"x"` (RFC 9110, section 8.8.3).
fn is_tag(text: &str) -> bool {
    let opaque = text.strip_prefix("W/").unwrap_or(text);
    let inner = opaque.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.is_some_and(|inner| !inner.is_empty() && inner.chars().all(|c| c != '"' && !c.is_control() && c != ' '))
}

fn is_strong(headers: &HeaderMap) -> bool {
    let date = |name| http_date::parse(headers.get(name)?.to_str().ok()?);
    match (date(DATE), date(LAST_MODIFIED)) {
        (Some(now), Some(modified)) => now.duration_since(modified) >= DATE_IS_STRONG_AFTER,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_taken_in_its_two_forms_and_no_other() {
        for tag in [r#""x""#, r#"W/"x-1:2,3""#, r#""ä""#] {
            assert!(is_tag(tag), "{tag}");
        }
        for junk in ["", "x", r#""""#, r#"w/"x""#, r#""x"y""#, r#""x" "#, "\"a\nb\"", r#""a", "b""#, "*"] {
            assert!(!is_tag(junk), "{junk}");
        }
    }

    #[test]
    fn a_date_counts_only_when_its_second_is_long_over() {
        let strong = |date: &str, modified: &str| {
            let mut headers = HeaderMap::new();
            for (name, value) in [(DATE, date), (LAST_MODIFIED, modified)] {
                headers.insert(name, value.parse().unwrap());
            }
            is_strong(&headers)
        };
        assert!(strong("Sun, 06 Nov 1994 08:50:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT"));
        assert!(!strong("Sun, 06 Nov 1994 08:50:36 GMT", "Sun, 06 Nov 1994 08:49:37 GMT"));
        assert!(!strong("Sun, 06 Nov 1994 08:50:36 GMT", "Sun, 06 Nov 1995 08:49:37 GMT"));
        assert!(!strong("yesterday", "Sun, 06 Nov 1994 08:49:37 GMT"));
    }
}
