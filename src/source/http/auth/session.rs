//! A session: a login of the API's own, what it gives, and where that is shown.

use std::collections::BTreeMap;
use std::time::Duration;

use ::http::header::{ACCEPT, CONTENT_TYPE, SET_COOKIE};
use ::http::{HeaderMap, HeaderName, HeaderValue, Method};
use bytes::Bytes;
use serde_json::Value as Json;
use url::Url;

use crate::config::catalog::{self, SessionPlace};
use crate::config::secret::{ExposeSecret, SecretString};
use crate::error::ErrorKind;
use crate::page::{ResponsePath, find_value};
use crate::source::FetchError;
use crate::template::{Scope, Template};

use super::super::origin::without_query;
use super::super::payload::{Draft, Payload};
use super::super::request;
use super::super::status::{Remedy, judge};
use super::answer::{Obtained, TOKEN_MAX};
use super::attach::Attach;
use super::denial::Denial;
use super::line::{Line, Post, Reply};
use super::oauth2::fingerprint;
use super::resolver::{Resolver, describe};

/// A login with its secrets.
pub(super) struct Recipe {
    method: Method,
    url: Url,
    headers: HeaderMap,
    payload: Option<Payload>,
    place: SessionPlace,
    expires: Option<Duration>,
    /// As messages show what it rests on.
    name: String,
}

impl Recipe {
    pub(super) fn resolve(
        resolver: &mut Resolver<'_>,
        session: &catalog::Session,
        base_url: &Url,
        parameters: &BTreeMap<String, String>,
    ) -> Result<Self, FetchError> {
        let (username, password) = (resolver.resolve(&session.username)?, resolver.resolve(&session.password)?);
        let name = match describe(&session.username) {
            username if username.starts_with('`') => format!("{username}, {}", describe(&session.password)),
            _ => describe(&session.password),
        };
        let wrong = |key: &str, why: String| FetchError::new(ErrorKind::Config, format!("auth.login.{key}: {why}"));
        let login = &session.login;
        let url = request::below(base_url, &login.path, |write| {
            let parameters = parameters.iter().map(|(name, value)| (name.clone(), write(value))).collect();
            Scope::new().parameters(&parameters)
        });
        let scope = Scope::new()
            .parameters(parameters)
            .set("username", username.expose_secret())
            .set("password", password.expose_secret());
        let headers = headers(&login.headers, &scope).map_err(|why| wrong("headers", why))?;
        let draft = login.body.as_ref().map(Draft::new).transpose()?;
        let payload = draft.map(|draft| draft.render(&scope, &[])).transpose().map_err(|why| wrong("body", why))?;
        let (method, place, expires) = (login.method.clone(), session.place.clone(), session.expires);
        Ok(Recipe { method, url: url?, headers, payload, place, expires, name })
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// By what the session is kept: all that logs in, and what is taken of the answer.
    pub(super) fn vault_key(&self) -> String {
        let body = self.payload.as_ref().map_or(String::new(), |payload| String::from_utf8_lossy(&payload.bytes).into_owned());
        let headers = format!("{:?}", self.headers.iter().map(|(name, value)| (name, value.as_bytes())).collect::<Vec<_>>());
        let place = format!("{:?}", self.place);
        fingerprint(["session", self.method.as_str(), self.url.as_str(), &headers, &body, &place])
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) async fn ask(&self, line: &Line) -> Result<Obtained, Denial> {
        line.ask(|| Ok(self.post()), |reply| self.read(reply)).await
    }

    fn post(&self) -> Post {
        let mut headers = self.headers.clone();
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("application/json, */*;q=0.1"));
        let mut body = Bytes::new();
        if let Some(payload) = &self.payload {
            headers.entry(CONTENT_TYPE).or_insert_with(|| payload.content_type.clone());
            body = payload.bytes.clone();
        }
        Post { method: self.method.clone(), url: self.url.clone(), headers, body }
    }

