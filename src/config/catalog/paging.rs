//! How one page leads to the next.

use http::HeaderName;

use crate::page::ResponsePath;

#[derive(Clone, Debug)]
pub struct Paging {
    pub kind: PagingKind,
    /// Reaching it is an error.
    pub pages_max: u64,
    /// Where a page says that it is the last, whatever leads on from it.
    pub last: Option<LastPage>,
    /// The API never gives more records than this for one query.
    pub result_cap: Option<u64>,
}

/// Where a page says whether it is the last.
#[derive(Clone, Debug)]
pub struct LastPage {
    pub path: ResponsePath,
    /// What stands there on the last page: true of `last`, false of `more`.
    pub is: bool,
}

impl LastPage {
    /// The key that it is written with.
    pub fn key(&self) -> &'static str {
        if self.is { "last" } else { "more" }
    }
}

#[derive(Clone, Debug)]
pub enum PagingKind {
    None,
    Page {
        param: String,
        start: u64,
        page_size: Option<u64>,
        size_param: Option<String>,
        end: CountedEnd,
        placed: Placed,
    },
    Offset {
        offset_param: String,
        limit_param: Option<String>,
        start: u64,
        page_size: u64,
        end: CountedEnd,
        placed: Placed,
    },
    PageToken {
        token: ResponsePath,
        place: TokenPlace,
    },
    NextUrl {
        url: ResponsePath,
    },
    LinkHeader,
    /// `from` is the dotted path of the last record's field; the end is never a total.
    Keyset {
        from: Vec<String>,
        place: TokenPlace,
        page_size: Option<u64>,
        size_param: Option<String>,
        end: CountedEnd,
    },
    Odata,
    Graphql {
        has_next: ResponsePath,
        end_cursor: ResponsePath,
        variable: String,
    },
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
            PagingKind::Keyset { .. } => "keyset",
            PagingKind::Odata => "odata",
            PagingKind::Graphql { .. } => "graphql",
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
    /// Steps into the request's JSON body, or the one field of its form.
    Body(Vec<String>),
    /// A template of the stream names it: `page.token`.
    Template,
}

/// Where counted paging writes its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placed {
    Query,
    Body,
}
