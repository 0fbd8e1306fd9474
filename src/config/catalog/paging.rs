//! How one page leads to the next.

use http::HeaderName;

use crate::page::ResponsePath;

#[derive(Clone, Debug)]
pub struct Paging {
    pub kind: PagingKind,
    /// Reaching it is an error.
    pub pages_max: u64,
}

#[derive(Clone, Debug)]
pub enum PagingKind {
    None,
    Page { param: String, start: u64, page_size: Option<u64>, size_param: Option<String>, end: CountedEnd },
    Offset { offset_param: String, limit_param: Option<String>, start: u64, page_size: u64, end: CountedEnd },
    PageToken { token: ResponsePath, place: TokenPlace },
    NextUrl { url: ResponsePath },
    LinkHeader,
}

impl PagingKind {
    pub fn name(&self) -> &'static str {
        match self {
            PagingKind::None => "none",
            PagingKind::Page { .. } => "page",
            PagingKind::Offset { .. } => "offset",
            PagingKind::PageToken { .. } => "page_token",
            PagingKind::NextUrl { .. } => "next_url",
            PagingKind::LinkHeader => "link_header",
        }
    }
}

/// How counted paging knows its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CountedEnd {
    /// The first empty page.
    EmptyPage,
    /// A boolean that says whether there is more.
    More(ResponsePath),
    /// The number of records of the whole sequence.
    Total(ResponsePath),
    /// The number of pages of the whole sequence.
    TotalPages(ResponsePath),
    /// A page with fewer records than `page_size`.
    ShortPage,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenPlace {
    Param(String),
    Header(HeaderName),
}
