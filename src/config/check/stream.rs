//! `[streams.NAME]`.

use std::collections::BTreeSet;
use std::path::Path;

use http::Method;

use crate::config::catalog::{Auth, Conditional, ErrorRule, Export, Order, Paging, PagingKind, Placed, Stream, TokenPlace};
use crate::config::node::{Node, Table};
use crate::config::problem::{Place, Report, quote};
use crate::page::ResponsePath;
use crate::template::Template;

use super::names::{self, Position};
use super::{auth, body, cursor, errors, export, format, paging, source};

/// What a stream's check knows of its source.
pub(super) struct Around<'a> {
    pub parameters: &'a BTreeSet<String>,
    pub auth: Option<&'a Auth>,
    /// The source's own rules.
    pub errors: &'a [ErrorRule],
    /// The project's folder.
    pub root: &'a Path,
}

pub(super) fn check(name: &str, table: &Table, around: &Around<'_>, report: &mut Report) -> Option<Stream> {
    let position = position(table);
    let mut parameters = around.parameters.clone();
    if table.has("parent") {
        parameters.insert("parent".to_owned());
    }
    let export = match table.table("export") {
        Some(export) => export::check(export, position, &parameters, around, report).map(Some),
        None if table.has("export") => None,
        None => Some(None),
    };
    if table.has("export") {
        parameters.insert("export".to_owned());
    }
    let parameters = &parameters;
    let path = path(table, export.as_ref(), report);
    if let Some(path) = &path {
        check_path(path, table, position, parameters, report);
    }
    let mut errors = errors::check(table, report);
    errors.extend(around.errors.iter().cloned());
    let body = match table.table("body") {
        Some(body) => body::check(body, around.root, position, parameters, report).map(Some),
        None if table.has("body") => None,
        None => Some(None),
    };
    let format = format::check(table, report);
    let mut stream = Stream {
        name: name.to_owned(),
        method: method(table, report),
        path: path?,
        query: query(table, position, parameters, report),
        headers: source::headers(table, around.auth, position, parameters, report),
        body: body?,
        errors,
        format: format?,
        packing: format::packing(table),
        records: table.path("records").unwrap_or_else(ResponsePath::root),
        records_optional: table.boolean("records_optional").unwrap_or(false),
        one_record: table.boolean("one_record").unwrap_or(false),
        primary_key: primary_key(table, report),
        deleted: table.text("deleted"),
        deleted_is: deleted_is(table, report),
        paging: Paging { kind: PagingKind::None, pages_max: 1, last: None, result_cap: None },
        conditional: match table.text("conditional").as_deref() {
            Some("last_modified") => Conditional::LastModified,
            Some("never") => Conditional::Never,
            _ => Conditional::Etag,
        },
        cursor: None,
        parent: None,
        export: export?,
    };
    let in_cursor = table.table("cursor").map_or(&[][..], |cursor| cursor.map("query"));
    let is_paged = in_cursor.iter().filter_map(|(_, node)| node.template()).any(|template| template.uses("page"));
    let paging = paging::check(table.table("paging"), &stream, is_paged, report);
    format::refuse_paths(table.table("paging"), &stream.format, report);
    let asked_from = stream.templates().iter().any(|template| template.uses("from"));
    let cursor = match table.table("cursor") {
        Some(table) => {
            let query = query(table, position, parameters, report);
            cursor::check(table, query, asked_from, report).map(Some)
        }
        // A cursor that is written but is no table was reported; the stream must not become one without a cursor.
        None if table.has("cursor") => None,
        None => Some(None),
    };
    if let Some(Some(cursor)) = &cursor
        && cursor.cursor_type.has_mark()
        && !table.has("primary_key")
        && let Some(cursor_table) = table.table("cursor")
    {
        let message =
            format!("{} needs a key: rows at the mark are read again and told apart by it", cursor::named(cursor.cursor_type));
        report.error(&cursor_table.place("type"), message, "add primary_key = [\"id\"] to the stream");
    }
    let key_param = around.auth.and_then(auth::key_param);
    refuse_double_entries(table, paging.as_ref().map(|paging| &paging.kind), key_param.as_deref(), report);
    stream.paging = paging?;
    stream.cursor = cursor?;
    if let Some(paging) = table.table("paging") {
        check_ties(&stream, &paging.place("from"), report);
    }
    export::check_around(table, &stream, report);
    if let Some(paging) = table.table("paging").filter(|_| stream.paging.result_cap.is_some()) {
        check_cap(&stream, &paging.place("result_cap"), report);
    }
    Some(stream)
}

