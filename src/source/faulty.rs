//! A source whose every request is an effect of a [`FaultPlan`].

use std::sync::Arc;

use async_trait::async_trait;
use http::HeaderMap;

use super::{Cap, Ending, FetchError, Judgement, Source};
use crate::error::ErrorKind;
use crate::fault::{FaultPlan, Outcome};
use crate::ids::PartitionKey;
use crate::page::{Answered, Envelope, PagePosition, RawPage, ResponsePath};
use crate::slice::Slice;

/// Wraps a source; looking at pages is no effect.
pub struct FaultySource {
    inner: Arc<dyn Source>,
    plan: Arc<FaultPlan>,
}

impl FaultySource {
    pub fn new(inner: Arc<dyn Source>, plan: Arc<FaultPlan>) -> Self {
        FaultySource { inner, plan }
    }
}

#[async_trait]
impl Source for FaultySource {
    async fn fetch(&self, slice: &Slice, at: &PagePosition, attempt: u32) -> Result<RawPage, FetchError> {
        let name = format!("source.fetch page {} attempt {attempt}", at.index);
        let told = |kind, message: &str| FetchError::new(kind, format!("fetch page {}: {message}", at.index));
        match self.plan.effect(name, self.inner.fetch(slice, at, attempt)).await {
            Outcome::Answer(answer) => answer,
            Outcome::Killed => Err(told(ErrorKind::Cancelled, "killed")),
            Outcome::Failed { .. } | Outcome::ToldExists => Err(told(ErrorKind::Unavailable, "failed as planned")),
        }
    }

    async fn fetch_changed(&self, slice: &Slice, before: &Answered) -> Result<Option<RawPage>, FetchError> {
        match self.plan.effect("source.fetch if changed".to_owned(), self.inner.fetch_changed(slice, before)).await {
            Outcome::Answer(answer) => answer,
            Outcome::Killed => Err(FetchError::new(ErrorKind::Cancelled, "fetch if changed: killed")),
            Outcome::Failed { .. } | Outcome::ToldExists => {
                Err(FetchError::new(ErrorKind::Unavailable, "fetch if changed: failed as planned"))
            }
        }
    }

    async fn read_on(&self, slice: &Slice, first: RawPage) -> RawPage {
        self.inner.read_on(slice, first).await
    }

    async fn under_way(&self, set: &PartitionKey) -> Result<Vec<Slice>, FetchError> {
        self.inner.under_way(set).await
    }

    async fn done(&self, slice: &Slice) {
        self.inner.done(slice).await;
    }

    fn requests(&self) -> u64 {
        self.inner.requests()
    }

    fn wanted(&self) -> Vec<ResponsePath> {
        self.inner.wanted()
    }

    fn judge(&self, envelope: &Envelope) -> Judgement {
        self.inner.judge(envelope)
    }

    fn clean(&self, message: String, body: &[u8]) -> String {
        self.inner.clean(message, body)
    }

    fn pages(&self, slice: &Slice, envelope: &Envelope, headers: &HeaderMap) -> Option<u64> {
        self.inner.pages(slice, envelope, headers)
    }

    fn told(&self, at: &PagePosition, envelope: &Envelope, headers: &HeaderMap) -> Option<u64> {
        self.inner.told(at, envelope, headers)
    }

    fn is_overtaken(&self, at: &PagePosition, envelope: &Envelope, headers: &HeaderMap) -> bool {
        self.inner.is_overtaken(at, envelope, headers)
    }

    fn records(&self, slice: &Slice, envelope: &Envelope, headers: &HeaderMap) -> Option<u64> {
        self.inner.records(slice, envelope, headers)
    }

    fn ending(&self, at: &PagePosition, envelope: &Envelope, headers: &HeaderMap) -> Option<Ending> {
        self.inner.ending(at, envelope, headers)
    }

    fn cap(&self, at: &PagePosition, envelope: &Envelope, headers: &HeaderMap) -> Cap {
        self.inner.cap(at, envelope, headers)
    }

    fn token(&self, slice: &Slice, envelope: &Envelope, headers: &HeaderMap) -> Result<Option<String>, FetchError> {
        self.inner.token(slice, envelope, headers)
    }

    fn next(
        &self,
        slice: &Slice,
        at: &PagePosition,
        envelope: &Envelope,
        headers: &HeaderMap,
    ) -> Result<Option<PagePosition>, FetchError> {
        self.inner.next(slice, at, envelope, headers)
    }
}
