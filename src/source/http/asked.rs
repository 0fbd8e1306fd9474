//! What was asked, as messages and the log show it: without secrets, and no longer than a line or two.

use std::borrow::Cow;

use url::Url;

use crate::printable::{printable, shortened};

use super::origin::{Standing, without_query};
use super::redact::Redactor;
use super::request::Request;

/// Longest query that is shown, in characters.
const QUERY_MAX: usize = 300;
/// So much of a request's body is looked at for its excerpt.
const BODY_MAX: usize = 64 * 1024;
/// An entry whose name holds one of these is shown by its name: an address that an answer gave may carry what no file of ours knows.
const HIDDEN: [&str; 8] = ["secret", "password", "passwd", "signature", "access_token", "accesstoken", "api_key", "apikey"];

/// A piece of a message that says what the request asked for; empty where it asked with an address alone.
pub(super) fn told(request: &Request, url: &Url, redactor: &Redactor) -> String {
    let mut told = String::new();
    // Where a redirect led, another hand wrote the query.
    let own = request.standing == Standing::Own && *url == request.url;
    if let Some(query) = query(url, redactor).filter(|_| own) {
        told = format!("; asked with `{query}`");
    }
    if let Some(payload) = &request.payload {
        let start = &payload.bytes[..payload.bytes.len().min(BODY_MAX)];
        if let Some(excerpt) = redactor.excerpt(start) {
            told.push_str(&format!("; its body began with {excerpt}"));
        }
    }
    told
}

/// The address with its query. What another host is asked may let in whoever has it: that query is left out.
pub(super) fn address(url: &Url, standing: Standing, redactor: &Redactor) -> String {
    let address = redactor.clean(&without_query(url));
    match query(url, redactor).filter(|_| standing == Standing::Own) {
        Some(query) => format!("{address}?{query}"),
        None => address,
    }
}

fn query(url: &Url, redactor: &Redactor) -> Option<String> {
    let query = url.query().filter(|query| !query.is_empty())?;
    let entries: Vec<Cow<'_, str>> = query.split('&').map(hide).collect();
    // Cleaned before it is cut: half a secret is a secret too.
    Some(shortened(&printable(&redactor.clean(&entries.join("&"))), QUERY_MAX))
}

fn hide(entry: &str) -> Cow<'_, str> {
    let Some((name, _)) = entry.split_once('=') else { return Cow::Borrowed(entry) };
    let plain = name.to_ascii_lowercase().replace('-', "_");
    match HIDDEN.iter().any(|hidden| plain.contains(hidden)) {
        true => Cow::Owned(format!("{name}=***")),
        false => Cow::Borrowed(entry),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(query_text: &str) -> String {
        let mut redactor = Redactor::default();
        redactor.add("CANARY-0123/456");
        query(&Url::parse(&format!("https://api.example.com/items?{query_text}")).unwrap(), &redactor).unwrap_or_default()
    }

    // S-36
    #[test]
    fn a_query_is_shown_without_secrets() {
        assert_eq!(shown("since=2026-01-01T00:00:00Z&tag=a,b"), "since=2026-01-01T00:00:00Z&tag=a,b");
        assert_eq!(shown("key=CANARY-0123/456&page=2"), "key=***&page=2");
        assert_eq!(shown("key=CANARY-0123%2F456&page=2"), "key=***&page=2");
        assert_eq!(
            shown("X-Amz-Signature=abc&client_secret=abc&page_token=def"),
            "X-Amz-Signature=***&client_secret=***&page_token=def"
        );
        assert_eq!(shown(""), "");
    }

    // S-36
    #[test]
    fn a_secret_across_the_cut_of_a_query_is_removed_whole() {
        let long = shown(&format!("a={}CANARY-0123/456", "x".repeat(QUERY_MAX - 4)));
        assert_eq!(long.chars().count(), QUERY_MAX);
        assert!(!long.contains("CANARY"), "{long}");
    }
}
