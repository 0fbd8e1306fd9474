//! Paging: what a position adds to a request, and which position follows an answer. One file a kind; the guards against endless
//! paging stand above them, once.

use ::http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::config::catalog::{Paging, PagingKind};
use crate::error::ErrorKind;
use crate::page::{Captured, Envelope, PageAt, PagePosition, ResponsePath};
use crate::source::FetchError;

use super::origin::OriginRule;

mod counted;
mod guard;
mod link_header;
mod next_url;
mod none;
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
    guard: Guard,
}

/// What a position adds to a request.
#[derive(Debug, Default)]
pub(super) struct Ask {
    pub(super) query: Vec<(String, String)>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// The whole address, in place of the stream's own.
    pub(super) url: Option<String>,
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
    pub(super) fn new(paging: Paging) -> Self {
        Pager { paging, guard: Guard::default() }
    }

    /// Body paths that must be captured for `next`.
    pub(super) fn wanted(&self) -> Vec<ResponsePath> {
        let path = match &self.paging.kind {
            PagingKind::None | PagingKind::LinkHeader => None,
            PagingKind::Page { end, .. } | PagingKind::Offset { end, .. } => counted::path(end),
            PagingKind::PageToken { token, .. } => Some(token),
            PagingKind::NextUrl { url } => Some(url),
        };
        path.into_iter().filter(|path| matches!(path, ResponsePath::Body(_))).cloned().collect()
    }

    /// The error tells of a position that this kind never made.
    pub(super) fn ask(&self, at: &PageAt) -> Result<Ask, String> {
        let ask = match (&self.paging.kind, at) {
            (PagingKind::None | PagingKind::LinkHeader | PagingKind::NextUrl { .. }, PageAt::Start) => Some(Ask::default()),
            (PagingKind::LinkHeader | PagingKind::NextUrl { .. }, PageAt::Url(url)) => {
                Some(Ask { url: Some(url.clone()), ..Ask::default() })
            }
            (PagingKind::Page { param, start, page_size, size_param, .. }, at) => {
                number(at, *start).map(|number| page::ask(param, number, size_param.as_deref(), *page_size))
            }
            (PagingKind::Offset { offset_param, limit_param, start, page_size, .. }, at) => {
                number(at, *start).map(|number| offset::ask(offset_param, number, limit_param.as_deref(), *page_size))
            }
            (PagingKind::PageToken { .. }, PageAt::Start) => Some(Ask::default()),
            (PagingKind::PageToken { place, .. }, PageAt::Token(token)) => Some(page_token::ask(place, token)?),
            _ => None,
        };
        ask.ok_or_else(|| format!("a position of another kind than paging `{}`", self.paging.kind.name()))
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
            PagingKind::None => none::next(),
            PagingKind::Page { start, page_size, end, .. } => page::next(*start, *page_size, end, &answer),
            PagingKind::Offset { start, page_size, end, .. } => offset::next(*start, *page_size, end, &answer),
            PagingKind::PageToken { token, .. } => page_token::next(token, &answer),
            PagingKind::NextUrl { url } => next_url::next(url, &answer, from, origins),
            PagingKind::LinkHeader => link_header::next(&answer, from, origins),
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