/// What is more than the API gives can be asked for in pieces, or from the last record on; else it is only noticed.
fn check_cap(stream: &Stream, place: &Place, report: &mut Report) {
    let can_go_on = stream.cursor.as_ref().is_some_and(|cursor| {
        let in_halves = cursor.cursor_type.is_time() && cursor.has_upper_bound(stream);
        in_halves || cursor.order == Order::Ascending
    });
    if !can_go_on {
        let help = "give the cursor an entry with `{{ to }}`, or order = \"ascending\" if the API sorts by it; without either, a slice that reaches it fails";
        report.warning(place, "what is more than the API gives cannot be asked for in pieces", help);
    }
}

/// Reading on behind a value leaves out what shares it, where a page ends among those.
fn check_ties(stream: &Stream, place: &Place, report: &mut Report) {
    let PagingKind::Keyset { from, .. } = &stream.paging.kind else { return };
    let from = from.join(".");
    if stream.primary_key.is_empty() || stream.primary_key == [from.as_str()] {
        return;
    }
    let message = format!("records that share a value of {} may be lost where a page ends between them", quote(&from));
    let key = stream.primary_key.join(".");
    let help = format!("go on from what no two records share, such as {}, if the API takes that", quote(&key));
    report.warning(place, message, help);
}

fn method(table: &Table, report: &mut Report) -> Method {
    let usual = if table.has("body") { Method::POST } else { Method::GET };
    let method = table.method("method").unwrap_or(usual);
    if method == Method::GET && table.has("body") {
        report.error(&table.place("method"), "a GET carries no body", "write \"POST\", or take the body out");
    }
    if method == Method::DELETE {
        let help = "check that the API only reads here: a request is made again after a failure, by `preview` and by each run";
        report.warning(&table.place("method"), "a DELETE may take away what it reads", help);
    }
    method
}

fn position(table: &Table) -> Position {
    let cursor_type = table.table("cursor").and_then(|cursor| cursor.text("type"));
    match (table.has("cursor"), cursor_type.as_deref().and_then(cursor::type_named)) {
        (false, _) => Position::Unbounded,
        (true, Some(cursor_type)) if !cursor_type.is_time() => Position::LowerBounded,
        (true, _) => Position::Bounded,
    }
}

pub(super) fn query(
    table: &Table,
    position: Position,
    parameters: &BTreeSet<String>,
    report: &mut Report,
) -> Vec<(String, Template)> {
    let mut query = Vec::new();
    for (name, node) in table.map("query") {
        if let Some(template) = node.template() {
            names::check(template, &node.at, position, parameters, report);
            query.push((name.clone(), template.clone()));
        }
    }
    query
}

/// The address; where an export tells whole ones, what is relative in them is so to the address that created it.
fn path(table: &Table, export: Option<&Option<Export>>, report: &mut Report) -> Option<Template> {
    if table.has("path") {
        return table.template("path");
    }
    if let Some(Export { create, download: Some(_), .. }) = export?.as_ref() {
        return Some(create.path.clone());
    }
    report.error(&table.place_of_missing("path"), "`path` is missing", "add `path`");
    None
}

