//! A source that is not to be asked, for work on a table that reads nothing: no secret of the API is needed then.

use async_trait::async_trait;
use http::HeaderMap;

use super::{FetchError, Judgement, Source};
use crate::error::ErrorKind;
use crate::page::{Envelope, PagePosition, RawPage, ResponsePath};
use crate::slice::Slice;

pub struct NoSource;

#[async_trait]
impl Source for NoSource {
    fn clean(&self, message: String, _body: &[u8]) -> String {
        message
    }

    async fn fetch(&self, _slice: &Slice, _at: &PagePosition, _attempt: u32) -> Result<RawPage, FetchError> {
        Err(FetchError::new(ErrorKind::Bug, "nothing is to be read here"))
    }

    fn requests(&self) -> u64 {
        0
    }

    fn wanted(&self) -> Vec<ResponsePath> {
        Vec::new()
    }

    fn judge(&self, _envelope: &Envelope) -> Judgement {
        Judgement::Nothing
    }

    fn next(
        &self,
        _slice: &Slice,
        _at: &PagePosition,
        _envelope: &Envelope,
        _headers: &HeaderMap,
    ) -> Result<Option<PagePosition>, FetchError> {
        Ok(None)
    }
}
