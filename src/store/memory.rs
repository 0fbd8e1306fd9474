//! A store that lives in this process, for tests and simulations.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::path::Path;

use super::objects::Objects;
use super::{Listed, Published, PutAbsent, StagedWriter, Store, StoreError};

/// Objects in memory, with the semantics of a bucket. Clones see the same objects.
#[derive(Clone)]
pub struct MemoryStore {
    memory: Arc<InMemory>,
    objects: Arc<Objects>,
}

impl MemoryStore {
    pub fn new() -> Self {
        MemoryStore::of(InMemory::new())
    }

    /// A copy that goes its own way.
    pub fn fork(&self) -> Self {
        MemoryStore::of(self.memory.fork())
    }

    fn of(memory: InMemory) -> Self {
        let memory = Arc::new(memory);
        let objects = Objects::new(memory.clone(), Path::default(), "memory:/".to_owned(), Vec::new());
        MemoryStore { memory, objects: Arc::new(objects) }
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        MemoryStore::new()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn put_absent(&self, path: &str, bytes: Bytes) -> Result<PutAbsent, StoreError> {
        self.objects.put_absent(path, bytes).await
    }

    async fn put(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.objects.put(path, bytes).await
    }

    async fn get(&self, path: &str, size_max: u64) -> Result<Option<Bytes>, StoreError> {
        self.objects.get(path, size_max).await
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.objects.get_range(path, range).await
    }

    async fn size(&self, path: &str) -> Result<Option<u64>, StoreError> {
        self.objects.size(path).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        self.objects.list(prefix).await
    }

    async fn stage(&self, path: &str) -> Result<Box<dyn StagedWriter>, StoreError> {
        self.objects.stage(path).await
    }

    async fn publish(&self, staged: &str, target: &str, size: u64) -> Result<Published, StoreError> {
        self.objects.publish(staged, target, size).await
    }

    async fn delete(&self, path: &str) -> Result<(), StoreError> {
        self.objects.delete(path).await
    }

    fn address(&self, path: &str) -> String {
        self.objects.address(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::store_contract;

    #[tokio::test]
    async fn keeps_the_contract() {
        store_contract(&MemoryStore::new()).await;
    }
}
