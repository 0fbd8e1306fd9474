//! Fetches pages of a stream. Knows slices and pages; never marks, schedules or sinks.

#[cfg(any(test, debug_assertions))]
pub mod faulty;

use ::http::HeaderMap;
use async_trait::async_trait;
use thiserror::Error;

use crate::error::ErrorKind;
use crate::ids::PartitionKey;
use crate::page::{Answered, Envelope, PagePosition, RawPage, ResponsePath};
use crate::slice::Slice;

pub mod http;
pub mod none;
mod said;

pub use said::{Cap, Ending, Judgement};

/// Reads one stream of a remote system.
#[async_trait]
pub trait Source: Send + Sync {
    /// One page's bytes: a status of success, decompressed, within its cap. Waits for budget, retries what is safe to retry.
    /// Dropping the future is safe: nothing is remembered between calls but budget. `attempt` counts from 1 how often the
    /// caller asks for this very page (it asks again when the body proves to be cut off).
    async fn fetch(&self, slice: &Slice, at: &PagePosition, attempt: u32) -> Result<RawPage, FetchError>;

    /// The first page of a slice; `None` where the source says that it is still what it answered before.
    async fn fetch_changed(&self, slice: &Slice, _before: &Answered) -> Result<Option<RawPage>, FetchError> {
        self.fetch(slice, &PagePosition::start(), 1).await.map(Some)
    }

    /// Told of a slice's first page before it is worked on, by whoever is going to read the slice to its end: what comes next may be asked
    /// for. Gives the page back, on which some of the work may be done.
    async fn read_on(&self, _slice: &Slice, first: RawPage) -> RawPage {
        first
    }

    /// Slices of a parameter set that an earlier run began to have written out by the source, and that a new one would have written
    /// out again if it chose another end.
    async fn under_way(&self, _set: &PartitionKey) -> Result<Vec<Slice>, FetchError> {
        Ok(Vec::new())
    }

    /// The rows of a slice are decided: what was kept for reading it is of no more use. Safe to drop, and to leave out.
    async fn done(&self, _slice: &Slice) {}

    /// Requests sent so far, failed attempts and redirects among them.
    fn requests(&self) -> u64;

    /// Body paths that `judge` and `next` want to see captured.
    fn wanted(&self) -> Vec<ResponsePath>;

    /// What the decoded envelope means.
    fn judge(&self, envelope: &Envelope) -> Judgement;

    /// What is to be told of a page whose body is `body`, without the source's secrets: a body can echo them.
    fn clean(&self, message: String, body: &[u8]) -> String;

    /// How many pages the slice has, where its first page, decoded, tells.
    fn pages(&self, _slice: &Slice, _envelope: &Envelope, _headers: &HeaderMap) -> Option<u64> {
        None
    }

    /// How many records the slice has, where its first page, decoded, tells.
    fn records(&self, _slice: &Slice, _envelope: &Envelope, _headers: &HeaderMap) -> Option<u64> {
        None
    }

    /// How many records, or pages, there are by the word of this very answer: what it tells is compared with what others told alone.
    fn told(&self, _at: &PagePosition, _envelope: &Envelope, _headers: &HeaderMap) -> Option<u64> {
        None
    }

    /// Whether this page must be asked for again before it counts: it was asked for beside the one before it, and what there is has
    /// changed between the two answers, so that a record may stand in neither. To be asked once for each page, in order.
    fn is_overtaken(&self, _at: &PagePosition, _envelope: &Envelope, _headers: &HeaderMap) -> bool {
        false
    }

    /// What this page gives the next run to go on with, where the stream's cursor is a token. An error where it cannot be kept.
    fn token(&self, _slice: &Slice, _envelope: &Envelope, _headers: &HeaderMap) -> Result<Option<String>, FetchError> {
        Ok(None)
    }

    /// How near a page comes to the number of records that the API ever gives for one query.
    fn cap(&self, _at: &PagePosition, _envelope: &Envelope, _headers: &HeaderMap) -> Cap {
        Cap::Within
    }

    /// Why no page follows this one, given that none does; `None` where there is nothing to say.
    fn ending(&self, _at: &PagePosition, _envelope: &Envelope, _headers: &HeaderMap) -> Option<Ending> {
        None
    }

    /// The page of the slice after this one, `None` at the end. An error where paging goes in a circle or leaves the allowed
    /// origins.
    fn next(
        &self,
        slice: &Slice,
        at: &PagePosition,
        envelope: &Envelope,
        headers: &HeaderMap,
    ) -> Result<Option<PagePosition>, FetchError>;
}

/// Why a page could not be had.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct FetchError {
    pub kind: ErrorKind,
    /// Lower case, no full stop, names the address without its query, the status, and a first piece of what the body said.
    pub message: String,
    /// Of the answer, where there was one that is no success.
    pub status: Option<u16>,
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl FetchError {
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        FetchError { kind, message: message.into(), status: None, source: None }
    }

    pub fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }
}
