//! Exchanges with an API, kept in a folder and taken from it again instead of from a network.
//!
//! `files` says what stands in the folder, `tape` writes it beside a load, `reader` reads it and finds the answer to a request,
//! `nearest` says what a request without one comes closest to. What is kept of a request is what it was before the credential went on
//! it, so that no secret has to be found in it, and a replay needs none. Requests for tokens are not kept at all.

mod files;
mod nearest;
mod reader;
mod tape;

use std::sync::Arc;

use ::http::HeaderMap;
use ::http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, SET_COOKIE};
use url::Url;

use super::redact::Redactor;
use super::request::Request;

pub use files::{Answer, Asked, Ended, FORMAT, Head, Manifest};
pub use nearest::{Difference, Miss};
pub use reader::Recording;
pub use tape::{Summary, Tape};

pub(super) use reader::Found;

/// Where answers come from.
#[derive(Clone, Default)]
pub enum Wire {
    #[default]
    Network,
    /// From the network, and each is kept.
    Record(Arc<Tape>),
    /// From what was kept; nothing is sent.
    Replay(Arc<Recording>),
}

/// Shown in place of what is hidden.
const HIDDEN: &str = "***";

/// What is asked, as it is kept: without credentials. `hidden` is the query entry that carries one: a next link can echo it.
pub(super) fn asked(request: &Request, url: &Url, headers: &HeaderMap, hidden: Option<&str>, redactor: &Redactor) -> Asked {
    let body = request.payload.as_ref().map(|payload| redactor.scrub(&String::from_utf8_lossy(&payload.bytes)));
    let headers = headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes());
        let value = if is_secret(name.as_str()) { HIDDEN.to_owned() } else { redactor.scrub(&value) };
        (name.as_str().to_owned(), value)
    });
    let headers = headers.collect();
    Asked { method: request.method.to_string(), address: redactor.scrub(&without_entry(url, hidden)), headers, body }
}

/// An address without a query entry.
fn without_entry(url: &Url, hidden: Option<&str>) -> String {
    let Some(hidden) = hidden else { return url.to_string() };
    let mut url = url.clone();
    let entries = url.query().unwrap_or_default().split('&').filter(|entry| {
        let name = url::form_urlencoded::parse(entry.as_bytes()).next();
        name.is_some_and(|(name, _)| name != hidden)
    });
    let query: Vec<String> = entries.map(str::to_owned).collect();
    url.set_query((!query.is_empty()).then(|| query.join("&")).as_deref());
    url.to_string()
}

/// Whether a header's name says that its value lets in. The names of page tokens must not: they tell pages apart.
fn is_secret(name: &str) -> bool {
    const PARTS: &[&str] = &["auth", "cookie", "secret", "password", "api-key", "apikey", "access-token"];
    [AUTHORIZATION, COOKIE, SET_COOKIE, PROXY_AUTHORIZATION].iter().any(|known| known == name)
        || PARTS.iter().any(|part| name.contains(part))
}
