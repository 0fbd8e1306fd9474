//! Paging: what a position adds to a request, and which position follows an answer. One file a kind; the guards against endless
//! paging stand above them, once.

use ::http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value as Json;

use crate::page::{Captured, Envelope, PageAt, PagePosition, ResponsePath};

mod counted;
mod ending;
mod graphql;
mod guard;
mod keyset;
mod link_header;
mod next_url;
mod none;
pub(super) mod numbered;
mod odata;
mod offset;
mod page;
mod page_token;
mod pager;
mod total;

#[cfg(test)]
mod tests;

pub(super) use pager::Pager;

/// What a position adds to a request.
#[derive(Debug, Default)]
pub(super) struct Ask {
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// What goes into the request's body.
    pub(super) body: Vec<Written>,
    /// The whole address, in place of the stream's own.
    pub(super) url: Option<String>,
}

/// A value that paging puts into a request's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) steps: Vec<String>,
    pub(super) value: Json,
}

/// An answer as the kinds see it.
struct Answer<'a> {
    at: &'a PagePosition,
    envelope: &'a Envelope,
    headers: &'a HeaderMap,
}

impl Answer<'_> {
    /// The value at a path; `None` where it leads nowhere or to null. A header that cannot be read is an error that names it: it is
    /// there, and may be what leads on.
    fn value(&self, path: &ResponsePath) -> Result<Option<Captured>, String> {
        let value = match path {
            ResponsePath::Header(name) => self.headers.get(name).map(|value| header_text(name, value)).transpose()?,
            ResponsePath::Body(_) => self.envelope.captured.get(path).cloned(),
        };
        Ok(value.filter(|value| *value != Captured::Null))
    }

    /// Records up to and with this page.
    fn records_so_far(&self) -> u64 {
        self.at.records_before.saturating_add(self.envelope.records)
    }
}

/// Whatever a server writes beyond ASCII is UTF-8, or nobody knows what it is (RFC 9110, section 5.5).
fn header_text(name: &str, value: &HeaderValue) -> Result<Captured, String> {
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => Ok(Captured::Text(text.to_owned())),
        Err(_) => Err(format!("the header `{name}` cannot be read, it is not UTF-8")),
    }
}

/// The number of a counted position.
fn number(at: &PageAt, start: u64) -> Option<u64> {
    match at {
        PageAt::Start => Some(start),
        PageAt::Number(number) => Some(*number),
        PageAt::Token(_) | PageAt::Url(_) => None,
    }
}
