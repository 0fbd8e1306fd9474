//! The paging of one stream: which kind says what, and the guards that hold for all of them.

use std::sync::atomic::{AtomicBool, Ordering};

use ::http::HeaderMap;
use minijinja::Value as Field;
use url::Url;

use crate::config::catalog::{CountedEnd, LastPage, Paging, PagingKind};
use crate::error::ErrorKind;
use crate::page::{Envelope, PageAt, PagePosition, ResponsePath};
use crate::source::FetchError;
use crate::source::http::origin::OriginRule;

use super::guard::Guard;
use super::{Answer, Ask, counted, graphql, keyset, link_header, next_url, none, number, odata, offset, page, page_token};

/// The paging of one stream.
pub(in crate::source::http) struct Pager {
    pub(super) paging: Paging,
    /// Where keyset paging finds the field that it goes on from.
    last_field: Option<ResponsePath>,
    /// A page had as many records as were asked for.
    gives_full_pages: AtomicBool,
    guard: Guard,
}

impl Pager {
    /// `records` is where the records stand.
    pub(in crate::source::http) fn new(paging: Paging, records: &ResponsePath) -> Self {
        let last_field = match &paging.kind {
            PagingKind::Keyset { from, .. } => Some(keyset::path(records, from)),
            _ => None,
        };
        Pager { paging, last_field, gives_full_pages: AtomicBool::new(false), guard: Guard::default() }
    }

    /// Body paths that must be captured for `next`.
    pub(in crate::source::http) fn wanted(&self) -> Vec<ResponsePath> {
        let paths: Vec<ResponsePath> = match &self.paging.kind {
            PagingKind::None | PagingKind::LinkHeader => Vec::new(),
            PagingKind::Page { end, .. } | PagingKind::Offset { end, .. } => counted::path(end).cloned().into_iter().collect(),
            PagingKind::PageToken { token, .. } => vec![token.clone()],
            PagingKind::NextUrl { url } => vec![url.clone()],
            PagingKind::Keyset { end, .. } => counted::path(end).into_iter().chain(&self.last_field).cloned().collect(),
            PagingKind::Odata => odata::paths(),
            PagingKind::Graphql { has_next, end_cursor, .. } => vec![has_next.clone(), end_cursor.clone()],
        };
        paths.into_iter().chain(self.last_path().cloned()).filter(|path| matches!(path, ResponsePath::Body(_))).collect()
    }

    /// Whether the body alone says that a page is the last one.
    pub(in crate::source::http) fn ends_in_the_body(&self) -> bool {
        let told = match &self.paging.kind {
            PagingKind::LinkHeader => return false,
            PagingKind::None | PagingKind::Odata | PagingKind::Graphql { .. } => None,
            PagingKind::Page { end, .. } | PagingKind::Offset { end, .. } | PagingKind::Keyset { end, .. } => counted::path(end),
            PagingKind::PageToken { token, .. } => Some(token),
            PagingKind::NextUrl { url } => Some(url),
        };
        !told.into_iter().chain(self.last_path()).any(|path| matches!(path, ResponsePath::Header(_)))
    }

