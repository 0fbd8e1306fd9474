//! A store that remembers what was ever decided: a place in the log is given once.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use highwater::store::memory::MemoryStore;
use highwater::store::{Listed, Published, PutAbsent, StagedWriter, Store, StoreError};

const LOG: &str = "_highwater/items/log/";

type Writers = Mutex<Vec<Option<Box<dyn StagedWriter>>>>;

#[derive(Clone)]
pub struct Witness {
    store: MemoryStore,
    decided: Arc<Mutex<BTreeMap<String, Vec<Bytes>>>>,
    /// Those of the dead are never dropped: they are kept here, so that they end with the world.
    writers: Arc<Writers>,
}

struct Writer {
    writers: Weak<Writers>,
    number: usize,
}

impl Writer {
    /// The writer itself, for one call; there is one call at a time.
    fn take(&self) -> (Arc<Writers>, Box<dyn StagedWriter>) {
        let writers = self.writers.upgrade().expect("the world is there");
        let writer = writers.lock().unwrap()[self.number].take().expect("one call at a time");
        (writers, writer)
    }

    fn put_back(&self, writers: &Writers, writer: Box<dyn StagedWriter>) {
        writers.lock().unwrap()[self.number] = Some(writer);
    }
}

#[async_trait]
impl StagedWriter for Writer {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        let (writers, mut writer) = self.take();
        let written = writer.write(bytes).await;
        self.put_back(&writers, writer);
        written
    }

    async fn finish(&mut self) -> Result<u64, StoreError> {
        let (writers, mut writer) = self.take();
        let size = writer.finish().await;
        self.put_back(&writers, writer);
        size
    }

    async fn abort(&mut self) {
        let (writers, mut writer) = self.take();
        writer.abort().await;
        self.put_back(&writers, writer);
    }
}

impl Witness {
    pub fn new() -> Self {
        Witness { store: MemoryStore::new(), decided: Arc::default(), writers: Arc::default() }
    }

    fn saw(&self, path: &str, bytes: Bytes) {
        if path.starts_with(LOG) {
            let mut decided = self.decided.lock().unwrap();
            let before = decided.entry(path.to_owned()).or_default();
            if !before.contains(&bytes) {
                before.push(bytes);
            }
        }
    }

    pub fn decided(&self) -> u64 {
        self.decided.lock().unwrap().len() as u64
    }

    pub fn decided_twice(&self) -> Vec<String> {
        let decided = self.decided.lock().unwrap();
        let twice = decided.iter().filter(|(_, records)| records.len() > 1);
        twice.map(|(path, records)| format!("{path} was decided {} times", records.len())).collect()
    }

    /// The bytes of a record as they were decided last.
    pub fn record(&self, seq: u64) -> Option<Bytes> {
        self.decided.lock().unwrap().get(&format!("{LOG}{seq:020}.json")).and_then(|records| records.last().cloned())
    }
}

#[async_trait]
impl Store for Witness {
    async fn put_absent(&self, path: &str, bytes: Bytes) -> Result<PutAbsent, StoreError> {
        let put = self.store.put_absent(path, bytes.clone()).await?;
        if matches!(put, PutAbsent::Written) {
            self.saw(path, bytes);
        }
        Ok(put)
    }

    async fn put(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.store.put(path, bytes.clone()).await?;
        self.saw(path, bytes);
        Ok(())
    }

    async fn get(&self, path: &str, size_max: u64) -> Result<Option<Bytes>, StoreError> {
        self.store.get(path, size_max).await
    }

    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.store.get_range(path, range).await
    }

    async fn size(&self, path: &str) -> Result<Option<u64>, StoreError> {
        self.store.size(path).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        self.store.list(prefix).await
    }

    async fn stage(&self, path: &str) -> Result<Box<dyn StagedWriter>, StoreError> {
        let writer = self.store.stage(path).await?;
        let mut writers = self.writers.lock().unwrap();
        writers.push(Some(writer));
        Ok(Box::new(Writer { writers: Arc::downgrade(&self.writers), number: writers.len() - 1 }))
    }

    async fn publish(&self, staged: &str, target: &str, size: u64) -> Result<Published, StoreError> {
        self.store.publish(staged, target, size).await
    }

    async fn delete(&self, path: &str) -> Result<(), StoreError> {
        self.store.delete(path).await
    }

    fn address(&self, path: &str) -> String {
        self.store.address(path)
    }
}
