//! How many pages a sequence has, as its first page tells.

use ::http::HeaderMap;

use crate::config::catalog::PagingKind;
use crate::page::{Envelope, PagePosition};
use crate::source::Cap;

use super::{Answer, Pager, counted};

impl Pager {
    /// Where a page stands to the number of records that the API ever gives.
    pub(in super::super) fn cap(&self, at: &PagePosition, envelope: &Envelope, headers: &HeaderMap) -> Cap {
        let Some(cap) = self.paging.result_cap else { return Cap::Within };
        let (answer, total) = (Answer { at, envelope, headers }, self.total(at, envelope, headers));
        match answer.records_so_far() >= cap {
            true => Cap::Reached,
            false if total.is_some_and(|total| total > cap) => Cap::Announced,
            false => Cap::Within,
        }
    }

    /// How many records the whole sequence has, where the answer tells.
    pub(in super::super) fn total(&self, at: &PagePosition, envelope: &Envelope, headers: &HeaderMap) -> Option<u64> {
        match &self.paging.kind {
            PagingKind::Page { end, .. } | PagingKind::Offset { end, .. } => {
                counted::total(end, &Answer { at, envelope, headers })
            }
            _ => None,
        }
    }

    /// How many records or pages the sequence has, whichever the answer tells of.
    pub(in super::super) fn told(&self, at: &PagePosition, envelope: &Envelope, headers: &HeaderMap) -> Option<u64> {
        match &self.paging.kind {
            PagingKind::Page { end, .. } | PagingKind::Offset { end, .. } => {
                counted::told(end, &Answer { at, envelope, headers })
            }
            _ => None,
        }
    }

    /// How many pages there are, where the answer at the first position tells; `more` says whether there is another at all.
    pub(in super::super) fn pages(&self, at: &PagePosition, envelope: &Envelope, headers: &HeaderMap, more: bool) -> Option<u64> {
        let answer = Answer { at, envelope, headers };
        match &self.paging.kind {
            _ if !more => Some(1),
            PagingKind::Page { end, .. } | PagingKind::Offset { end, .. } => counted::pages(end, &answer),
            PagingKind::None => Some(1),
            PagingKind::PageToken { .. }
            | PagingKind::NextUrl { .. }
            | PagingKind::LinkHeader
            | PagingKind::Keyset { .. }
            | PagingKind::Odata
            | PagingKind::Graphql { .. } => None,
        }
    }
}
