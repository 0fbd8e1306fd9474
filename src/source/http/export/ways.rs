//! What is asked about an export: to make one, how far it is, and to take it away. Pure.

use ::http::Method;
use ::http::header::{ACCEPT, HeaderMap, HeaderValue};
use url::Url;

use crate::config::catalog::{Export, Format, Job, Paging, PagingKind, PlainRequest};
use crate::error::ErrorKind;
use crate::page::{PagePosition, ResponsePath};
use crate::slice::Slice;
use crate::source::FetchError;

use super::super::auth::fingerprint;
use super::super::origin::OriginRule;
use super::super::paging::Pager;
use super::super::request::{Request, RequestPlan};
use super::notes::Note;

pub(super) struct Ways {
    create: RequestPlan,
    poll: Option<RequestPlan>,
    cleanup: Option<RequestPlan>,
    /// Of requests that have no pages.
    pager: Pager,
}

impl Ways {
    pub(super) fn new(job: &Job, export: &Export) -> Result<Self, FetchError> {
        let paging = Paging { kind: PagingKind::None, pages_max: 1, last: None, result_cap: None };
        let beside = |request: &Option<PlainRequest>| request.as_ref().map(|request| plan(job, request, false)).transpose();
        Ok(Ways {
            create: plan(job, &export.create, true)?,
            poll: beside(&export.poll.request)?,
            cleanup: beside(&export.cleanup)?,
            pager: Pager::new(paging, &ResponsePath::root()),
        })
    }

    pub(super) fn create(&self, origins: &OriginRule, slice: &Slice) -> Result<Request, FetchError> {
        self.create.request(&self.pager, origins, slice, &PagePosition::start(), None)
    }

    pub(super) fn poll(&self, origins: &OriginRule, slice: &Slice, note: &Note) -> Result<Request, FetchError> {
        match &self.poll {
            Some(poll) => poll.request(&self.pager, origins, slice, &PagePosition::start(), Some(&note.id)),
            None if note.id.starts_with('/') || note.id.contains("://") => fetch_at(origins, &note.from, &note.id),
            None => {
                let message = "the export's id is no address to look at: add path = \"/..{{ export.id }}\" to `export.poll`";
                Err(FetchError::new(ErrorKind::Config, message))
            }
        }
    }

    pub(super) fn cleanup(&self, origins: &OriginRule, slice: &Slice, id: &str) -> Option<Result<Request, FetchError>> {
        Some(self.cleanup.as_ref()?.request(&self.pager, origins, slice, &PagePosition::start(), Some(id)))
    }
}

/// Tells what is asked for apart, and says nothing about it.
pub(super) fn asked(request: &Request, slice: &Slice) -> String {
    let body = request.payload.as_ref().map_or(String::new(), |payload| String::from_utf8_lossy(&payload.bytes).into_owned());
    let slice = serde_json::to_string(slice).unwrap_or_default();
    fingerprint([request.method.as_str(), request.url.as_str(), &body, &slice])
}

/// A request for an address that an answer named.
pub(in super::super) fn fetch_at(origins: &OriginRule, from: &str, link: &str) -> Result<Request, FetchError> {
    let bad = |why: String| FetchError::new(ErrorKind::Config, format!("the export's address: {why}"));
    let from = Url::parse(from).map_err(|error| FetchError::new(ErrorKind::Bug, format!("the export's origin: {error}")))?;
    let (url, standing) = origins.follow(&from, link).map_err(bad)?;
    let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("*/*"))]);
    Ok(Request { method: Method::GET, url, standing, headers, payload: None, by_token: false, is_conditional: false })
}

fn plan(job: &Job, request: &PlainRequest, asks_for_slice: bool) -> Result<RequestPlan, FetchError> {
    let mut job = job.clone();
    let PlainRequest { method, path, query, headers, body } = request.clone();
    let stream = &mut job.stream;
    (stream.method, stream.path, stream.query, stream.headers, stream.body) = (method, path, query, headers, body);
    stream.format = Format::Json;
    stream.export = None;
    if let Some(cursor) = stream.cursor.as_mut().filter(|_| !asks_for_slice) {
        cursor.query.clear();
    }
    RequestPlan::new(&job)
}