    /// Nothing of a body is ever shown: it may be the token.
    fn read(&self, reply: &Reply) -> Result<Obtained, (Denial, Remedy)> {
        let address = without_query(&self.url);
        let status = reply.status;
        let found = match &self.place {
            SessionPlace::Header { token, .. } => {
                status.is_success().then(|| token_at(token, reply)).flatten().map(|token| (token, None))
            }
            // A form that lets in most often sends the browser on.
            SessionPlace::Cookie(name) => {
                (status.is_success() || status.is_redirection()).then(|| cookie(name, &reply.headers)).flatten()
            }
        };
        let denied = |kind, why: String| Denial::new(kind, format!("the login at {address} answered {status}{why}"));
        if let Some((token, lifetime)) = found {
            if token.len() > TOKEN_MAX || !token.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
                return Err((denied(ErrorKind::Data, ": what it gives is no token".to_owned()), Remedy::None));
            }
            let lifetime = match (self.expires, lifetime) {
                (Some(said), Some(told)) => Some(said.min(told)),
                (said, told) => said.or(told),
            };
            return Ok(Obtained { access: SecretString::from(token), refresh: None, lifetime });
        }
        let (kind, remedy) = judge(status, None);
        Err(match status.as_u16() {
            200..=399 => {
                let place = match &self.place {
                    SessionPlace::Header { token, .. } => format!("token at `{token}`"),
                    SessionPlace::Cookie(name) => format!("cookie `{name}`"),
                };
                (
                    denied(
                        ErrorKind::Auth,
                        format!(" and gave no {place}: it refuses {}, or `auth` names another place", self.name),
                    ),
                    Remedy::None,
                )
            }
            400 | 401 | 403 | 422 => (denied(ErrorKind::Auth, format!(": it refuses {}", self.name)), Remedy::None),
            404 | 405 => (denied(ErrorKind::Config, "; see `auth.login`".to_owned()), Remedy::None),
            _ => (denied(kind, String::new()), if remedy == Remedy::Retry { remedy } else { Remedy::None }),
        })
    }

    pub(super) fn attach(&self, token: &str) -> Result<Attach, Denial> {
        let bad = || Denial::new(ErrorKind::Data, "the token that the login gave cannot stand in a header");
        let sensitive = |text: String| {
            let mut value = HeaderValue::from_str(&text).map_err(|_| bad())?;
            value.set_sensitive(true);
            Ok(value)
        };
        match &self.place {
            SessionPlace::Header { name, prefix, .. } => Ok(Attach::Header(name.clone(), sensitive(format!("{prefix}{token}"))?)),
            SessionPlace::Cookie(name) => Ok(Attach::Cookie(sensitive(format!("{name}={token}"))?)),
        }
    }
}

fn headers(templates: &[(HeaderName, Template)], scope: &Scope) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, template) in templates {
        let mut value = template.render_header(scope).map_err(|why| format!("{name}: {why}"))?;
        value.set_sensitive(true);
        headers.insert(name.clone(), value);
    }
    Ok(headers)
}

fn token_at(path: &ResponsePath, reply: &Reply) -> Option<String> {
    let token = match path {
        ResponsePath::Header(name) => reply.headers.get(name)?.to_str().ok()?.trim().to_owned(),
        ResponsePath::Body(steps) => {
            let body: Json = serde_json::from_slice(&reply.body).ok()?;
            match find_value(&body, steps)? {
                Json::String(text) => text.clone(),
                Json::Number(number) => number.to_string(),
                _ => return None,
            }
        }
    };
    (!token.is_empty()).then_some(token)
}

/// A cookie's value as it is sent back, and how long it holds where that is said (RFC 6265 section 5.2).
fn cookie(name: &str, headers: &HeaderMap) -> Option<(String, Option<Duration>)> {
    headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok()).find_map(|text| {
        let mut parts = text.split(';').map(str::trim);
        let (found, value) = parts.next()?.split_once('=')?;
        let value = value.trim();
        if found.trim() != name || value.is_empty() || value == "\"\"" {
            return None;
        }
        let seconds = parts.filter_map(|part| part.split_once('=')).find(|(key, _)| key.eq_ignore_ascii_case("max-age"));
        let seconds = seconds.and_then(|(_, text)| text.trim().parse::<i64>().ok());
        // One that ends at once is taken away, not given.
        match seconds.map(u64::try_from) {
            Some(Ok(0) | Err(_)) => None,
            Some(Ok(seconds)) => Some((value.to_owned(), Some(Duration::from_secs(seconds)))),
            None => Some((value.to_owned(), None)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others_with_its_length() {
        let found = |lines: &[&str]| {
            let lines = lines.iter().map(|line| (SET_COOKIE, HeaderValue::from_str(line).unwrap()));
            cookie("SID", &lines.collect()).map(|(value, length)| (value, length.map(|length| length.as_secs())))
        };
        assert_eq!(found(&["a=1; Path=/", "SID=x=y; HttpOnly; Max-Age=60; Secure"]), Some(("x=y".to_owned(), Some(60))));
        assert_eq!(found(&["SID=\"q\""]), Some(("\"q\"".to_owned(), None)));
        for nothing in ["SID=; Path=/", "SID=gone; Max-Age=0", "SID=gone; max-age=-1", "sid=x", "SID", "XSID=1"] {
            assert_eq!(found(&[nothing]), None, "{nothing}");
        }
    }
}
