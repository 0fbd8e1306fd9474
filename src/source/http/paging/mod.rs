//! Paging: what a position adds to a request, and which position follows an answer. One file a kind; the guards against endless
//! paging stand above them, once.

use ::http::{HeaderMap, HeaderName, HeaderValue};
use minijinja::Value as Field;
use serde_json::Value as Json;
use url::Url;

use crate::config::catalog::{Paging, PagingKind};
use crate::error::ErrorKind;
use crate::page::{Captured, Envelope, PageAt, PagePosition, ResponsePath};
use crate::source::FetchError;

use super::origin::OriginRule;

mod counted;
mod graphql;
mod guard;
mod keyset;
mod link_header;
mod next_url;
mod none;
mod odata;
mod offset;
mod page;
mod page_token;
mod total;

#[cfg(test)]
mod tests;

use guard::Guard;

/// The paging of one stream.
pub(super) struct Pager {
    paging: Paging,
    /// Where keyset paging finds the field that it goes on from.
    last_field: Option<ResponsePath>,
    guard: Guard,
}

/// What a position adds to a request.
#[derive(Debug, Default)]
pub(super) struct Ask {
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// What goes into the request's body.
    pub(super) body: Vec<Written>,
    /// The whole address, in place of the stream's own.
    pub(super) url: Option<String>,
}

/// A value that paging puts into a request's body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) steps: Vec<String>,
    pub(super) value: Json,
}

/// An answer as the kinds see it.
struct Answer<'a> {
    at: &'a PagePosition,
    envelope: &'a Envelope,
    headers: &'a HeaderMap,
}

impl Answer<'_> {
    /// The value at a path; `None` where it leads nowhere or to null.
    fn value(&self, path: &ResponsePath) -> Option<Captured> {
        let value = match path {
            ResponsePath::Header(name) => Captured::Text(self.headers.get(name)?.to_str().ok()?.to_owned()),
            ResponsePath::Body(_) => self.envelope.captured.get(path)?.clone(),
        };
        (value != Captured::Null).then_some(value)
    }

    /// Records up to and with this page.
    fn records_so_far(&self) -> u64 {
        self.at.records_before.saturating_add(self.envelope.records)
    }
}

impl Pager {
    /// `records` is where the records stand.
    pub(super) fn new(paging: Paging, records: &ResponsePath) -> Self {
        let last_field = match &paging.kind {
            PagingKind::Keyset { from, .. } => Some(keyset::path(records, from)),
            _ => None,
        };
        Pager { paging, last_field, guard: Guard::default() }
    }

    /// Body paths that must be captured for `next`.
    pub(super) fn wanted(&self) -> Vec<ResponsePath> {
        let paths: Vec<ResponsePath> = match &self.paging.kind {
            PagingKind::None | PagingKind::LinkHeader => Vec::new(),
            PagingKind::Page { end, .. } | PagingKind::Offset { end, .. } => counted::path(end).cloned().into_iter().collect(),
            PagingKind::PageToken { token, .. } => vec![token.clone()],
            PagingKind::NextUrl { url } => vec![url.clone()],
            PagingKind::Keyset { end, .. } => counted::path(end).into_iter().chain(&self.last_field).cloned().collect(),
            PagingKind::Odata => odata::paths(),
            PagingKind::Graphql { has_next, end_cursor, .. } => vec![has_next.clone(), end_cursor.clone()],
        };
        paths.into_iter().chain(self.paging.last.clone()).filter(|path| matches!(path, ResponsePath::Body(_))).collect()
    }

