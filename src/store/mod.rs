//! The few verbs that a sink needs of an object store, with their guarantees. Paths are relative to the sink's root, with `/`;
//! their text is taken as it stands (a `%2F` stays a `%2F`), and `.`, `..` and empty steps are refused.
//!
//! Deliberately absent: rename and copy as such (publishing is the only use), conditional replacement, and retries beyond a few
//! quick ones: whoever calls knows whether a second try is safe and reads back what became of the first.

pub mod as_objects;
mod azure;
mod cloud;
#[cfg(any(test, debug_assertions))]
pub mod contract;
mod errors;
#[cfg(any(test, debug_assertions))]
pub mod faulty;
mod gcs;
pub mod local;
pub mod memory;
mod objects;
pub mod probe;
mod s3;
pub mod sound;
mod upload;
pub use errors::StoreError;
pub use upload::Part;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::config::catalog::{Sink, SinkPlace};
use crate::config::secret::SecretSource;
use crate::error::ErrorKind;
use crate::fault::Guards;

/// Opens the place a sink writes to. Nothing is read or written yet: a folder is made by the first write, a bucket that does not
/// exist shows at the first verb.
///
/// # Errors
/// `Config` for storage keys that mean nothing there, `Auth` for a secret that cannot be resolved.
pub fn open(sink: &Sink, secrets: &dyn SecretSource, guards: Guards) -> Result<Arc<dyn Store>, StoreError> {
    let (storage, of, file) = (&sink.storage, &sink.place, sink.file.as_str());
    let place = |scheme, bucket, prefix| cloud::Place { scheme, bucket, prefix, storage, secrets, of, file };
    match &sink.place {
        SinkPlace::Local(folder) => match sink.storage.keys().next() {
            Some(key) => Err(StoreError {
                kind: ErrorKind::Config,
                verb: "open",
                address: folder.display().to_string(),
                message: format!("a folder takes no `[storage]` keys, but there is `{key}`"),
            }),
            None => Ok(Arc::new(local::LocalStore::new(folder).with_guards(guards))),
        },
        SinkPlace::S3 { bucket, prefix } => Ok(Arc::new(s3::open(&place("s3", bucket, prefix))?)),
        SinkPlace::Gcs { bucket, prefix } => Ok(Arc::new(gcs::open(&place("gs", bucket, prefix))?)),
        SinkPlace::Azure { container, prefix } => Ok(Arc::new(azure::open(&place("az", container, prefix))?)),
    }
}

/// An object store or a folder.
#[async_trait]
pub trait Store: Send + Sync {
    /// Writes an object that must not exist yet. Atomic, durable on return. **Any** error and `Exists` leave open whether the
    /// object is ours: the caller reads it back and compares.
    async fn put_absent(&self, path: &str, bytes: Bytes) -> Result<PutAbsent, StoreError>;

    /// Writes an object, replacing what stood there. Atomic, durable on return, repeatable.
    async fn put(&self, path: &str, bytes: Bytes) -> Result<(), StoreError>;

    /// A whole small object; `None` if there is none. Objects above `size_max` bytes are an error.
    async fn get(&self, path: &str, size_max: u64) -> Result<Option<Bytes>, StoreError>;

    /// A byte range of an object, for footers and column chunks.
    async fn get_range(&self, path: &str, range: std::ops::Range<u64>) -> Result<Bytes, StoreError>;

    /// Size in bytes; `None` if there is no such object.
    async fn size(&self, path: &str) -> Result<Option<u64>, StoreError>;

    /// All objects whose path begins with `prefix` + `/`, in order of path. Never relied on for correctness of a commit.
    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError>;

    /// Files below `prefix` whose writers never came to their end, by the paths that [`delete`](Self::delete) takes; no listing has them.
    async fn unfinished(&self, _prefix: &str) -> Result<Vec<Listed>, StoreError> {
        Ok(Vec::new())
    }

    /// Does ahead of the first write into `folder` what that would have to wait for.
    async fn prepare(&self, _folder: &str) -> Result<(), StoreError> {
        Ok(())
    }

    fn part(&self) -> Part {
        objects::multipart::PART
    }

    /// Opens a staged object. Nothing is visible at `path` until `finish`; dropping it leaves nothing or an orphan that no record names.
    async fn stage(&self, path: &str) -> Result<Box<dyn StagedWriter>, StoreError>;

    /// Makes a staged object of `size` bytes visible at `target`: a rename on a local disk (durable on return), a server-side
    /// copy elsewhere. Repeatable: a target that is already there with that size is success.
    async fn publish(&self, staged: &str, target: &str, size: u64) -> Result<Published, StoreError>;

    /// Makes sure that what was found at a path stays there, an object or a folder of some: whoever wrote it may have died, or been
    /// told of a failure, after it could be seen and before it was durable. Nothing to do where nothing is seen before it is.
    async fn sync(&self, _path: &str) -> Result<(), StoreError> {
        Ok(())
    }

    /// Removes an object; repeatable, a missing one is success.
    async fn delete(&self, path: &str) -> Result<(), StoreError>;

    /// The address that a reader would type for `path`: `s3://bucket/prefix/path` (`gs://`, `az://`) or an absolute file path.
    fn address(&self, path: &str) -> String;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutAbsent {
    Written,
    Exists,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    Done,
    /// Neither the staged object nor the target is there.
    StagedMissing,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub path: String,
    pub size: u64,
    pub modified: jiff::Timestamp,
}

/// An object being staged.
#[async_trait]
pub trait StagedWriter: Send {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError>;
    /// Makes the staged object durable and returns its size as the store tells it.
    async fn finish(&mut self) -> Result<u64, StoreError>;
    /// Gives up; what was written is dropped as far as possible.
    async fn abort(&mut self);
}
