//! Why no page follows, in words for whoever tries a definition out.

use std::cmp::Ordering;

use ::http::HeaderMap;

use crate::config::catalog::{CountedEnd, PagingKind};
use crate::page::{Captured, Envelope, PagePosition, ResponsePath};
use crate::source::Ending;

use super::{Answer, Pager, link_header, odata, page_token};

impl Pager {
    /// Why the page at a position is the last one, given that it is.
    pub(in super::super) fn ending(&self, at: &PagePosition, envelope: &Envelope, headers: &HeaderMap) -> Ending {
        let answer = Answer { at, envelope, headers };
        let plain = |rule: String| Ending { rule, doubt: None };
        if envelope.is_nothing {
            return plain("a rule of [[errors]] takes the answer for none".to_owned());
        }
        if let Some(last) = &self.paging.last
            && self.is_last(&answer) == Ok(true)
        {
            return plain(match last.is {
                true => format!("`{}` says that it is the last", last.path),
                false => format!("`{}` is false", last.path),
            });
        }
        match &self.paging.kind {
            PagingKind::None => Ending {
                rule: "without `paging` one page is everything".to_owned(),
                doubt: link_header::next_link(headers).map(|_| {
                    "the answer has a `Link` header that leads to a next page: write paging = { type = \"link_header\" }"
                        .to_owned()
                }),
            },
            PagingKind::Page { end, page_size, .. } | PagingKind::Keyset { end, page_size, .. } => {
                Ending { rule: counted_out(end, *page_size, &answer), doubt: self.doubt_of_total(at, envelope, headers) }
            }
            PagingKind::Offset { end, page_size, .. } => {
                Ending { rule: counted_out(end, Some(*page_size), &answer), doubt: self.doubt_of_total(at, envelope, headers) }
            }
            PagingKind::PageToken { token, .. }
                if text_at(token, &answer).is_some_and(|text| page_token::leads_to_itself(&text, &answer)) =>
            {
                plain(format!("it is empty, and `{token}` leads to itself"))
            }
            PagingKind::PageToken { token, .. } => nothing_at("token", std::slice::from_ref(token), &answer),
            PagingKind::NextUrl { url } => nothing_at("url", std::slice::from_ref(url), &answer),
            PagingKind::Odata => nothing_at("type", &odata::paths(), &answer),
            PagingKind::LinkHeader => Ending {
                rule: "no `Link` header leads to a next page".to_owned(),
                doubt: (is_first_of_some(&answer) && !headers.contains_key(::http::header::LINK)).then(|| {
                    "the first answer has no `Link` header; if there are more records, this API pages in another way".to_owned()
                }),
            },
            PagingKind::Graphql { has_next, .. } => plain(format!("`{has_next}` is false")),
        }
    }
}

impl Pager {
    /// Where a first page is as full as it may be and has all that its total tells of, or even more: that may count the records of the
    /// page alone.
    pub(in super::super) fn doubt_of_total(&self, at: &PagePosition, envelope: &Envelope, headers: &HeaderMap) -> Option<String> {
        let (end, size) = match &self.paging.kind {
            PagingKind::Page { end, page_size: Some(size), .. } | PagingKind::Offset { end, page_size: size, .. } => (end, *size),
            _ => return None,
        };
        let CountedEnd::Total(path) = end else { return None };
        let (records, total) = (envelope.records, self.total(at, envelope, headers)?);
        let first = match (records == size, records.cmp(&total)) {
            (true, Ordering::Equal) => {
                format!("the first page has the {size} records that were asked for, and `{path}` tells of no more")
            }
            (_, Ordering::Greater) => format!("the first page has {records} records, and `{path}` tells of {total}"),
            _ => return None,
        };
        let doubt =
            format!("{first}; if there are more, it counts those of a page: take `total` out, and an empty page is the end");
        (at.index == 0).then_some(doubt)
    }
}

fn counted_out(end: &CountedEnd, page_size: Option<u64>, answer: &Answer<'_>) -> String {
    let records = answer.envelope.records;
    let said = |path: &ResponsePath| text_at(path, answer).unwrap_or_default();
    match end {
        CountedEnd::EmptyPage => "it is empty".to_owned(),
        CountedEnd::ShortPage => match page_size.filter(|_| records > 0) {
            Some(size) => format!("it has {records} of {size} records"),
            None => "it is empty".to_owned(),
        },
        CountedEnd::More(path) => format!("`{path}` is false"),
        CountedEnd::Total(path) => format!("`{path}` says {} records, and as many came", said(path)),
        CountedEnd::TotalPages(path) => format!("`{path}` says that there are {}", said(path)),
    }
}

/// What leads on stands at none of the paths. Where it never did, the path may be wrong.
fn nothing_at(key: &str, paths: &[ResponsePath], answer: &Answer<'_>) -> Ending {
    let named = paths.iter().map(|path| format!("`{path}`")).collect::<Vec<_>>().join(", ");
    let is_there = |path: &ResponsePath| match path {
        ResponsePath::Header(name) => answer.headers.contains_key(name),
        ResponsePath::Body(_) => answer.envelope.captured.contains_key(path),
    };
    if let Some(there) = paths.iter().find(|path| is_there(path)) {
        let said = match answer.value(there) {
            Ok(None) => "null",
            Ok(Some(Captured::Boolean(false))) => "false",
            Ok(Some(_)) => "empty",
            // Then there is an error, and no end.
            Err(_) => "unreadable",
        };
        return Ending { rule: format!("`{there}` is {said}"), doubt: None };
    }
    let doubt = is_first_of_some(answer).then(|| {
        let what = if key == "type" {
            "another type of paging may be right".to_owned()
        } else {
            format!("`{key}` names the wrong place")
        };
        format!("the first answer has nothing at {named}; if there are more records, {what}")
    });
    Ending { rule: format!("nothing stands at {named}"), doubt }
}

/// What stands at a path, for words about it.
fn text_at(path: &ResponsePath, answer: &Answer<'_>) -> Option<String> {
    answer.value(path).ok().flatten()?.text()
}

fn is_first_of_some(answer: &Answer<'_>) -> bool {
    answer.at.index == 0 && answer.envelope.records > 0
}