    /// What templates know as `page`: `index` (from 0), `number` (of the page, as the API counts), `offset` (records before it) and
    /// `token` (empty on the first page).
    pub(in crate::source::http) fn fields(&self, at: &PagePosition) -> [(&'static str, Field); 4] {
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
    pub(in crate::source::http) fn ask(&self, at: &PageAt) -> Result<Ask, String> {
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

    /// Whether a page before this place was shorter than asked for, in paging that ends with such a page: it may have been the last,
    /// and a refusal of this one says that it was.
    pub(in crate::source::http) fn is_behind_a_short_page(&self, at: &PagePosition) -> bool {
        self.full_size().is_some_and(|size| at.index > 0 && at.records_before < at.index.saturating_mul(size))
    }

    /// Records of a page that is not short, in paging that ends with one that is.
    fn full_size(&self) -> Option<u64> {
        match &self.paging.kind {
            PagingKind::Page { end: CountedEnd::ShortPage, page_size, .. }
            | PagingKind::Keyset { end: CountedEnd::ShortPage, page_size, .. } => *page_size,
            PagingKind::Offset { end: CountedEnd::ShortPage, page_size, .. } => Some(*page_size),
            _ => None,
        }
    }

    /// Records of the largest page that is known where a page is judged. A server that gives as many as it is asked for does so below
    /// every parent: the short page of each is its last, and costs no request more.
    fn largest(&self, at: &PagePosition, records: u64) -> u64 {
        let largest = self.guard.largest(at);
        let Some(full) = self.full_size() else { return largest };
        let gives_full_pages = self.gives_full_pages.fetch_or(records >= full, Ordering::Relaxed);
        if gives_full_pages && at.parent.is_some() { largest.max(full) } else { largest }
    }

    fn last_path(&self) -> Option<&ResponsePath> {
        self.paging.last.as_ref().map(|last| &last.path)
    }

    /// Whether the page says that it is the last.
    pub(super) fn is_last(&self, answer: &Answer<'_>) -> Result<bool, String> {
        let Some(last) = &self.paging.last else { return Ok(false) };
        Ok(counted::truth(last.key(), &last.path, answer)? == last.is)
    }

    /// The position after an answer, `None` at the end. `from` is the address that links are relative to.
    pub(in crate::source::http) fn next(
        &self,
        at: &PagePosition,
        envelope: &Envelope,
        headers: &HeaderMap,
        from: &Url,
        origins: &OriginRule,
        complete: &dyn Fn(PageAt) -> Result<PageAt, FetchError>,
    ) -> Result<Option<PagePosition>, FetchError> {
        let answer = Answer { at, envelope, headers };
        let place = |why: String| FetchError::new(ErrorKind::Data, format!("paging `{}`: {why}", self.paging.kind.name()));
        let largest = self.largest(at, envelope.records);
        let next = match &self.paging.kind {
            _ if envelope.is_nothing => Ok(None),
            _ if self.is_last(&answer).map_err(place)? => Ok(None),
            PagingKind::None => none::next(),
            PagingKind::Page { start, page_size, end, .. } => page::next(*start, *page_size, end, largest, &answer),
            PagingKind::Offset { start, page_size, end, .. } => offset::next(*start, *page_size, end, largest, &answer),
            PagingKind::PageToken { token, .. } => page_token::next(token, &answer),
            PagingKind::NextUrl { url } => next_url::next(url, &answer, from, origins),
            PagingKind::LinkHeader => link_header::next(&answer, from, origins),
            PagingKind::Keyset { page_size, end, .. } => match &self.last_field {
                Some(path) => keyset::next(path, *page_size, end, largest, &answer),
                None => none::next(),
            },
            PagingKind::Odata => odata::next(&answer, from, origins),
            PagingKind::Graphql { has_next, end_cursor, .. } => graphql::next(has_next, end_cursor, &answer),
        };
        let next = next.map_err(place)?;
        if let (None, Some(LastPage { path, is: false })) = (&next, &self.paging.last)
            && !envelope.is_nothing
            && !self.is_last(&answer).map_err(place)?
        {
            return Err(place(format!("`{path}` promises more pages, and the answer does not say where the next one is")));
        }
        let total = self.total(at, envelope, headers);
        let Some(next) = next else {
            if let Some(total) = total {
                self.guard.ended(at, total, envelope.records).map_err(place)?;
            }
            self.guard.finish(at);
            return Ok(None);
        };
        if at.index + 1 >= self.paging.pages_max {
            let pages = self.paging.pages_max;
            return Err(place(format!("no end after `{pages}` pages, which is pages_max; check how paging knows its end")));
        }
        let next = at.after(envelope.records, complete(next)?);
        self.guard.advance(at, &next, envelope.records, total).map_err(place)?;
        Ok(Some(next))
    }
}
