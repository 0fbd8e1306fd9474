//! `type = "session"`: what logs in, and what comes of it.

use std::collections::BTreeSet;
use std::time::Duration;

use http::{HeaderValue, Method, header};

use crate::config::catalog::{PlainRequest, Session, SessionPlace};
use crate::config::node::Table;
use crate::config::problem::Report;

use super::super::names::Position;
use super::super::{body, source, stream};
use super::Around;

pub(super) fn check(table: &Table, around: &Around<'_>, report: &mut Report) -> Option<Session> {
    let login = table.table("login").and_then(|login| request(login, around, report));
    if let (Some(request), Some(login)) = (&login, table.table("login"))
        && !request.templates().iter().any(|template| template.uses("password"))
    {
        report.error(&login.at, "the login does not show the password", "add `{{ password }}` to its body or headers");
    }
    let (place, expires) = (place(table, report), expires(table, report));
    let (username, password) = (table.secret("username")?, table.secret("password")?);
    Some(Session { username, password, login: login?, place: place?, expires: expires? })
}

fn request(table: &Table, around: &Around<'_>, report: &mut Report) -> Option<PlainRequest> {
    let mut names: BTreeSet<String> = around.parameters.clone();
    names.extend(["username", "password"].map(str::to_owned));
    let path = table.template("path");
    if let Some(path) = &path {
        // An address is written down in many a log on its way.
        stream::check_path(path, table, Position::Header, around.parameters, report);
    }
    let body = match table.table("body") {
        Some(body) => body::check(body, around.root, Position::Header, &names, report).map(Some),
        None if table.has("body") => None,
        None => Some(None),
    };
    let method = table.method("method").unwrap_or(Method::POST);
    if method == Method::GET && table.has("body") {
        report.error(&table.place("method"), "a GET carries no body", "write \"POST\", or take the body out");
    }
    let headers = source::headers(table, None, Position::Header, &names, report);
    Some(PlainRequest { method, path: path?, query: Vec::new(), headers, body: body? })
}

fn place(table: &Table, report: &mut Report) -> Option<SessionPlace> {
    match (table.has("token"), table.has("cookie")) {
        (true, false) => {
            let prefix = table.text("prefix").unwrap_or_default();
            if HeaderValue::from_str(&prefix).is_err() {
                report.error(
                    &table.place("prefix"),
                    "the prefix cannot stand in a header",
                    "use visible ASCII without line breaks",
                );
            }
            let name = table.header("header").unwrap_or(header::AUTHORIZATION);
            Some(SessionPlace::Header { token: table.path("token")?, name, prefix })
        }
        (false, true) => {
            super::check_cookie_name(table, "cookie", report);
            for key in ["header", "prefix"].into_iter().filter(|key| table.has(key)) {
                report.error(&table.place(key), "a cookie goes back as a cookie", "take it out, or write `token`");
            }
            Some(SessionPlace::Cookie(table.text("cookie")?))
        }
        (false, false) => {
            let help = "write `token` with its path in the answer, or `cookie` with the cookie's name";
            report.error(&table.at, "nothing says what the login gives", help);
            None
        }
        (true, true) => {
            report.error(&table.place("cookie"), "the session is shown in one way", "keep one of `token` and `cookie`");
            None
        }
    }
}

/// Outer `None`: it is wrong.
fn expires(table: &Table, report: &mut Report) -> Option<Option<Duration>> {
    let Some(length) = table.duration("expires") else { return Some(None) };
    match Duration::try_from(length) {
        Ok(length) if length >= Duration::from_secs(1) => Some(Some(length)),
        _ => {
            report.error(&table.place("expires"), "a session of no length helps nobody", "give a duration from \"1s\" on");
            None
        }
    }
}
