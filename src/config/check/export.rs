//! `[streams.NAME.export]`.

use std::collections::BTreeSet;
use std::time::Duration;

use http::Method;

use crate::config::catalog::{Export, PagingKind, PlainRequest, Poll, Stream};
use crate::config::node::{Node, Table};
use crate::config::problem::Report;
use crate::template::Template;

use super::names::Position;
use super::stream::{self, Around};
use super::{body, source};

const EVERY: Duration = Duration::from_secs(5);
const EVERY_MAX: Duration = Duration::from_secs(60);
const DEADLINE: Duration = Duration::from_secs(2 * 3600);

/// `parameters` are the names that the stream's own templates know, `export` not among them.
pub(super) fn check(
    table: &Table,
    position: Position,
    parameters: &BTreeSet<String>,
    around: &Around<'_>,
    report: &mut Report,
) -> Option<Export> {
    let mut named = parameters.clone();
    named.insert("export".to_owned());
    let create = table.table("create").and_then(|table| request(table, position, parameters, around, Method::POST, report));
    let cleanup = match table.table("cleanup") {
        Some(cleanup) => request(cleanup, position, &named, around, Method::DELETE, report).map(Some),
        None => Some(None),
    };
    let poll = table.table("poll").and_then(|table| poll(table, position, &named, around, report));
    Some(Export {
        create: create?,
        idempotency_header: table.header("idempotency_header"),
        id: table.path("id")?,
        poll: poll?,
        download: table.path("download"),
        cleanup: cleanup?,
    })
}

fn request(
    table: &Table,
    position: Position,
    names: &BTreeSet<String>,
    around: &Around<'_>,
    usual: Method,
    report: &mut Report,
) -> Option<PlainRequest> {
    let path = table.template("path");
    if let Some(path) = &path {
        stream::check_path(path, table, position, names, report);
    }
    let body = match table.table("body") {
        Some(body) => body::check(body, around.root, position, names, report).map(Some),
        None if table.has("body") => None,
        None => Some(None),
    };
    let method = table.method("method").unwrap_or(usual);
    if method == Method::GET && table.has("body") {
        report.error(&table.place("method"), "a GET carries no body", "write \"POST\", or take the body out");
    }
    Some(PlainRequest {
        method,
        path: path?,
        query: stream::query(table, position, names, report),
        headers: source::headers(table, around.auth, position, names, report),
        body: body?,
    })
}

fn poll(table: &Table, position: Position, names: &BTreeSet<String>, around: &Around<'_>, report: &mut Report) -> Option<Poll> {
    let usual = if table.has("body") { Method::POST } else { Method::GET };
    let request = match table.has("path") {
        true => request(table, position, names, around, usual, report).map(Some),
        false => {
            for key in ["method", "query", "headers", "body"].into_iter().filter(|key| table.has(key)) {
                report.error(&table.place(key), "nothing says where to send it", "add `path`, or take this out");
            }
            Some(None)
        }
    };
    if let Some(Some(request)) = &request
        && !uses_export(&request.templates())
    {
        report.error(&table.place("path"), "the request is the same for every export", "name it: \"/jobs/{{ export.id }}\"");
    }
    let words = |key: &str| table.list(key).iter().filter_map(Node::text).map(str::to_owned).collect::<Vec<_>>();
    let (done, failed) = (words("done"), words("failed"));
    if table.has("status") && done.is_empty() {
        report.error(&table.place("done"), "nothing says when the export is done", "add the words, such as done = [\"done\"]");
    }
    for key in ["done", "failed"].into_iter().filter(|key| table.has(key) && !table.has("status")) {
        report.error(&table.place(key), "nothing says where the word stands", "add `status`, such as status = \"state\"");
    }
    if let Some(word) = failed.iter().find(|word| done.contains(word)) {
        report.error(&table.place("failed"), format!("`{word}` cannot mean both"), "keep it in one of `done` and `failed`");
    }
    let every = duration(table, "every", EVERY, report);
    let every_max = duration(table, "every_max", EVERY_MAX.max(every), report);
    if every_max < every {
        report.error(&table.place("every_max"), "the longest wait is shorter than the first", "give at least `every`");
    }
    let deadline = duration(table, "deadline", DEADLINE, report);
    let (status, message) = (table.path("status"), table.path("message"));
    Some(Poll { request: request?, every, every_max, deadline, status, done, failed, message })
}

fn duration(table: &Table, key: &str, usual: Duration, report: &mut Report) -> Duration {
    let Some(length) = table.duration(key) else { return usual };
    match Duration::try_from(length) {
        Ok(length) if !length.is_zero() => length,
        _ => {
            report.error(&table.place(key), "that is no time", "give a duration above zero, such as \"30s\"");
            usual
        }
    }
}

/// The stream's own request, paging and parent, where its records are exported.
pub(super) fn check_around(table: &Table, stream: &Stream, report: &mut Report) {
    let Some(export) = &stream.export else { return };
    if table.has("parent") {
        let help = "take one of them out: an export of all records is most often what is wanted";
        report.error(&table.place("export"), "an export for each record of another stream is not built yet", help);
    }
    match &export.download {
        Some(_) => {
            for key in ["path", "method", "query", "headers", "body"].into_iter().filter(|key| table.has(key)) {
                report.error(&table.place(key), "the export tells the whole address to fetch", "take it out");
            }
            if !matches!(stream.paging.kind, PagingKind::None) {
                let help = "take it out: each address is a page of its own";
                report.error(&table.place("paging"), "what an export's addresses lead to has no pages", help);
            }
        }
        None if table.has("path") && !uses_export(&stream.own_templates()) => {
            let help = "name it in the path: \"/jobs/{{ export.id }}/results\", or write `download`";
            report.error(&table.place("path"), "the request fetches the same for every export", help);
        }
        None => {}
    }
}

fn uses_export(templates: &[&Template]) -> bool {
    templates.iter().any(|template| template.uses("export"))
}
