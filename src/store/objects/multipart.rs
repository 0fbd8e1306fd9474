//! An object of a bucket while it is written: a single put when it is small, else a multipart upload.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt};
use secrecy::SecretString;

use super::super::StoreError;
use super::super::errors::store_error;
use super::super::upload::{Destination, Part};

/// Length of every part but the last, bytes. S3 wants at least 5 MiB and at most 10,000 parts, R2 parts of one length; this
/// carries 80 GB, far above the largest file a sink may be told to write.
pub(in super::super) const PART: Part = Part::Of(8 << 20);

pub(super) struct Multipart {
    inner: Arc<dyn ObjectStore>,
    path: Path,
    address: String,
    secrets: Arc<[SecretString]>,
    /// From the first part on.
    begun: Option<Box<dyn MultipartUpload>>,
}

impl Multipart {
    /// To stand at `path`, which messages call `address`, without `secrets`. Nothing is asked before there are bytes.
    pub fn new(inner: Arc<dyn ObjectStore>, path: Path, address: String, secrets: Arc<[SecretString]>) -> Self {
        Multipart { inner, path, address, secrets, begun: None }
    }

    fn error(&self, error: &object_store::Error) -> StoreError {
        store_error("stage", self.address.clone(), error, &self.secrets)
    }

    async fn send(&mut self, pieces: Vec<Bytes>) -> object_store::Result<()> {
        let begun = match &mut self.begun {
            Some(begun) => begun,
            none => none.insert(self.inner.put_multipart(&self.path).await?),
        };
        begun.put_part(pieces.into_iter().collect()).await
    }

    /// Its size.
    async fn end(&mut self, pieces: Vec<Bytes>) -> object_store::Result<u64> {
        if self.begun.is_none() {
            self.inner.put(&self.path, pieces.into_iter().collect()).await?;
        } else if !pieces.is_empty() {
            self.send(pieces).await?;
        }
        if let Some(begun) = &mut self.begun {
            begun.complete().await?;
        }
        Ok(self.inner.head(&self.path).await?.size)
    }
}

#[async_trait]
impl Destination for Multipart {
    fn address(&self) -> &str {
        &self.address
    }

    async fn part(&mut self, pieces: Vec<Bytes>) -> Result<(), StoreError> {
        self.send(pieces).await.map_err(|error| self.error(&error))
    }

    async fn complete(&mut self, pieces: Vec<Bytes>) -> Result<u64, StoreError> {
        self.end(pieces).await.map_err(|error| self.error(&error))
    }

    async fn abort(&mut self) {
        if let Some(mut begun) = self.begun.take()
            && let Err(error) = begun.abort().await
        {
            // Harmless: nothing is visible. S3 keeps the parts until the bucket's rule for incomplete uploads drops them.
            tracing::debug!(address = %self.address, error = %self.error(&error).message, "could not give up an upload");
        }
    }
}
