//! `auth = { ... }`: which keys belong together, and what each of them may say.

mod hmac;
mod oauth2;
mod session;

use std::collections::BTreeSet;
use std::path::Path;

use http::{HeaderName, HeaderValue};
use url::Url;

use crate::config::catalog::{ApiKeyPlace, Auth, SessionPlace};
use crate::config::kinds::Kind;
use crate::config::node::Table;
use crate::config::problem::Report;

/// What the check knows of the source.
pub(super) struct Around<'a> {
    /// Where it is known: a token is asked for with the encryption that it has.
    pub base_url: Option<&'a Url>,
    pub parameters: &'a BTreeSet<String>,
    /// The project's folder.
    pub root: &'a Path,
}

pub(super) fn check(table: Option<&Table>, around: &Around<'_>, report: &mut Report) -> Option<Auth> {
    let Some(table) = table else {
        return Some(Auth::None);
    };
    match table.text("type")?.as_str() {
        "bearer" => Some(Auth::Bearer { token: table.secret("token")? }),
        "basic" => Some(Auth::Basic { username: table.secret("username")?, password: table.secret("password")? }),
        "api_key" => api_key(table, report),
        "oauth2" => oauth2::check(table, around.base_url, report).map(|oauth2| Auth::OAuth2(Box::new(oauth2))),
        "session" => session::check(table, around, report).map(|session| Auth::Session(Box::new(session))),
        "hmac" => hmac::check(table, report).map(|hmac| Auth::Hmac(Box::new(hmac))),
        _ => Some(Auth::None),
    }
}

fn api_key(table: &Table, report: &mut Report) -> Option<Auth> {
    let place = match table.text("in").as_deref() {
        Some("query") => ApiKeyPlace::Query,
        Some("cookie") => ApiKeyPlace::Cookie,
        _ => ApiKeyPlace::Header,
    };
    let prefix = table.text("prefix").unwrap_or_default();
    if place != ApiKeyPlace::Query && HeaderValue::from_str(&prefix).is_err() {
        report.error(&table.place("prefix"), "the prefix cannot stand in a header", "use visible ASCII without line breaks");
    }
    let name = table.text("name")?;
    match place {
        ApiKeyPlace::Header => check_header_name(table, "name", report),
        ApiKeyPlace::Cookie => check_cookie_name(table, "name", report),
        ApiKeyPlace::Query => {}
    }
    Some(Auth::ApiKey { name, place, value: table.secret("value")?, prefix })
}

fn check_header_name(table: &Table, key: &str, report: &mut Report) {
    if let Some(name) = table.text(key)
        && let Err(wrong) = Kind::HeaderName.read(&name)
    {
        report.error(&table.place(key), wrong.message, wrong.help);
    }
}

/// A cookie's name is a token (RFC 6265 section 4.1.1), as a header's is.
fn check_cookie_name(table: &Table, key: &str, report: &mut Report) {
    if let Some(name) = table.text(key)
        && HeaderName::from_bytes(name.as_bytes()).is_err()
    {
        report.error(&table.place(key), "that is not a name of a cookie", "use letters, digits, `_` and `-`, such as \"SID\"");
    }
}

/// The headers that the authentication writes.
pub(super) fn headers(auth: &Auth) -> Vec<HeaderName> {
    match auth {
        Auth::None | Auth::ApiKey { place: ApiKeyPlace::Query, .. } => Vec::new(),
        Auth::Bearer { .. } | Auth::Basic { .. } | Auth::OAuth2(_) => vec![http::header::AUTHORIZATION],
        Auth::Session(session) => match &session.place {
            SessionPlace::Header { name, .. } => vec![name.clone()],
            SessionPlace::Cookie(_) => vec![http::header::COOKIE],
        },
        Auth::Hmac(hmac) => hmac.headers.iter().map(|(name, _)| name.clone()).collect(),
        Auth::ApiKey { place: ApiKeyPlace::Cookie, .. } => vec![http::header::COOKIE],
        Auth::ApiKey { name, place: ApiKeyPlace::Header, .. } => HeaderName::from_bytes(name.as_bytes()).into_iter().collect(),
    }
}

/// The query entry that the authentication writes.
pub(super) fn key_param(auth: &Auth) -> Option<String> {
    match auth {
        Auth::ApiKey { name, place: ApiKeyPlace::Query, .. } => Some(name.clone()),
        _ => None,
    }
}
