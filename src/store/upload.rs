//! Writing one staged object: a single put when it is small, else parts of one size.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};
use secrecy::SecretString;

use super::errors::store_error;
use super::{StagedWriter, StoreError};
use crate::error::ErrorKind;

/// Length of every part but the last, bytes. S3 wants at least 5 MiB and at most 10,000 parts, R2 parts of one length; this
/// carries 80 GB, far above the largest file a sink may be told to write.
pub(super) const PART: usize = 8 << 20;

/// Holds at most one part: each is sent before more is taken, so the store's pace holds back whoever writes.
pub(super) struct Upload {
    inner: Arc<dyn ObjectStore>,
    path: Path,
    address: String,
    secrets: Arc<[SecretString]>,
    /// Together shorter than a part.
    held: Vec<Bytes>,
    held_length: usize,
    parts: Option<Box<dyn MultipartUpload>>,
    written: u64,
    closed: bool,
}

impl Upload {
    pub(super) fn new(inner: Arc<dyn ObjectStore>, path: Path, address: String, secrets: Arc<[SecretString]>) -> Self {
        Upload { inner, path, address, secrets, held: Vec::new(), held_length: 0, parts: None, written: 0, closed: false }
    }

    fn error(&self, error: &object_store::Error) -> StoreError {
        store_error("stage", self.address.clone(), error, &self.secrets)
    }

    fn own_error(&self, kind: ErrorKind, message: String) -> StoreError {
        StoreError { kind, verb: "stage", address: self.address.clone(), message }
    }

    fn take_held(&mut self) -> PutPayload {
        self.held_length = 0;
        std::mem::take(&mut self.held).into_iter().collect()
    }

    async fn send_part(&mut self) -> Result<(), StoreError> {
        if self.parts.is_none() {
            let opened = self.inner.put_multipart(&self.path).await;
            self.parts = Some(opened.map_err(|error| self.error(&error))?);
        }
        let payload = self.take_held();
        let sent = match &mut self.parts {
            Some(parts) => parts.put_part(payload).await,
            None => Ok(()),
        };
        sent.map_err(|error| self.error(&error))
    }

    async fn complete(&mut self) -> Result<(), StoreError> {
        if self.parts.is_none() {
            let payload = self.take_held();
            return match self.inner.put(&self.path, payload).await {
                Ok(_) => Ok(()),
                Err(error) => Err(self.error(&error)),
            };
        }
        if self.held_length > 0 {
            self.send_part().await?;
        }
        let completed = match &mut self.parts {
            Some(parts) => parts.complete().await.map(|_| ()),
            None => Ok(()),
        };
        completed.map_err(|error| self.error(&error))
    }
}

#[async_trait]
impl StagedWriter for Upload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        if self.closed {
            return Err(self.own_error(ErrorKind::Bug, "written to after it was finished, given up or had failed".to_owned()));
        }
        let mut rest = bytes;
        self.written += rest.len() as u64;
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(PART - self.held_length));
            self.held_length += piece.len();
            self.held.push(piece);
            if self.held_length < PART {
                continue;
            }
            // A part that failed may be there or not: whatever follows it would be a different object.
            self.closed = true;
            self.send_part().await?;
            self.closed = false;
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<u64, StoreError> {
        if self.closed {
            return Err(self.own_error(ErrorKind::Bug, "finished twice, or after it had failed".to_owned()));
        }
        self.closed = true;
        self.complete().await?;
        let size = match self.inner.head(&self.path).await {
            Ok(meta) => meta.size,
            Err(error) => return Err(self.error(&error)),
        };
        if size != self.written {
            let message = format!("{} bytes were written, but the store tells of `{size}`", self.written);
            return Err(self.own_error(ErrorKind::Unavailable, message));
        }
        Ok(size)
    }

    async fn abort(&mut self) {
        self.closed = true;
        self.held.clear();
        self.held_length = 0;
        if let Some(mut parts) = self.parts.take()
            && let Err(error) = parts.abort().await
        {
            // Harmless: nothing is visible. S3 keeps the parts until the bucket's rule for incomplete uploads drops them.
            tracing::debug!(address = %self.address, error = %self.error(&error).message, "could not give up an upload");
        }
    }
}
