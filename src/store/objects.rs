//! The verbs over anything that object_store can reach; publishing by a server-side copy.

pub(super) mod multipart;

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use secrecy::SecretString;

use self::multipart::{Multipart, PART};
use super::errors::{is_missing, is_unanswered, store_error};
use super::upload::Upload;
use super::{Listed, Published, PutAbsent, StagedWriter, Store, StoreError};
use crate::error::ErrorKind;

/// A part of an object store below a prefix.
pub struct Objects {
    pub(super) inner: Arc<dyn ObjectStore>,
    /// Stands before every path; empty for the store's own root.
    root: Path,
    /// What a reader would type for the root, without a slash at its end.
    address: String,
    /// Never to be seen in a message.
    secrets: Arc<[SecretString]>,
    /// Who is asked, and where that is written; for messages.
    asked: String,
}

impl Objects {
    pub(super) fn new(inner: Arc<dyn ObjectStore>, root: Path, address: String, secrets: Vec<SecretString>) -> Self {
        Objects { inner, root, address, secrets: secrets.into(), asked: String::new() }
    }

    pub(super) fn asking(self, asked: String) -> Self {
        Objects { asked, ..self }
    }

    /// The store's own path. What is refused here (`..`, empty steps) is a bug of the caller.
    pub(super) fn path(&self, verb: &'static str, path: &str) -> Result<Path, StoreError> {
        let bad = |message: String| self.own_error(verb, path, ErrorKind::Bug, message);
        if path.is_empty() || path.starts_with('/') || path.ends_with('/') {
            return Err(bad("not a path below the sink's root".to_owned()));
        }
        let below = Path::parse(path).map_err(|error| bad(error.to_string()))?;
        Ok(self.root.parts().chain(below.parts()).collect())
    }

    pub(super) fn error(&self, verb: &'static str, path: &str, error: &object_store::Error) -> StoreError {
        let mut told = store_error(verb, self.address(path), error, &self.secrets);
        if !self.asked.is_empty() && is_unanswered(error) {
            told.message = format!("no answer from {}: {}", self.asked, told.message);
        }
        told
    }

    pub(super) fn own_error(&self, verb: &'static str, path: &str, kind: ErrorKind, message: String) -> StoreError {
        StoreError { kind, verb, address: self.address(path), message }
    }

    /// Whether `target` stands there in full. Another size is an error: names are given once, so this is not our object.
    pub(super) async fn stands(&self, target: &str, size: u64) -> Result<bool, StoreError> {
        match self.size(target).await? {
            None => Ok(false),
            Some(found) if found == size => Ok(true),
            // Azure may go on copying after its answer; until it is done an empty blob stands there.
            Some(0) => {
                let message = "an empty object stands there: a copy that goes on, or another's".to_owned();
                Err(self.own_error("publish", target, ErrorKind::Unavailable, message))
            }
            Some(found) => {
                let message = format!("an object of {found} bytes stands there, not the expected one of `{size}`");
                Err(self.own_error("publish", target, ErrorKind::Data, message))
            }
        }
    }
}

#[async_trait]
impl Store for Objects {
    async fn put_absent(&self, path: &str, bytes: Bytes) -> Result<PutAbsent, StoreError> {
        let location = self.path("put", path)?;
        match self.inner.put_opts(&location, bytes.into(), PutMode::Create.into()).await {
            Ok(_) => Ok(PutAbsent::Written),
            // Also what our own earlier attempt, or S3's 409 over a path where nothing is, comes to.
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => Ok(PutAbsent::Exists),
            Err(error) => Err(self.error("put", path, &error)),
        }
    }

    async fn put(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        let location = self.path("put", path)?;
        match self.inner.put(&location, bytes.into()).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.error("put", path, &error)),
        }
    }

    async fn get(&self, path: &str, size_max: u64) -> Result<Option<Bytes>, StoreError> {
        let location = self.path("get", path)?;
        let found = match self.inner.get(&location).await {
            Ok(found) => found,
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(self.error("get", path, &error)),
        };
        let size = found.meta.size;
        if size > size_max {
            let message = format!("{size} bytes are more than the {size_max} that are read whole");
            return Err(self.own_error("get", path, ErrorKind::Data, message));
        }
        match found.bytes().await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) => Err(self.error("get", path, &error)),
        }
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let location = self.path("get", path)?;
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let bytes = match self.inner.get_range(&location, range.clone()).await {
            Ok(bytes) => bytes,
            Err(error) => return Err(self.error("get", path, &error)),
        };
        let wanted = range.end - range.start;
        if bytes.len() as u64 != wanted {
            let message = format!("{wanted} bytes were asked for at {}, there are only `{}`", range.start, bytes.len());
            return Err(self.own_error("get", path, ErrorKind::Data, message));
        }
        Ok(bytes)
    }

    async fn size(&self, path: &str) -> Result<Option<u64>, StoreError> {
        let location = self.path("head", path)?;
        match self.inner.head(&location).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(self.error("head", path, &error)),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        let prefix_path = match prefix {
            "" => self.root.clone(),
            prefix => self.path("list", prefix)?,
        };
        let mut stream = self.inner.list(Some(&prefix_path));
        let mut listed = Vec::new();
        loop {
            let meta = match stream.try_next().await {
                Ok(Some(meta)) => meta,
                Ok(None) => break,
                Err(error) => return Err(self.error("list", prefix, &error)),
            };
            let Some(below) = meta.location.prefix_match(&self.root) else { continue };
            let path: Path = below.collect();
            let modified = jiff::Timestamp::from_microsecond(meta.last_modified.timestamp_micros()).unwrap_or_default();
            listed.push(Listed { path: path.into(), size: meta.size, modified });
        }
        listed.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(listed)
    }

    async fn stage(&self, path: &str) -> Result<Box<dyn StagedWriter>, StoreError> {
        let location = self.path("stage", path)?;
        let object = Multipart::new(Arc::clone(&self.inner), location, self.address(path), Arc::clone(&self.secrets));
        Ok(Box::new(Upload::new(object, PART)))
    }

    async fn publish(&self, staged: &str, target: &str, size: u64) -> Result<Published, StoreError> {
        let (from, to) = (self.path("publish", staged)?, self.path("publish", target)?);
        // Look first: after a lost answer the copy is there, and the staged object may be gone already.
        if self.stands(target, size).await? {
            return Ok(Published::Done);
        }
        match self.inner.copy(&from, &to).await {
            Ok(()) => {}
            Err(error) if is_missing(&error) => {
                // Somebody else may have published and dropped it since we looked.
                let done = self.stands(target, size).await?;
                return Ok(if done { Published::Done } else { Published::StagedMissing });
            }
            Err(error) => return Err(self.error("publish", target, &error)),
        }
        // Some stores answer a copy before it is whole, or cut it at a limit of their own.
        if !self.stands(target, size).await? {
            let message = "the store answered that it was copied, but it is not there".to_owned();
            return Err(self.own_error("publish", target, ErrorKind::Unavailable, message));
        }
        Ok(Published::Done)
    }

    async fn delete(&self, path: &str) -> Result<(), StoreError> {
        let location = self.path("delete", path)?;
        match self.inner.delete(&location).await {
            Ok(()) => Ok(()),
            Err(error) if is_missing(&error) => Ok(()),
            Err(error) => Err(self.error("delete", path, &error)),
        }
    }

    fn address(&self, path: &str) -> String {
        match path {
            "" => self.address.clone(),
            path => format!("{}/{path}", self.address),
        }
    }
}