    /// What templates know as `page`: `index` (from 0), `number` (of the page, as the API counts), `offset` (records before it) and
    /// `token` (empty on the first page).
    pub(super) fn fields(&self, at: &PagePosition) -> [(&'static str, Field); 4] {
        let (mut number, mut offset) = (at.index.saturating_add(1), at.records_before);
        match (&self.paging.kind, &at.at) {
            (PagingKind::Page { .. }, PageAt::Number(counted)) => number = *counted,
            (PagingKind::Page { start, .. }, _) => number = *start,
            (PagingKind::Offset { .. }, PageAt::Number(counted)) => offset = *counted,
            (PagingKind::Offset { start, .. }, _) => offset = *start,
            _ => {}
        }
        let token = match &at.at {
            PageAt::Token(token) => token.as_str(),
            _ => "",
        };
        [
            ("index", Field::from(at.index)),
            ("number", Field::from(number)),
            ("offset", Field::from(offset)),
            ("token", Field::from(token)),
        ]
    }

    /// The error tells of a position that this kind never made.
    pub(super) fn ask(&self, at: &PageAt) -> Result<Ask, String> {
        let ask = match (&self.paging.kind, at) {
            (
                PagingKind::None
                | PagingKind::LinkHeader
                | PagingKind::NextUrl { .. }
                | PagingKind::Odata
                | PagingKind::PageToken { .. }
                | PagingKind::Graphql { .. },
                PageAt::Start,
            ) => Some(Ask::default()),
            (PagingKind::LinkHeader | PagingKind::NextUrl { .. } | PagingKind::Odata, PageAt::Url(url)) => {
                Some(Ask { url: Some(url.clone()), ..Ask::default() })
            }
            (PagingKind::Page { param, start, page_size, size_param, placed, .. }, at) => {
                number(at, *start).map(|number| counted::ask(*placed, (param, number), size_param.as_deref().zip(*page_size)))
            }
            (PagingKind::Offset { offset_param, limit_param, start, page_size, placed, .. }, at) => {
                number(at, *start).map(|number| {
                    counted::ask(*placed, (offset_param, number), limit_param.as_deref().map(|name| (name, *page_size)))
                })
            }
            (PagingKind::PageToken { place, .. }, PageAt::Token(token)) => Some(page_token::ask(place, token)?),
            (PagingKind::Keyset { place, page_size, size_param, .. }, at @ (PageAt::Start | PageAt::Token(_))) => {
                let mut ask = match at {
                    PageAt::Token(token) => page_token::ask(place, token)?,
                    _ => Ask::default(),
                };
                ask.query.extend(size_param.as_ref().zip(*page_size).map(|(name, size)| (name.clone(), size.to_string())));
                Some(ask)
            }
            (PagingKind::Graphql { variable, .. }, PageAt::Token(cursor)) => Some(graphql::ask(variable, cursor)),
            _ => None,
        };
        ask.ok_or_else(|| format!("a position of another kind than paging `{}`", self.paging.kind.name()))
    }

    /// Whether the page says that it is the last.
    fn is_last(&self, answer: &Answer<'_>) -> Result<bool, String> {
        self.paging.last.as_ref().map_or(Ok(false), |path| counted::truth("last", path, answer))
    }

    /// The position after an answer, `None` at the end. `from` is the address that links are relative to.
    pub(super) fn next(
        &self,
        at: &PagePosition,
        envelope: &Envelope,
        headers: &HeaderMap,
        from: &Url,
        origins: &OriginRule,
    ) -> Result<Option<PagePosition>, FetchError> {
        let answer = Answer { at, envelope, headers };
        let place = |why: String| FetchError::new(ErrorKind::Data, format!("paging `{}`: {why}", self.paging.kind.name()));
        let next = match &self.paging.kind {
            _ if envelope.is_nothing => Ok(None),
            _ if self.is_last(&answer).map_err(place)? => Ok(None),
            PagingKind::None => none::next(),
            PagingKind::Page { start, page_size, end, .. } => page::next(*start, *page_size, end, &answer),
            PagingKind::Offset { start, page_size, end, .. } => offset::next(*start, *page_size, end, &answer),
            PagingKind::PageToken { token, .. } => page_token::next(token, &answer),
            PagingKind::NextUrl { url } => next_url::next(url, &answer, from, origins),
            PagingKind::LinkHeader => link_header::next(&answer, from, origins),
            PagingKind::Keyset { page_size, end, .. } => match &self.last_field {
                Some(path) => keyset::next(path, *page_size, end, &answer),
                None => none::next(),
            },
            PagingKind::Odata => odata::next(&answer, from, origins),
            PagingKind::Graphql { has_next, end_cursor, .. } => graphql::next(has_next, end_cursor, &answer),
        };
        let Some(next) = next.map_err(place)? else {
            self.guard.finish(at);
            return Ok(None);
        };
        if at.index + 1 >= self.paging.pages_max {
            let pages = self.paging.pages_max;
            return Err(place(format!("no end after `{pages}` pages, which is pages_max; check how paging knows its end")));
        }
        let next = at.after(envelope.records, next);
        self.guard.advance(at, &next, envelope.records).map_err(place)?;
        Ok(Some(next))
    }
}

/// The number of a counted position.
fn number(at: &PageAt, start: u64) -> Option<u64> {
    match at {
        PageAt::Start => Some(start),
        PageAt::Number(number) => Some(*number),
        PageAt::Token(_) | PageAt::Url(_) => None,
    }
}
