//! Our store as an `object_store`, for a library that knows nothing else.
//!
//! What such a library writes keeps our guarantees that way: durable on a local disk, under the same settings and secrets, and an
//! effect that the crash sweep can end. Copying, and replacing under a condition, are refused: nobody here needs them.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

use super::{PutAbsent, Store, StoreError};

/// Largest object that is read whole, and largest one that is gathered before it is written, bytes.
const WHOLE_MAX: u64 = 1 << 30;

/// The store behind the interface of object_store.
pub fn as_objects(store: Arc<dyn Store>) -> Arc<dyn ObjectStore> {
    Arc::new(AsObjects { store })
}

struct AsObjects {
    store: Arc<dyn Store>,
}

impl fmt::Debug for AsObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AsObjects")
    }
}

impl fmt::Display for AsObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.store.address(""))
    }
}

fn failed(error: StoreError) -> Error {
    Error::Generic { store: "highwater", source: Box::new(error) }
}

fn refused(operation: &str) -> Error {
    Error::NotImplemented { operation: operation.to_owned(), implementer: "highwater".to_owned() }
}

fn missing(path: &Path) -> Error {
    Error::NotFound { path: path.to_string(), source: "there is no such object".into() }
}

fn written() -> PutResult {
    PutResult { e_tag: None, version: None, extensions: Default::default() }
}

/// Times are left out: nobody who reads a table's log by its numbers asks for them.
fn meta(location: Path, size: u64) -> ObjectMeta {
    ObjectMeta { location, last_modified: Default::default(), size, e_tag: None, version: None }
}

#[async_trait]
impl ObjectStore for AsObjects {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let (path, bytes) = (location.as_ref(), Bytes::from(payload));
        match options.mode {
            PutMode::Overwrite => self.store.put(path, bytes).await.map_err(failed)?,
            PutMode::Create => match self.store.put_absent(path, bytes).await.map_err(failed)? {
                PutAbsent::Written => {}
                PutAbsent::Exists => {
                    return Err(Error::AlreadyExists { path: path.to_owned(), source: "something is there already".into() });
                }
            },
            PutMode::Update(_) => return Err(refused("a conditional replacement")),
        }
        Ok(written())
    }

    async fn put_multipart_opts(&self, location: &Path, _options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(Gathered { store: Arc::clone(&self.store), path: location.to_string(), parts: Vec::new(), bytes: 0 }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let path = location.as_ref();
        let Some(size) = self.store.size(path).await.map_err(failed)? else { return Err(missing(location)) };
        let range = match options.range {
            None => 0..size,
            Some(range) => {
                range.as_range(size).map_err(|error| Error::Generic { store: "highwater", source: Box::new(error) })?
            }
        };
        let bytes = match options.head {
            true => Bytes::new(),
            false if range == (0..size) => match self.store.get(path, WHOLE_MAX).await.map_err(failed)? {
                Some(bytes) => bytes,
                None => return Err(missing(location)),
            },
            false => self.store.get_range(path, range.clone()).await.map_err(failed)?,
        };
        Ok(GetResult {
            payload: GetResultPayload::Stream(futures::stream::once(async move { Ok(bytes) }).boxed()),
            meta: meta(location.clone(), size),
            range,
            attributes: Attributes::default(),
            extensions: Default::default(),
        })
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = Arc::clone(&self.store);
        let delete = move |location: Result<Path>| {
            let store = Arc::clone(&store);
            async move {
                let location = location?;
                store.delete(location.as_ref()).await.map_err(failed)?;
                Ok(location)
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let store = Arc::clone(&self.store);
        let prefix = prefix.map(Path::to_string).unwrap_or_default();
        let listed = async move {
            let listed = store.list(&prefix).await.map_err(failed)?;
            let metas = listed.into_iter().map(|object| Ok(meta(Path::parse(&object.path)?, object.size)));
            Ok::<_, Error>(futures::stream::iter(metas.collect::<Vec<Result<ObjectMeta>>>()))
        };
        listed.into_stream().try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, _prefix: Option<&Path>) -> Result<ListResult> {
        Err(refused("a listing of one folder"))
    }

    async fn copy_opts(&self, _from: &Path, _to: &Path, _options: CopyOptions) -> Result<()> {
        Err(refused("a copy"))
    }
}

/// An upload in parts, which may be sent out of order: they are kept until all are there.
#[derive(Debug)]
struct Gathered {
    store: Arc<dyn Store>,
    path: String,
    parts: Vec<Bytes>,
    bytes: u64,
}

impl fmt::Debug for dyn Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address(""))
    }
}

#[async_trait]
impl MultipartUpload for Gathered {
    fn put_part(&mut self, payload: PutPayload) -> UploadPart {
        let part = Bytes::from(payload);
        self.bytes += part.len() as u64;
        if self.bytes > WHOLE_MAX {
            return async { Err(refused("an object above a gibibyte")) }.boxed();
        }
        self.parts.push(part);
        async { Ok(()) }.boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let mut writer = self.store.stage(&self.path).await.map_err(failed)?;
        for part in self.parts.drain(..) {
            if let Err(error) = writer.write(part).await {
                writer.abort().await;
                return Err(failed(error));
            }
        }
        writer.finish().await.map_err(failed)?;
        Ok(written())
    }

    async fn abort(&mut self) -> Result<()> {
        self.parts.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;

    use super::*;
    use crate::store::memory::MemoryStore;

    fn objects() -> Arc<dyn ObjectStore> {
        as_objects(Arc::new(MemoryStore::new()))
    }

    #[tokio::test]
    async fn a_name_is_given_once_where_that_is_asked() {
        let objects = objects();
        let path = Path::from("t/_delta_log/0.json");
        let put = |text: &'static str, mode| objects.put_opts(&path, PutPayload::from_static(text.as_bytes()), mode);
        put("first", PutMode::Create.into()).await.unwrap();
        assert!(matches!(put("second", PutMode::Create.into()).await, Err(Error::AlreadyExists { .. })));
        assert_eq!(objects.get(&path).await.unwrap().bytes().await.unwrap(), "first");
        put("third", PutMode::Overwrite.into()).await.unwrap();
        assert_eq!(objects.get_range(&path, 1..3).await.unwrap(), "hi");
        assert_eq!(objects.head(&path).await.unwrap().size, 5);
        assert!(matches!(objects.get(&Path::from("t/none")).await, Err(Error::NotFound { .. })));
    }

    #[tokio::test]
    async fn what_is_sent_in_parts_is_one_object() {
        let objects = objects();
        let path = Path::from("t/a b%2Fc");
        let mut upload = objects.put_multipart(&path).await.unwrap();
        let (one, two) = (upload.put_part("one".into()), upload.put_part("two".into()));
        two.await.unwrap();
        one.await.unwrap();
        upload.complete().await.unwrap();
        assert_eq!(objects.get(&path).await.unwrap().bytes().await.unwrap(), "onetwo");
        let listed: Vec<ObjectMeta> = objects.list(Some(&Path::from("t"))).try_collect().await.unwrap();
        assert_eq!(listed.iter().map(|meta| &meta.location).collect::<Vec<_>>(), [&path]);
    }
}
