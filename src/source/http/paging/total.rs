//! How many pages a sequence has, as its first page tells.

use ::http::HeaderMap;

use crate::config::catalog::PagingKind;
use crate::page::{Envelope, PagePosition};

use super::{Answer, Pager, counted};

impl Pager {
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