/// What is written out in a path must stay a path below `base_url`.
pub(super) fn check_path(path: &Template, table: &Table, position: Position, parameters: &BTreeSet<String>, report: &mut Report) {
    let at = table.place("path");
    names::check(path, &at, position, parameters, report);
    let literal = names::literal_text(path.text());
    if literal.contains("://") || literal.starts_with("//") || literal.contains('\\') {
        report.error(&at, "the path holds an address", "write only what follows `base_url`, such as \"/items\"");
    } else if literal.contains(['?', '#']) {
        report.error(&at, "the path holds a query or a fragment", "write its entries into `query`");
    } else if literal.split('/').any(|part| part == ".." || part == ".") {
        report.error(&at, "the path leaves its folder", "write it without `.` and `..`");
    } else if literal.contains(char::is_control) {
        report.error(&at, "the path holds a control character", "take it out");
    }
}

fn primary_key(table: &Table, report: &mut Report) -> Vec<String> {
    let mut key: Vec<String> = Vec::new();
    for node in table.list("primary_key") {
        let Some(field) = node.text() else { continue };
        if key.iter().any(|known| known == field) {
            report.error(&node.at, format!("the field {} stands twice in the key", quote(field)), "name it once");
        }
        key.push(field.to_owned());
    }
    if table.node("primary_key").is_some_and(is_empty_list) {
        report.error(&table.place("primary_key"), "the key has no field", "name the fields, or leave the key out");
    }
    key
}

fn deleted_is(table: &Table, report: &mut Report) -> Vec<String> {
    if table.has("deleted_is") && !table.has("deleted") {
        let help = "add deleted = \"path\": the field that holds one of them";
        report.error(&table.place("deleted_is"), "`deleted_is` has no meaning without `deleted`", help);
    }
    if table.node("deleted_is").is_some_and(is_empty_list) {
        report.error(&table.place("deleted_is"), "no value is named", "name the values, or leave the key out");
    }
    table.list("deleted_is").iter().filter_map(|node| node.text().map(str::to_owned)).collect()
}

fn is_empty_list(node: &Node) -> bool {
    matches!(&node.value, crate::config::node::Value::List(items) if items.is_empty())
}

/// A name that two hands write would reach the API twice, and which one counts is the API's whim.
fn refuse_double_entries(table: &Table, paging: Option<&PagingKind>, key_param: Option<&str>, report: &mut Report) {
    let mut taken: Vec<(String, &str)> = Vec::new();
    taken.extend(key_param.map(|name| (name.to_owned(), "`auth`")));
    taken.extend(paging_params(paging).into_iter().map(|name| (name.to_owned(), "`paging`")));
    let cursor = table.table("cursor").map_or(&[][..], |cursor| cursor.map("query"));
    for (name, node) in table.map("query").iter().chain(cursor) {
        match taken.iter().find(|(known, _)| known == name) {
            Some((_, who)) => {
                report.error(&node.at, format!("{who} writes the query entry {} already", quote(name)), "keep one of them")
            }
            None => taken.push((name.clone(), "`query`")),
        }
    }
}

fn paging_params(paging: Option<&PagingKind>) -> Vec<&str> {
    match paging {
        Some(PagingKind::Page { param, size_param, placed: Placed::Query, .. }) => names_of([Some(param), size_param.as_ref()]),
        Some(PagingKind::Offset { offset_param, limit_param, placed: Placed::Query, .. }) => {
            names_of([Some(offset_param), limit_param.as_ref()])
        }
        Some(PagingKind::Keyset { place: TokenPlace::Param(param), size_param, .. }) => {
            names_of([Some(param), size_param.as_ref()])
        }
        Some(PagingKind::Keyset { size_param, .. }) => names_of([size_param.as_ref(), None]),
        Some(PagingKind::PageToken { place: TokenPlace::Param(param), .. }) => vec![param],
        _ => Vec::new(),
    }
}

fn names_of(names: [Option<&String>; 2]) -> Vec<&str> {
    names.into_iter().flatten().map(String::as_str).collect()
}
