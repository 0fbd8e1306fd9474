//! `paging = { ... }`.

use crate::config::catalog::{CountedEnd, LastPage, Paging, PagingKind, Placed, RequestBody, Stream, TokenPlace};
use crate::config::node::Table;
use crate::config::problem::{Report, quote};
use crate::page::{ResponsePath, split_path};

const PAGES_MAX: u64 = 100_000;

/// A stream without `paging` has one page. `stream` is what its requests are made of, but for the cursor's query, of which `in_cursor` says
/// whether it speaks of the page.
pub(super) fn check(table: Option<&Table>, stream: &Stream, in_cursor: bool, report: &mut Report) -> Option<Paging> {
    let Some(table) = table else {
        return Some(Paging { kind: PagingKind::None, pages_max: PAGES_MAX, last: None, result_cap: None });
    };
    let kind = match table.text("type")?.as_str() {
        "page" => page(table, stream, report)?,
        "offset" => offset(table, stream, report)?,
        "page_token" => {
            PagingKind::PageToken { token: table.path("token")?, place: token_place(table, stream, in_cursor, report)? }
        }
        "keyset" => keyset(table, stream, in_cursor, report)?,
        "odata" => PagingKind::Odata,
        "graphql" => graphql(table, stream, report)?,
        "next_url" => PagingKind::NextUrl { url: table.path("url")? },
        "link_header" => PagingKind::LinkHeader,
        _ => PagingKind::None,
    };
    let pages_max = number(table, "pages_max").unwrap_or(PAGES_MAX);
    Some(Paging { kind, pages_max, last: last_page(table, report), result_cap: number(table, "result_cap") })
}

/// What says of a page with a token or an address whether it is the last.
fn last_page(table: &Table, report: &mut Report) -> Option<LastPage> {
    if !matches!(table.text("type")?.as_str(), "page_token" | "next_url") {
        return None;
    }
    if table.has("last") && table.has("more") {
        report.error(&table.place("more"), "the end is given more than once", "keep one of `last` and `more`");
    }
    let told = |key: &str, is: bool| table.path(key).map(|path| LastPage { path, is });
    told("last", true).or_else(|| told("more", false))
}

fn page(table: &Table, stream: &Stream, report: &mut Report) -> Option<PagingKind> {
    let page_size = number(table, "page_size");
    if table.has("size_param") && !table.has("page_size") {
        report.error(&table.place("size_param"), "`size_param` has no size to send", "add `page_size`");
    }
    Some(PagingKind::Page {
        end: counted_end(table, report)?,
        param: table.text("param")?,
        start: number(table, "start").unwrap_or(1),
        page_size,
        size_param: table.text("size_param"),
        placed: placed(table, &["param", "size_param"], stream, report)?,
    })
}

fn offset(table: &Table, stream: &Stream, report: &mut Report) -> Option<PagingKind> {
    let (offset_param, limit_param) = (table.text("offset_param"), table.text("limit_param"));
    if offset_param.is_some() && offset_param == limit_param {
        report.error(&table.place("limit_param"), "both parameters have one name", "name the one for the page's size");
    }
    Some(PagingKind::Offset {
        end: counted_end(table, report)?,
        offset_param: offset_param?,
        limit_param,
        start: number(table, "start").unwrap_or(0),
        page_size: number(table, "page_size")?,
        placed: placed(table, &["offset_param", "limit_param"], stream, report)?,
    })
}

fn counted_end(table: &Table, report: &mut Report) -> Option<CountedEnd> {
    let written: Vec<&str> = ["more", "total", "total_pages", "until"].into_iter().filter(|key| table.has(key)).collect();
    match written.as_slice() {
        [] => Some(CountedEnd::EmptyPage),
        ["more"] => table.path("more").map(CountedEnd::More),
        ["total"] => table.path("total").map(CountedEnd::Total),
        ["total_pages"] => table.path("total_pages").map(CountedEnd::TotalPages),
        [_] => {
            table.text("until")?;
            if !table.has("page_size") {
                report.error(&table.place("until"), "without `page_size` no page is short", "add `page_size`");
            }
            Some(CountedEnd::ShortPage)
        }
        [_, second, ..] => {
            let names: Vec<String> = written.iter().map(|key| quote(key)).collect();
            report.error(&table.place(second), "the end is given more than once", format!("keep one of {}", names.join(", ")));
            None
        }
    }
}

