//! `paging = { ... }`.

use crate::config::catalog::{CountedEnd, Paging, PagingKind, TokenPlace};
use crate::config::node::Table;
use crate::config::problem::{Report, quote};

const PAGES_MAX: u64 = 100_000;

/// A stream without `paging` has one page.
pub(super) fn check(table: Option<&Table>, report: &mut Report) -> Option<Paging> {
    let Some(table) = table else {
        return Some(Paging { kind: PagingKind::None, pages_max: PAGES_MAX });
    };
    let kind = match table.text("type")?.as_str() {
        "page" => page(table, report)?,
        "offset" => offset(table, report)?,
        "page_token" => page_token(table, report)?,
        "next_url" => PagingKind::NextUrl { url: table.path("url")? },
        "link_header" => PagingKind::LinkHeader,
        _ => PagingKind::None,
    };
    Some(Paging { kind, pages_max: number(table, "pages_max").unwrap_or(PAGES_MAX) })
}

fn page(table: &Table, report: &mut Report) -> Option<PagingKind> {
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
    })
}

fn offset(table: &Table, report: &mut Report) -> Option<PagingKind> {
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

fn page_token(table: &Table, report: &mut Report) -> Option<PagingKind> {
    let place = match (table.has("param"), table.has("header")) {
        (true, false) => TokenPlace::Param(table.text("param")?),
        (false, true) => TokenPlace::Header(table.header("header")?),
        (given, _) => {
            let message = if given { "the token goes back in one place" } else { "nothing says where the token goes back" };
            report.error(&table.at, message, "write either `param` or `header`");
            return None;
        }
    };
    Some(PagingKind::PageToken { token: table.path("token")?, place })
}

/// Shapes allow no negative number here.
fn number(table: &Table, key: &str) -> Option<u64> {
    table.integer(key).and_then(|number| u64::try_from(number).ok())
}
