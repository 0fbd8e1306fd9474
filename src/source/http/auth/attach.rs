//! Where a credential goes on a request.

use ::http::header::COOKIE;
use ::http::{HeaderMap, HeaderName, HeaderValue, Method};
use percent_encoding::percent_decode_str;
use url::Url;

use crate::config::secret::{ExposeSecret, SecretString};

use super::super::request::encode_query;

/// All kinds come down to one of these.
#[derive(Clone)]
pub(super) enum Attach {
    Nothing,
    Header(HeaderName, HeaderValue),
    /// Name and value as one pair.
    Cookie(HeaderValue),
    Query(String, SecretString),
}

impl Attach {
    pub(super) fn apply(&self, url: &mut Url, headers: &mut HeaderMap) {
        match self {
            Attach::Nothing => {}
            Attach::Header(name, value) => drop(headers.insert(name.clone(), value.clone())),
            Attach::Cookie(pair) => drop(headers.insert(COOKIE, pair.clone())),
            Attach::Query(name, value) => set_entry(url, name, value),
        }
    }
}

fn set_entry(url: &mut Url, name: &str, value: &SecretString) {
    let is_other = |entry: &&str| {
        let key = entry.split('=').next().unwrap_or_default().replace('+', " ");
        percent_decode_str(&key).decode_utf8_lossy() != name
    };
    let mut query: Vec<String> = Vec::new();
    query
        .extend(url.query().unwrap_or_default().split('&').filter(|entry| !entry.is_empty()).filter(is_other).map(str::to_owned));
    query.push(format!("{}={}", encode_query(name), encode_query(value.expose_secret())));
    url.set_query(Some(&query.join("&")));
}

/// What the request is that a credential goes on.
pub(in crate::source::http) struct Unsigned<'a> {
    pub(in crate::source::http) method: &'a Method,
    pub(in crate::source::http) url: &'a mut Url,
    pub(in crate::source::http) headers: &'a mut HeaderMap,
    pub(in crate::source::http) body: &'a [u8],
}