fn keyset(table: &Table, stream: &Stream, in_cursor: bool, report: &mut Report) -> Option<PagingKind> {
    if table.has("size_param") && !table.has("page_size") {
        report.error(&table.place("size_param"), "`size_param` has no size to send", "add `page_size`");
    }
    Some(PagingKind::Keyset {
        from: split_path(&table.text("from")?).ok()?,
        place: token_place(table, stream, in_cursor, report)?,
        page_size: number(table, "page_size"),
        size_param: table.text("size_param"),
        end: counted_end(table, report)?,
    })
}

fn graphql(table: &Table, stream: &Stream, report: &mut Report) -> Option<PagingKind> {
    if !matches!(stream.body, Some(RequestBody::Graphql { .. })) {
        let help = "give the stream body = { type = \"graphql\", query = \"..\" }";
        report.error(&table.place("type"), "only a GraphQL query has a variable for the next page", help);
    }
    let ResponsePath::Body(page_info) = table.path("page_info")? else { return None };
    let field = |name: &str| ResponsePath::Body(page_info.iter().cloned().chain([name.to_owned()]).collect());
    Some(PagingKind::Graphql {
        has_next: field("hasNextPage"),
        end_cursor: field("endCursor"),
        variable: table.text("variable").unwrap_or_else(|| "after".to_owned()),
    })
}

/// Where counted paging writes. `params` are the keys that hold paths, where it writes into the body.
fn placed(table: &Table, params: &[&str], stream: &Stream, report: &mut Report) -> Option<Placed> {
    if table.text("in").as_deref() != Some("body") {
        return Some(Placed::Query);
    }
    for param in params {
        if let Some(path) = table.text(param) {
            body_path(&path, table, param, stream, report)?;
        }
    }
    Some(Placed::Body)
}

/// Steps into the request's body.
fn body_path(path: &str, table: &Table, key: &str, stream: &Stream, report: &mut Report) -> Option<Vec<String>> {
    let steps = match split_path(path) {
        Ok(steps) if !steps.is_empty() => steps,
        Ok(_) => return None,
        Err(why) => {
            report.error(&table.place(key), why, "write a dotted path, such as \"paging.after\"");
            return None;
        }
    };
    match &stream.body {
        Some(RequestBody::Json(_) | RequestBody::Graphql { .. }) => Some(steps),
        Some(RequestBody::Form(_)) if steps.len() == 1 => Some(steps),
        Some(RequestBody::Form(_)) => {
            report.error(&table.place(key), "a form's fields have no paths", "name one field");
            None
        }
        Some(RequestBody::Text { .. }) => {
            report.error(&table.place(key), "a text has no fields", "write `{{ page.token }}` into the text, and take this out");
            None
        }
        None => {
            report.error(&table.place(key), "the stream has no body", "give it one: body = { type = \"json\", value = {} }");
            None
        }
    }
}

fn token_place(table: &Table, stream: &Stream, in_cursor: bool, report: &mut Report) -> Option<TokenPlace> {
    let written: Vec<&str> = ["param", "header", "body"].into_iter().filter(|key| table.has(key)).collect();
    match written.as_slice() {
        ["param"] => table.text("param").map(TokenPlace::Param),
        ["header"] => table.header("header").map(TokenPlace::Header),
        ["body"] => body_path(&table.text("body")?, table, "body", stream, report).map(TokenPlace::Body),
        [] if in_cursor || stream.templates().iter().any(|template| template.uses("page")) => Some(TokenPlace::Template),
        [] => {
            let help = "write one of `param`, `header` and `body`, or `{{ page.token }}` where it belongs";
            report.error(&table.at, "nothing says where the token goes back", help);
            None
        }
        _ => {
            report.error(&table.at, "the token goes back in one place", "keep one of `param`, `header` and `body`");
            None
        }
    }
}

/// Shapes allow no negative number here.
fn number(table: &Table, key: &str) -> Option<u64> {
    table.integer(key).and_then(|number| u64::try_from(number).ok())
}
